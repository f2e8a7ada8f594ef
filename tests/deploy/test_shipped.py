"""The bundle that ships with the package: small, real, under the licence of its images, and the one that was judged."""

import json
import re
from pathlib import Path

import pytest

from dermdistill.classes import CLASSES
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.student.registry import BUDGET

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shipped():
    return read_bundle(default_bundle())


def test_it_is_small_real_and_complete(shipped):
    assert sum(path.stat().st_size for path in shipped.folder.iterdir()) < 1.5e6
    assert shipped.spec.data["synthetic"] is False
    assert shipped.spec.classes == CLASSES
    assert shipped.spec.model["parameters"] <= BUDGET
    assert {"MODEL_CARD.md", "LICENSE-WEIGHTS.txt", "model.onnx"} == set(shipped.spec.files)


def test_its_licence_is_that_of_its_images(shipped):
    assert "ham10000" in shipped.spec.data["sources"]
    assert shipped.spec.licence == {"code": "Apache-2.0", "weights": "CC BY-NC 4.0"}
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
        if report["data"]["manifest_sha256"] == shipped.spec.data["manifest_sha256"]:
            for entry in report["models"].values():
                if entry["parameters"] == shipped.spec.model["parameters"]:
                    figure = entry["metrics"]["auroc"]
                    published.append(tuple(f"{figure[key]:.3f}" for key in ("value", "low", "high")))
    assert told in published
