"""A torch module made of a bundle's graph computes what the graph computes."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from dermdistill.export.formats.rebuild import Rebuilt
from dermdistill.predict.bundle import default_bundle
from dermdistill.predict.runtime import OnnxRuntime


def same(path, size: int, channels: int = 3) -> None:
    """Compare logits and probabilities of the module and of ONNX Runtime on random images."""
    images = np.random.default_rng(0).random((3, channels, size, size), np.float32)
    with torch.inference_mode():
        found = [part.numpy() for part in Rebuilt(path)(torch.from_numpy(images))]
    expected = OnnxRuntime(path, 1).run(["logits", "probabilities"], images)
    assert np.ptp(expected[0]) > 1e-3  # else this would show nothing
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_shipped_network_is_rebuilt():
    same(default_bundle() / "model.onnx", 112)


def graph(tmp_path, nodes: list, weights: dict[str, np.ndarray]):
    """A graph of a 3x6x6 image that ends with a dense layer of two outputs."""
    path = tmp_path / "model.onnx"
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("logits", "probabilities")]
    nodes = [*nodes, helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)]
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 6, 6])], outputs,
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_other_operators_are_computed_alike(tmp_path):
    """Uneven padding, pooling, gates and a dense layer that is not transposed."""
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[0, 0, 1, 1], strides=[1, 1]),
        helper.make_node("HardSwish", ["c"], ["h"]),
        helper.make_node("MaxPool", ["h"], ["p"], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Sigmoid", ["g"], ["s"]),
        helper.make_node("Mul", ["p", "s"], ["m"]),
        helper.make_node("Clip", ["m", "", "most"], ["k"]),
        helper.make_node("ReduceMean", ["k", "axes"], ["r"], keepdims=0),
        helper.make_node("Gemm", ["r", "d"], ["logits"]),
    ]
    weights = {
        "w": draw(4, 3, 3, 3), "b": draw(4), "most": np.array(0.3, np.float32), "axes": np.array([2, 3]),
        "d": draw(4, 2),
    }  # fmt: skip
    same(graph(tmp_path, nodes, weights), 6)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (helper.make_node("Erf", ["f"], ["logits"]), "has the operator 'Erf', from which no torch module is made"),
        (helper.make_node("Gemm", ["f", "d"], ["logits"], alpha=2.0), "transA, alpha or beta is not known"),
    ],
)
def test_what_is_not_known_is_told(tmp_path, node, said: str):
    path = graph(tmp_path, [helper.make_node("Flatten", ["image"], ["f"]), node], {"d": draw(108, 2)})
    with pytest.raises(ValueError, match=said):
        Rebuilt(path)(torch.zeros(1, 3, 6, 6))
