"""A graph with part of its weights scrambled, from the output on: what a map must not survive."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from dermdistill.export.formats.after_logits import calibration_nodes
from dermdistill.predict.bundle import Bundle
from dermdistill.predict.runtime import OnnxRuntime, as_batch

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Of the layers that are scrambled, from the output on."""

_WEIGHED = ("Conv", "Gemm", "MatMul")


def scramble(graph: Path, share: float, seed: int, out: Path) -> int:
    """Write a copy of a graph whose last layers have their weights permuted.

    A permutation keeps the distribution of the weights (Adebayo et al. 2018 draw new ones), so that activations stay
    in range.

    Args:
        graph: of a classifier; its layers are the Conv, Gemm and MatMul operators before its logits, in their order.
        share: of these layers, 0 to 1, counted from the output, rounded up.
        seed: of the permutations.
        out: the file.

    Returns:
        How many layers were scrambled.
    """
    model = onnx.load(graph)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    after = {node.name for node in calibration_nodes(model)}
    layers = list(dict.fromkeys(
        name for node in model.graph.node if node.op_type in _WEIGHED and node.name not in after
        for name in node.input[1:2] if name in weights
    ))  # fmt: skip
    count = int(np.ceil(share * len(layers)))
    for number, name in enumerate(reversed(layers)):
        if number >= count:
            break
        values = numpy_helper.to_array(weights[name])
        mixed = np.random.default_rng([seed, number]).permutation(values.ravel()).reshape(values.shape)
        weights[name].CopyFrom(numpy_helper.from_array(mixed, name))
    out.write_bytes(model.SerializeToString())
    return count


def scrambled_answers(bundle: Bundle, seed: int = 0) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The melanoma probabilities that a bundle's network gives with ever more of its layers scrambled.

    Args:
        bundle: its model.onnx is copied, and not changed.
        seed: of the permutations.

    Returns:
        By the share of layers in words, functions of images uint8 [N, S, S, 3] that give probabilities [N].
    """
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    for share in SHARES:
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "scrambled.onnx"
            scramble(bundle.graph, share, seed, graph)
            runtime = OnnxRuntime(graph, 1)
        found[f"last {share:.0%} of the layers" if share < 1 else "all layers"] = partial(
            _answer, runtime, bundle.spec.melanoma_index
        )
    return found


def _answer(runtime: OnnxRuntime, index: int, images: np.ndarray) -> np.ndarray:
    (found,) = runtime.run(["probabilities"], as_batch(images))
    return found[:, index]
