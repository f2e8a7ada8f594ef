"""`dermdistill models` lists what ships, with the figures of each graph and of no other."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.evaluate.document import load_report
from dermdistill.predict import bundle
from dermdistill.publish.models import shipped_models

ROOT = Path(__file__).parents[2]


def _table() -> dict[str, list[str]]:
    """The cells of the printed table by their row."""
    done = CliRunner().invoke(app, ["models"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    lines = [line.replace("┃", "│").split("│")[1:-1] for line in done.output.splitlines()]
    rows = [[cell.strip() for cell in cells] for cells in lines]
    return {cells[0]: cells[1:] for cells in rows if len(cells) > 1}


def test_the_figures_are_those_of_the_results():
    for model in shipped_models():
        of = model.out_of_fold
        assert of is not None, f"{model.name} has no figures of its graph"
        report = load_report(ROOT / "results" / of.recipe / "report.json")
        own = report.models[model.name]
        assert (of.auroc.value, of.auroc.low) == (own.metrics["auroc"].value, own.metrics["auroc"].low)
        assert (of.within is None) == (report.within is None)
        assert report.within is None or of.within.value == report.within.models[model.name].auroc.value
        assert (of.images, of.melanomas) == (report.data.n, report.data.positives)
        assert own.parameters == model.parameters


def test_json_and_table_say_the_same():
    known = json.loads(CliRunner().invoke(app, ["models", "--json"]).output)
    assert [model["default"] for model in known] == [True] + [False] * (len(known) - 1)
    table = _table()
    assert table["parameters"] == [f"{model['parameters']:,}" for model in known]
    assert table["licence of the weights"] == [model["licence"] for model in known]
    assert [cell[:5] for cell in table["out of fold"]] == [
        f"{model['out_of_fold']['auroc']['value']:.3f}" for model in known
    ]
    for cells, model in zip(
        zip(*(table[name] for name in ("ISIC 2018", "ISIC 2017", "PH2")), strict=True), known, strict=True
    ):
        areas = [f"{test['auroc']['value']:.3f}" for test in model["external"].values()]
        assert [cell[:5] for cell in cells] == areas or not areas


@pytest.fixture
def another(tmp_path, monkeypatch):
    """A bundle of another graph beside the default one, with the figures and the card of that one."""
    for name in ("first", "second"):
        shutil.copytree(next(iter(bundle.shipped_bundles().values())), tmp_path / name)
    (tmp_path / "DEFAULT").write_text("second")
    with (tmp_path / "first" / "model.onnx").open("ab") as graph:
        graph.write(b"0")
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path)


def test_figures_of_another_graph_are_not_shown(another):
    table = _table()
    assert table[""] == ["second (default)", "first"]
    for name in ("ISIC 2018", "ISIC 2017", "PH2"):
        assert table[name][1] == "not yet scored"
    assert (table["out of fold"][1], table["within collections"][1]) == ("not known", "not known")
    assert shipped_models()[1].external == {}
