"""The bundle that ships with the package: small, real, under the licence of its images, and the one that was judged."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dermdistill.classes import CLASSES
from dermdistill.files import sha256_file
from dermdistill.networks import registry
from dermdistill.networks.registry import BUDGET
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.predictor import Predictor
from dermdistill.training.task import normalise

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shipped():
    return read_bundle(default_bundle())


def test_it_is_small_real_and_complete(shipped):
    sizes = {path.name: path.stat().st_size for path in shipped.folder.iterdir()}
    checkpoint = sizes.pop("model.safetensors")
    assert sum(sizes.values()) < 0.85e6 * len(shipped.spec.graphs)
    assert checkpoint < 1.0e6
    assert shipped.spec.data.synthetic is False
    assert shipped.spec.classes == CLASSES
    assert shipped.spec.model.parameters <= BUDGET
    assert {"MODEL_CARD.md", "LICENSE-WEIGHTS.txt", *shipped.spec.graphs} == set(shipped.spec.files)


def test_its_checkpoint_is_the_network_of_the_graph(shipped):
    spec, path = shipped.spec, shipped.folder / "model.safetensors"
    assert sha256_file(path) == spec.model.weights_sha256
    model = registry.build(spec.model.name, len(spec.classes), image_size=spec.input.size, weights="none").eval()
    model.load_state_dict(load_file(path))
    pixels = np.random.default_rng(0).integers(0, 255, (2, spec.input.size, spec.input.size, 3), np.uint8)
    known = registry.spec(spec.model.name)
    images = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, known.mean, known.std)
    with torch.no_grad():
        expected = (model(images) / spec.temperature).softmax(1).numpy()
    np.testing.assert_allclose(Predictor(shipped).probabilities(pixels), expected, atol=1e-4)


def test_its_licence_is_that_of_its_images(shipped):
    assert "ham10000" in shipped.spec.data.sources
    assert shipped.spec.licence.model_dump() == {"code": "Apache-2.0", "weights": "CC BY-NC 4.0"}
    card = (shipped.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Weights: CC BY-NC 4.0" in card
    assert "no commercial use" in (shipped.folder / "LICENSE-WEIGHTS.txt").read_text(encoding="utf-8")


def test_its_card_tells_the_published_figures(shipped):
    """The AUROC in the card stands in results/, of the same images and parameters."""
    card = (shipped.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    told = re.search(r"^\| auroc \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \|$", card, re.MULTILINE).groups()
    published = []
    for path in sorted(ROOT.glob("results/*/report.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["data"].get("manifest_sha256") == shipped.spec.data.manifest_sha256:
            for entry in report["models"].values():
                if entry["parameters"] == shipped.spec.model.parameters:
                    figure = entry["metrics"]["auroc"]
                    published.append(tuple(f"{figure[key]:.3f}" for key in ("value", "low", "high")))
    assert told in published
