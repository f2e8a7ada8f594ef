"""A published student's bundle goes into the package, beside those that ship already."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from dermdistill.evaluate.document import load_report
from dermdistill.files import read_json, write_text
from dermdistill.predict.bundle import read_bundle, shipped_bundles
from dermdistill.publish import results
from dermdistill.publish.front import EXTERNAL, shipped_graphs
from dermdistill.publish.models import FIGURES, out_of_fold

ROOT = Path(__file__).parents[2]


@pytest.fixture
def made(tmp_path):
    """The name of a student that ships, and a work folder that holds its run, bundle and report again."""
    name, bundle = next(iter(shipped_bundles().items()))
    recipe = read_json(bundle / FIGURES)["recipe"]
    published = ROOT / "results" / recipe
    run = shutil.copytree(next((published / "runs" / "final").glob(f"*/{name}")), tmp_path / "run")
    shutil.copyfile(bundle / "model.safetensors", run / "model.safetensors")
    again = shutil.copytree(bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns(FIGURES, "*.safetensors"))
    work = SimpleNamespace(
        bundle=lambda _: again, shipped=SimpleNamespace(run=lambda _: run), report=published,
        recipe=SimpleNamespace(name=recipe),
    )  # fmt: skip
    return name, work


def test_what_ships_stands_beside_what_shipped_before(made, tmp_path):
    name, work = made
    root = tmp_path / "root"
    weights = root / "src" / "dermdistill" / "weights"
    shutil.copytree(work.bundle(name), weights / "earlier")
    write_text(weights / "DEFAULT", "earlier\n")
    (root / EXTERNAL).parent.mkdir(parents=True)
    shutil.copyfile(ROOT / EXTERNAL, root / EXTERNAL)

    results.ship(work, name, root)
    assert (weights / "DEFAULT").read_text() == "earlier\n"
    assert list(shipped_graphs(root)) == ["earlier", name]
    assert (weights / name / "model.safetensors").exists()
    read_bundle(weights / name)
    figures, report = out_of_fold(weights / name), load_report(work.report / "report.json")
    assert figures.auroc.value == report.models[name].metrics["auroc"].value
    assert (figures.recipe, figures.images) == (work.recipe.name, report.data.n)

    results.ship(work, name, root, default=True)
    assert (weights / "DEFAULT").read_text() == f"{name}\n"
    assert list(shipped_graphs(root)) == [name, "earlier"]


def test_a_bundle_that_ships_again_keeps_its_gate(made, tmp_path):
    name, work = made
    (tmp_path / EXTERNAL).parent.mkdir(parents=True)
    shutil.copyfile(ROOT / EXTERNAL, tmp_path / EXTERNAL)
    results.ship(work, name, tmp_path)
    shipped = tmp_path / "src" / "dermdistill" / "weights" / name
    gate = read_bundle(shipped).gate.read_bytes()
    header = read_json(work.bundle(name) / "bundle.json")  # a new export has no gate
    del header["files"]["gate.onnx"]
    write_text(work.bundle(name) / "bundle.json", json.dumps(header))
    (work.bundle(name) / "gate.onnx").unlink()
    results.ship(work, name, tmp_path)
    assert read_bundle(shipped).gate.read_bytes() == gate
    assert "\n## Gate\n" in (shipped / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert (shipped / FIGURES).exists()


def test_the_first_that_ships_is_the_default(made, tmp_path):
    name, work = made
    (tmp_path / EXTERNAL).parent.mkdir(parents=True)
    shutil.copyfile(ROOT / EXTERNAL, tmp_path / EXTERNAL)
    results.ship(work, name, tmp_path)
    assert list(shipped_graphs(tmp_path)) == [name]


def test_figures_of_a_model_that_the_report_lacks_are_not_written(made):
    name, work = made
    unknown = work.bundle(name).rename(work.bundle(name).with_name("unknown"))
    results.write_figures(unknown, work.report / "report.json", "release")
    assert out_of_fold(unknown) is None
