"""A bundle's network as a plain PyTorch module."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

import dermdistill
from dermdistill.errors import InputError, IntegrityError
from dermdistill.export.module import squash
from dermdistill.images.preprocess import resize_square
from dermdistill.predict.bundle import shipped_bundles
from dermdistill.predict.header import Pattern
from dermdistill.predict.vectors import draw


@pytest.fixture(scope="module")
def shipped():
    """The smallest model that ships, as a module."""
    return dermdistill.load_module("lite0-cut-64")


def test_it_gives_the_logits_of_the_graph(shipped):
    folder = shipped_bundles()["lite0-cut-64"]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, floats, probabilities = shipped(images), shipped(images / 255), shipped.probabilities(images)
    expected, calibrated = session.run(["logits", "probabilities"], {"image": (images / 255).numpy()})
    assert np.abs(found.numpy() - expected).max() < 1e-4
    assert np.abs(floats.numpy() - expected).max() < 1e-4
    assert np.abs(probabilities.numpy() - calibrated).max() < 1e-5
    assert isinstance(shipped, nn.Module)
    assert not shipped.training


def test_images_of_any_size_get_the_answers_of_the_test_vectors(shipped):
    vectors = json.loads((shipped_bundles()["lite0-cut-64"] / "bundle.json").read_text())["vectors"]["images"]
    for vector in vectors:
        image = torch.from_numpy(draw(Pattern(**vector["image"]))).permute(2, 0, 1)[None]
        with torch.inference_mode():
            found = shipped.probabilities(image)[0].numpy()
        assert np.abs(found - vector["probabilities"]).max() < 1e-5, vector["name"]


@pytest.mark.parametrize(("width", "height"), [(600, 450), (97, 131), (40, 300), (64, 20), (7, 5)])
def test_squash_gives_pillows_values(width, height):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = resize_square(Image.fromarray(image), 64)
    assert (squash(whole, 64)[0].permute(1, 2, 0).numpy() == expected).all()
    floats = squash(whole.float(), 64)[0].permute(1, 2, 0).numpy()
    assert np.abs(floats - expected).max() <= 1.01  # rounded twice


def test_the_whole_network_can_be_trained_further(shipped):
    assert any(isinstance(module, nn.BatchNorm2d) for module in shipped.network.modules())
    shipped(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in shipped.parameters())
    shipped.zero_grad()


@pytest.mark.parametrize("images", [
    torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64), torch.zeros(1, 3, 64, 64, dtype=torch.int64),
])  # fmt: skip
def test_what_is_no_batch_of_images_is_refused(shipped, images):
    with pytest.raises(ValueError, match=r"images must be uint8 or float \[N, 3, H, W\], got torch"):
        shipped(images)


def test_a_bundle_without_tensors_is_read_from_its_graph(trained):
    found = dermdistill.load_module(trained.bundle)  # checks itself on the test vectors
    assert found.classes[found.classes.index("mel")] == "mel"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.network.modules())


def test_the_runs_weights_beside_a_bundle_keep_its_batchnorms(trained, tmp_path):
    shutil.copytree(trained.bundle, tmp_path / "bundle")
    shutil.copyfile(trained.run.model, tmp_path / "bundle" / "model.safetensors")
    found = dermdistill.load_module(tmp_path / "bundle")
    assert any(isinstance(module, nn.BatchNorm2d) for module in found.network.modules())


def test_a_bundle_that_says_it_is_another_network_is_refused(trained, tmp_path):
    shutil.copytree(trained.bundle, tmp_path / "bundle")
    path = tmp_path / "bundle" / "bundle.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "model": {**content["model"], "name": "dsnet"}}))
    with pytest.raises(IntegrityError, match=r"(?s)do not fit the network 'dsnet'.*put the model\.safetensors of"):
        dermdistill.load_module(tmp_path / "bundle")
    content["vectors"]["images"][0]["probabilities"] = [1, 0, 0, 0, 0, 0, 0]
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="does not give the bundle's answer to the vector"):
        dermdistill.load_module(tmp_path / "bundle")


def test_format_1_is_refused(format_1):
    with pytest.raises(InputError, match="has no test vectors; export it again"):
        dermdistill.load_module(format_1)
