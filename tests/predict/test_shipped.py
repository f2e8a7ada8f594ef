"""The bundles that ship with the package: small, real, under the licence of their images, and the ones judged."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from dermdistill.classes import CLASSES
from dermdistill.cli import app
from dermdistill.data.training_keys import NAME as KEYS
from dermdistill.data.training_keys import shared
from dermdistill.errors import InputError
from dermdistill.export.answers import trained_on
from dermdistill.files import sha256_file
from dermdistill.licences import binding
from dermdistill.networks import registry
from dermdistill.networks.registry import BUDGET
from dermdistill.predict import bundle
from dermdistill.predict.bundle import default_bundle, find_bundle, open_bundle, read_bundle, shipped_bundles
from dermdistill.predict.header import GATE
from dermdistill.predict.predictor import Predictor
from dermdistill.training.task import normalise

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=shipped_bundles().values(), ids=shipped_bundles())
def shipped(request):
    return read_bundle(request.param)


def test_it_is_small_real_and_complete(shipped):
    sizes = {path.name: path.stat().st_size for path in shipped.folder.iterdir()}
    checkpoint = sizes.pop("model.safetensors")
    assert sum(sizes[name] for name in shipped.spec.graphs) < 0.8e6 * len(shipped.spec.graphs)
    assert sum(sizes.values()) < 2.2e6
    assert checkpoint < 1.0e6
    assert shipped.spec.data.synthetic is False
    assert shipped.spec.classes == CLASSES
    assert shipped.spec.model.parameters <= BUDGET
    known = {"MODEL_CARD.md", "LICENSE-WEIGHTS.txt", KEYS, *shipped.spec.graphs}
    assert known == set(shipped.spec.files) - {GATE}


def test_it_tells_what_it_has_learned_from(shipped):
    found = trained_on(shipped)[""]
    assert len(found["exact copy"]) == pytest.approx(shipped.spec.data.images["train"], abs=1)
    isic = pd.DataFrame({"image_id": ["ISIC_0024310", "ISIC_9999999"], "source": "isic2018"})
    isic = isic.reindex(columns=[*isic, "lesion_id", "patient_id", "sha256", "duplicate_group"])
    # the first is of HAM10000, which all but the free model have seen
    assert list(shared(isic, found)["photograph"]) == [shipped.spec.data.images["train"] > 10_000, False]


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
    data = shipped.spec.data
    weights = binding([*data.licences, *data.teachers_licences])
    assert shipped.spec.licence.model_dump() == {"code": "Apache-2.0", "weights": weights}
    assert f"Weights: {weights}" in (shipped.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    told = (shipped.folder / "LICENSE-WEIGHTS.txt").read_text(encoding="utf-8")
    assert ("no commercial use" in told) == ("NC" in weights)
    assert "NC" in weights or not {"ham10000", "ham10000-more", "ham10000-whole"} & set(data.sources)


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


@pytest.fixture
def two(tmp_path, monkeypatch):
    """The folder of the package's bundles, which holds two; the second by name is the default."""
    for name in ("free", "other"):
        shutil.copytree(default_bundle(), tmp_path / "weights" / name)
    (tmp_path / "weights" / "DEFAULT").write_text("other\n")
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    return tmp_path / "weights"


def test_a_model_can_be_named(two, tmp_path, monkeypatch):
    assert shipped_bundles() == {"other": two / "other", "free": two / "free"}
    assert Predictor().bundle.folder == default_bundle() == two / "other"
    assert Predictor("free").bundle.folder == find_bundle("free") == two / "free"
    assert find_bundle(two / "free") == two / "free"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "free").mkdir()
    assert find_bundle("free") == two / "free"  # a folder of this name that is no bundle does not hide it
    shutil.copytree(two / "other", tmp_path / "free", dirs_exist_ok=True)
    assert find_bundle("free") == Path("free")


def test_a_bundle_is_opened_however_it_is_meant(two):
    assert open_bundle().folder == two / "other"
    assert open_bundle("free").folder == open_bundle(two / "free").folder == two / "free"
    opened = open_bundle("free")
    assert open_bundle(opened) is opened


def test_commands_take_the_names_of_models_that_ship(tmp_path):
    name = list(shipped_bundles())[-1]
    told = CliRunner().invoke(app, ["verify", name, "--json"])
    assert json.loads(told.stdout)["model"] == name
    made = CliRunner().invoke(app, ["page", "--to", str(tmp_path / "page"), "--model", name])
    assert made.exit_code == 0, made.output
    wrong = CliRunner().invoke(app, ["verify", f"{name}x"])
    assert f"did you mean '{name}'?" in str(wrong.exception)


def test_a_wrong_name_is_told_with_a_close_one(two):
    with pytest.raises(InputError, match=r"no bundle at fre, .* did you mean 'free'\? These do: other, free\. "):
        Predictor("fre")
    with pytest.raises(InputError, match="ships with the package; these do: other, free"):
        find_bundle("work/of/mine")


def test_the_command_takes_a_name(two, picture, tmp_path):
    picture().save(tmp_path / "photo.png")
    done = CliRunner().invoke(app, ["predict", "--model", "free", "--format", "json", str(tmp_path / "photo.png")])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["predict", "--model", "othr", str(tmp_path / "photo.png")])
    assert isinstance(done.exception, InputError)
    assert "did you mean 'other'?" in str(done.exception)


def test_an_installation_without_models_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path)
    with pytest.raises(InputError, match="ships no model"):
        default_bundle()
