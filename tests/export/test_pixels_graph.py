"""pixels.onnx gives, for an image of any size, what `predict` gives: pixel for pixel, and so answer for answer."""

import json
import shutil

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from dermdistill.errors import IntegrityError
from dermdistill.export.formats.pixels import BITS, write_pixels
from dermdistill.files import sha256_file
from dermdistill.images.preprocess import load_rgb, resize_square
from dermdistill.images.walk import walk_images
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.runtime import OnnxRuntime, as_batch
from dermdistill.predict.vectors import verify

SIZES = [
    (1, 1), (3, 2), (31, 24), (64, 48), (111, 113), (112, 112), (112, 300), (37, 500), (500, 37), (200, 180),
    (600, 450), (450, 600), (1024, 767), (4, 3000),
]  # fmt: skip
"""Width and height."""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """(size, pixels.onnx, model.onnx) of the shipped network."""
    folder = tmp_path_factory.mktemp("pixels")
    size = read_bundle(default_bundle()).spec.input.size
    write_pixels(default_bundle() / "model.onnx", size, folder / "pixels.onnx", {"dermdistill.name": "x"})
    return size, OnnxRuntime(folder / "pixels.onnx", 1), OnnxRuntime(default_bundle() / "model.onnx", 1)


def _check(shipped, image):
    """The resize is exact, and the answer is that of `predict`."""
    size, pixels, model = shipped
    logits, probabilities, resized = pixels.run(["logits", "probabilities", "resized"], np.asarray(image))
    expected = resize_square(image, size)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, expected)
    found = model.run(["logits", "probabilities"], as_batch(expected[None]))
    np.testing.assert_allclose(logits, found[0][0], atol=1e-4)
    np.testing.assert_allclose(probabilities, found[1][0], atol=1e-5)
    return probabilities


@pytest.mark.parametrize("size", SIZES)
def test_noise_and_shapes_of_any_size(shipped, size):
    generator = np.random.default_rng(sum(size))
    _check(shipped, Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), np.uint8)))
    coarse = Image.fromarray(generator.integers(0, 256, (7, 9, 3), np.uint8))
    _check(shipped, coarse.resize(size, Image.Resampling.BICUBIC))


@given(st.integers(1, 260), st.integers(1, 260), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_every_size(shipped, width, height, seed):
    _check(shipped, Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)))


@pytest.mark.real_data
@pytest.mark.parametrize("size", [None, *SIZES[2:]], ids=str)
def test_photographs_of_any_size(shipped, real_data, size):
    answers = []
    for path in [*walk_images(real_data / "ham10000").images[:400:50], *walk_images(real_data / "isic2017").images[:2]]:
        image = load_rgb(path)
        answers.append(_check(shipped, image if size is None else image.resize(size, Image.Resampling.BICUBIC)))
    assert np.ptp(answers, axis=0).max() > 0.05  # else this would show nothing


@pytest.mark.parametrize("size", [(31, 24), (24, 31), (450, 600), (37, 500), (500, 37), (113, 111), (200, 112)])
def test_the_resize_is_the_whole_number_arithmetic_of_the_reference(size):
    """docs/reference/bundle.md, 'The resize', in whole numbers of Python: of Pillow too, whichever is its version."""
    side, (width, height) = 16, size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)

    def weights(length):
        reach = 2 * max(length, side)
        rows = []
        for i in range(side):
            shares = [max(0, reach - abs((2 * x + 1) * side - (2 * i + 1) * length)) for x in range(length)]
            rows.append([(2 * share * 2**BITS + sum(shares)) // (2 * sum(shares)) for share in shares])
        return np.array(rows, np.int64)

    columns = (np.einsum("yxc,ix->yic", image.astype(np.int64), weights(width)) + 2 ** (BITS - 1)) >> BITS
    expected = (np.einsum("yic,jy->jic", columns, weights(height)) + 2 ** (BITS - 1)) >> BITS
    np.testing.assert_array_equal(resize_square(Image.fromarray(image), side), expected)


def test_the_network_has_the_same_weights_in_both_graphs(trained):
    of_model, of_pixels = (
        {tensor.name: tensor.SerializeToString() for tensor in onnx.load(path).graph.initializer}
        for path in (trained.bundle / "model.onnx", trained.bundle / "pixels.onnx")
    )
    assert of_model.items() <= of_pixels.items()
    assert all(name.startswith("pixels.") for name in of_pixels.keys() - of_model.keys())


def test_a_network_with_the_same_names_is_refused(tmp_path):
    model = onnx.load(default_bundle() / "model.onnx")
    old = model.graph.node[0].output[0]
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["resized" if name == old else name for name in names]
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(IntegrityError, match=r"has a tensor 'resized', a name that pixels\.onnx needs"):
        write_pixels(tmp_path / "model.onnx", 112, tmp_path / "pixels.onnx", {})


def _with_resize(path, antialias):
    """Put ONNX's own Resize in the place of the two products."""
    model = onnx.load(path)
    graph, size = model.graph, model.graph.output[2].type.tensor_type.shape.dim[0].dim_value
    start = next(index for index, node in enumerate(graph.node) if "pixels.network.image" in node.input)
    kept = list(graph.node)[start:]
    graph.initializer.append(helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 3, size, size]))
    graph.initializer.append(helper.make_tensor("first", TensorProto.INT64, [1], [0]))
    graph.initializer.append(helper.make_tensor("largest", TensorProto.FLOAT, [], [255.0]))
    del graph.node[:]
    graph.node.extend([
        helper.make_node("Unsqueeze", ["image", "first"], ["one"]),
        helper.make_node("Transpose", ["one"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["planes", "", "", "sizes"], ["small"], mode="linear", antialias=antialias),
        helper.make_node("Transpose", ["small"], ["rows"], perm=[0, 2, 3, 1]),
        helper.make_node("Squeeze", ["rows", "first"], ["resized"]),
        helper.make_node("Cast", ["small"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["values", "largest"], ["pixels.network.image"]),
        *kept,
    ])  # fmt: skip
    onnx.save(model, path)


@pytest.mark.parametrize("antialias", [0, 1], ids=["none", "beyond the edge"])
def test_the_vectors_notice_a_runtime_that_resizes_in_another_way(trained, tmp_path, antialias):
    """As OpenVINO does, which leaves antialiasing out, and ONNX Runtime by default, which repeats the edge."""
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    _with_resize(folder / "pixels.onnx", antialias)
    content = json.loads((folder / "bundle.json").read_text())
    content["files"]["pixels.onnx"] = sha256_file(folder / "pixels.onnx")
    (folder / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=r"pixels\.onnx, vector 'shrunk': resized pixels differ by \d+ of 255"):
        verify(read_bundle(folder))
