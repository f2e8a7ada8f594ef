import copy
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from dermdistill.classes import BINARY_CLASSES, CLASSES, DISCLAIMER
from dermdistill.cli import app
from dermdistill.data.manifest import manifest_hash, write_manifest
from dermdistill.errors import InputError
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.metrics import LABELS
from dermdistill.evaluate.predictions import ModelPredictions, pool
from dermdistill.evaluate.render.text import interval
from dermdistill.evaluate.report import evaluate as judge
from dermdistill.probabilities import softmax

Make = Callable[..., ModelPredictions]


def evaluate(*given: Any, **named: Any) -> dict[str, Any]:
    """The report as report.json has it."""
    return judge(*given, **named).model_dump(mode="json")


def strict(path: Path) -> dict:
    def refuse(text: str) -> None:
        raise ValueError(f"{text} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def three(make: Make) -> dict[str, ModelPredictions]:
    return {
        "teacher": make(3.0, seed=1),
        "student": make(2.0, seed=2),
        "binary": make(1.0, seed=3, classes=BINARY_CLASSES),
    }


@pytest.fixture
def models(make_model: Make) -> dict[str, ModelPredictions]:
    return three(make_model)


@pytest.fixture(scope="module")
def reported(whole_manifest: pd.DataFrame, model_on: Make, tmp_path_factory) -> tuple[Path, dict]:
    """A report of three models, made once: its folder, and what was returned."""
    folder = tmp_path_factory.mktemp("reported") / "report"
    return folder, evaluate(whole_manifest, three(partial(model_on, whole_manifest)), folder, replicates=200, seed=4)


@pytest.fixture
def report(reported: tuple[Path, dict], tmp_path: Path) -> dict:
    """What was returned for the report of three models; its files lie in tmp_path / "report"."""
    shutil.copytree(reported[0], tmp_path / "report")
    return copy.deepcopy(reported[1])


def test_the_json_is_strict_and_what_was_returned(report: dict, tmp_path: Path):
    assert strict(tmp_path / "report" / "report.json") == report


def test_what_the_figures_are_of(report: dict, manifest: pd.DataFrame, models: dict[str, ModelPredictions]):
    tested = manifest[manifest["image_id"].isin(models["teacher"].ids("test"))]
    data = report["data"]
    assert data["manifest_sha256"] == manifest_hash(manifest)
    assert (data["n"], data["positives"]) == (len(tested), tested["melanoma"].sum())
    assert data["clusters"] == tested.groupby(["source", "lesion_id"]).ngroups
    assert data["sources"] == tested["source"].value_counts().to_dict()
    assert not data["synthetic"]
    assert report["bootstrap"] == {
        "kind": "lesion-clustered percentile", "replicates": 200, "seed": 4, "level": 0.95,
    }  # fmt: skip


def test_every_figure_has_value_interval_and_n_or_a_reason(report: dict):
    for name, entry in report["models"].items():
        figures = {**entry["metrics"], **entry["subgroups"]}
        for what, figure in figures.items():
            assert {"value", "low", "high", "n", "positives", "undefined", "reason"} <= set(figure)
            if figure["value"] is None:
                assert figure["reason"], f"{name}: {what}"
            else:
                assert figure["low"] <= figure["high"], f"{name}: {what}"
        assert set(entry["metrics"]) == set(LABELS)
        assert (entry["parameters"], entry["macs"]) == (12_345, 6_700_000)


def test_the_auroc_is_scikit_learns(report: dict, manifest: pd.DataFrame, models: dict[str, ModelPredictions]):
    tested = manifest[manifest["image_id"].isin(models["teacher"].ids("test"))]
    for name, model in models.items():
        entry = report["models"][name]
        p = softmax(model.logits(tested["image_id"]), entry["temperature"])[:, model.classes.index("mel")]
        assert entry["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(tested["melanoma"], p))


def test_a_binary_model_has_no_seven_class_figure(report: dict):
    for key in ("accuracy", "balanced_accuracy"):
        figure = report["models"]["binary"]["metrics"][key]
        assert figure["value"] is None
        assert figure["reason"] == "the model tells other, mel apart, not the seven classes"
        assert report["differences"]["binary"][key]["reason"] == "undefined for one of the two"
        assert report["models"]["teacher"]["metrics"][key]["value"] > 0.5


def test_differences_are_to_the_baseline(report: dict):
    assert report["baseline"] == "teacher"
    assert set(report["differences"]) == {"student", "binary"}
    for name, gaps in report["differences"].items():
        for key, gap in gaps.items():
            if gap["value"] is not None:
                here, there = (report["models"][model]["metrics"][key]["value"] for model in (name, "teacher"))
                assert gap["value"] == pytest.approx(here - there)
    assert report["differences"]["binary"]["auroc"]["high"] < 0


def test_a_model_differs_from_itself_by_exactly_nothing(measured: Callable[..., Report], make_model: Make):
    twins = measured({"one": make_model(), "two": make_model()}).model_dump(mode="json")
    for gap in twins["differences"]["two"].values():
        assert (gap["value"], gap["low"], gap["high"], gap["p"]) == (0, 0, 0, 1)


def test_test_images_choose_nothing(manifest: pd.DataFrame, models: dict[str, ModelPredictions], report: dict,
                                    tmp_path: Path):  # fmt: skip
    tested = manifest["image_id"].isin(models["teacher"].ids("test"))
    shuffled = manifest.copy()
    for column in ("diagnosis", "melanoma"):
        shuffled.loc[tested, column] = manifest.loc[tested, column].to_numpy()[::-1]
    other = {}
    for name, model in models.items():
        table = model.table.copy()
        logits = [column for column in table if column.startswith("logit_")]
        table.loc[table["role"] == "test", logits] *= -3
        other[name] = replace(model, table=table)
    after = evaluate(shuffled, other, tmp_path / "after", replicates=100)
    for name in models:
        for key in ("temperature", "thresholds"):
            assert report["models"][name][key] == after["models"][name][key]
        assert report["models"][name]["metrics"]["auroc"]["value"] != after["models"][name]["metrics"]["auroc"]["value"]


def test_thresholds_are_realised_on_the_test_images(report: dict, manifest: pd.DataFrame, models: dict):
    tested = manifest[manifest["image_id"].isin(models["student"].ids("test"))]
    entry = report["models"]["student"]
    p = softmax(models["student"].logits(tested["image_id"]), entry["temperature"])[:, 4]
    positive, y = p >= entry["thresholds"]["sensitivity_90"]["value"], tested["melanoma"].to_numpy() == 1
    got = entry["realised"]["sensitivity_90"]
    assert got["sensitivity"]["value"] == pytest.approx(positive[y].mean())
    assert got["specificity"]["value"] == pytest.approx((~positive[~y]).mean())
    assert got["ppv"]["value"] == pytest.approx(y[positive].mean())
    assert got["npv"]["value"] == pytest.approx((~y[~positive]).mean())
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in got.values())


def test_diagnoses_that_are_not_known(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    model = make_model()
    tested = np.flatnonzero(manifest["image_id"].isin(model.ids("test")))
    manifest.loc[tested[:20], "diagnosis"] = pd.NA
    entry = evaluate(manifest, {"m": model}, tmp_path / "some", replicates=100)["models"]["m"]
    assert entry["metrics"]["accuracy"]["n"] == len(tested) - 20
    assert entry["metrics"]["auroc"]["n"] == len(tested)
    assert entry["temperature_fitted_on"] == "diagnosis"

    manifest["diagnosis"] = pd.NA
    entry = evaluate(manifest, {"m": model}, tmp_path / "none", replicates=100)["models"]["m"]
    assert entry["metrics"]["accuracy"]["value"] is None
    assert entry["metrics"]["accuracy"]["reason"] == "no image has a known diagnosis"
    assert entry["temperature_fitted_on"] == "melanoma"
    assert entry["metrics"]["auroc"]["value"] > 0.8


def test_a_test_set_without_melanoma(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    model = make_model()
    tested = manifest["image_id"].isin(model.ids("test"))
    kept = manifest[~tested | (manifest["melanoma"] == 0)].reset_index(drop=True)
    model = replace(model, table=model.table[model.table["image_id"].isin(kept["image_id"])])
    evaluate(kept, {"m": model}, tmp_path, replicates=100)
    entry = strict(tmp_path / "report.json")["models"]["m"]
    for key in ("auroc", "average_precision", "sensitivity_at_specificity_90", "specificity_at_sensitivity_95"):
        assert entry["metrics"][key]["value"] is None
        assert entry["metrics"][key]["reason"].startswith("needs melanomas and others among the images, got 0 of")
    assert entry["realised"]["youden"]["sensitivity"]["reason"] == "no melanoma among the images"
    assert entry["metrics"]["brier"]["value"] is not None
    assert "ROC curves" not in (tmp_path / "report.html").read_text()
    assert "n/a" in (tmp_path / "table.md").read_text()


def test_validation_without_melanoma_gives_reasons_not_thresholds(manifest: pd.DataFrame, make_model: Make, tmp_path):
    model = make_model()
    validation = manifest["image_id"].isin(model.ids("validation"))
    kept = manifest[~validation | (manifest["melanoma"] == 0)].reset_index(drop=True)
    model = replace(model, table=model.table[model.table["image_id"].isin(kept["image_id"])])
    entry = evaluate(kept, {"m": model}, tmp_path, replicates=100)["models"]["m"]
    assert entry["realised"] == {}
    assert "needs positives and negatives" in entry["thresholds"]["youden"]["reason"]
    assert "threshold youden: needs positives" in (tmp_path / "report.html").read_text()


class Page(HTMLParser):
    """Balanced tags, visible text, ids and whatever would be loaded from elsewhere."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe"):
            self.loaded.append(tag)
        for key in ("src", "href", "xlink:href"):
            if values.get(key) and not values[key].startswith("#"):
                self.loaded.append(values[key])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture
def page(report: dict, tmp_path: Path) -> Page:
    return Page((tmp_path / "report" / "report.html").read_text())


def visible(page: Page) -> str:
    return re.sub(r"\s+", " ", " ".join(page.words))


def test_the_page_is_whole_and_needs_no_network(page: Page):
    assert page.open == []
    assert page.loaded == []


def test_the_page_holds_each_figure_with_its_interval(page: Page, report: dict):
    text = visible(page).replace(" [", "[")
    for entry in report["models"].values():
        realised = [figure for got in entry["realised"].values() for figure in got.values()]
        for figure in [*entry["metrics"].values(), *entry["subgroups"].values(), *realised]:
            assert interval(figure).replace(" [", "[") in text
            if figure["value"] is None:
                assert figure["reason"] in text
    for gaps in report["differences"].values():
        for gap in gaps.values():
            assert interval(gap, signed=True).replace(" [", "[") in text


def test_the_page_says_what_it_is_of(page: Page, report: dict):
    text = visible(page)
    assert text.index(DISCLAIMER) < text.index("Melanoma detection: 3 models on the same images")
    assert report["data"]["manifest_sha256"] in text
    assert "12,345" in text
    assert "6.7" in text
    for title in ("ROC curves", "Reliability", "Confusion: teacher", "Confusion: student"):
        assert title in text
    assert "Confusion: binary" not in text
    assert "SYNTHETIC" not in text


def test_synthetic_data_is_called_so(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    manifest["source"] = "synthetic"
    report = evaluate(manifest, {"m": make_model()}, tmp_path, replicates=100)
    assert report["data"]["synthetic"]
    text = visible(Page((tmp_path / "report.html").read_text()))
    assert text.index("SYNTHETIC DATA: these figures say nothing about skin") < text.index(DISCLAIMER)
    assert "SYNTHETIC DATA" in (tmp_path / "table.md").read_text()


def test_figures_of_validation_images_carry_a_warning(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    evaluate(manifest, {"m": make_model()}, tmp_path, replicates=100, role="validation")
    assert "the figures are too good" in (tmp_path / "report.html").read_text()


def test_a_model_trained_with_another_manifest_is_told(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    model, models = make_model(), {}
    for name, sha256 in {"same": manifest_hash(manifest), "other": "0" * 64}.items():
        made = model.provenance.model_copy(update={"trained_on_manifest_sha256": sha256})
        models[name] = replace(model, provenance=made)
    evaluate(manifest, models, tmp_path, replicates=100)
    text = visible(Page((tmp_path / "report.html").read_text()))
    assert "other was trained with another manifest (0000000000000000)" in text
    assert "same was trained with another" not in text


def test_names_are_shown_as_they_are(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    name = "<b>a|b</b> $x$"
    evaluate(manifest, {name: make_model()}, tmp_path, replicates=100)
    page = Page((tmp_path / "report.html").read_text())
    assert page.open == []
    assert name in visible(page)
    assert (
        len({line.replace(r"\|", "").count("|") for line in (tmp_path / "table.md").read_text().splitlines()[:3]}) == 1
    )


def test_the_same_input_gives_the_same_bytes(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    for folder in ("a", "b"):
        evaluate(manifest, models, tmp_path / folder, replicates=100)
    for name in ("report.json", "report.html", "table.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_table_for_the_readme(report: dict, tmp_path: Path):
    lines = (tmp_path / "report" / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| teacher", "| student", "| binary"]
    assert interval(report["models"]["student"]["metrics"]["auroc"]) in lines[3]
    assert interval(report["differences"]["student"]["auroc"], signed=True) in lines[3]
    assert report["data"]["manifest_sha256"][:16] in lines[-1]


def test_models_on_other_images_are_refused(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    one, two = make_model(), make_model(seed=2)
    lost = one.ids("test")[:2]
    two = replace(two, table=two.table[~two.table["image_id"].isin(lost)])
    with pytest.raises(InputError, match=rf"'two' lacks 2 images \({', '.join(lost)}\) that 'one' was tested on"):
        evaluate(manifest, {"one": one, "two": two}, tmp_path / "r", replicates=100)
    with pytest.raises(InputError, match="'two' lacks 2 images"):
        evaluate(manifest, {"two": two, "one": one}, tmp_path / "r", replicates=100)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("role", ["validation", "test"])
def test_images_that_the_manifest_lacks_are_named(manifest: pd.DataFrame, make_model: Make, tmp_path: Path, role: str):
    model = make_model()
    gone = model.ids(role)[3]
    with pytest.raises(InputError, match=rf"1 images \({gone}\) not in the manifest"):
        evaluate(manifest[manifest["image_id"] != gone], {"m": model}, tmp_path, replicates=100)


def _without(model: ModelPredictions, role: str) -> ModelPredictions:
    return replace(model, table=model.table[model.table["role"] != role])


@pytest.mark.parametrize("role", ["validation", "test"])
def test_a_role_without_predictions(manifest: pd.DataFrame, make_model: Make, tmp_path: Path, role: str):
    models = {"m": _without(make_model(), role), "other": make_model(seed=2)}
    with pytest.raises(InputError, match=f"'m' has no predictions with the role '{role}'"):
        evaluate(manifest, models, tmp_path, replicates=100)


def test_without_validation_images_the_judged_ones_choose_for_each_other(
    manifest: pd.DataFrame, make_model: Make, tmp_path: Path
):
    models = {name: _without(make_model(strength), "validation") for name, strength in (("a", 2.0), ("b", 3.0))}
    found = evaluate(manifest, models, tmp_path, replicates=100)
    assert found["chosen_on"] == "cross-fitted"
    entry = found["models"]["a"]
    assert entry["parts"] == {}
    # chosen with hindsight the sensitivity is at least 0.95; realised it is what other lesions' thresholds give
    assert entry["thresholds"]["sensitivity_95"]["sensitivity"] >= 0.95
    assert 0.8 < entry["realised"]["sensitivity_95"]["sensitivity"]["value"] < 1
    assert entry["thresholds"]["sensitivity_95"]["n"] == found["data"]["n"]
    html = (tmp_path / "report.html").read_text()
    assert "Chosen on other lesions among these images" in html
    assert evaluate(manifest, {"a": make_model()}, tmp_path, replicates=100)["chosen_on"] == "validation"


def test_pooled_trainings_are_judged_apart_as_well(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    model = make_model()
    table = model.table.assign(role="test")
    half = table.index % 2 == 0
    pooled = pool({"fold-0": replace(model, table=table[half]), "fold-1": replace(model, table=table[~half])})
    assert sorted(pooled.table["image_id"]) == sorted(manifest["image_id"])
    entry = evaluate(manifest, {"m": pooled}, tmp_path, replicates=100)["models"]["m"]
    own = manifest[half]
    expected = roc_auc_score(own["melanoma"], softmax(model.logits(own["image_id"]))[:, CLASSES.index("mel")])
    assert entry["parts"]["fold-0"] == pytest.approx(expected, abs=0.01)  # the temperatures of five groups differ
    assert set(entry["parts"]) == {"fold-0", "fold-1"}
    binary = make_model(classes=BINARY_CLASSES)
    with pytest.raises(InputError, match="cannot pool models with other classes"):
        pool({"fold-0": model, "fold-1": binary})


def test_models_and_baseline_must_be_there(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    with pytest.raises(InputError, match="no models"):
        evaluate(manifest, {}, tmp_path)
    with pytest.raises(InputError, match="the baseline is 'x': no model is called 'x'; there are m"):
        evaluate(manifest, {"m": make_model()}, tmp_path, baseline="x")


@pytest.fixture
def files(manifest: pd.DataFrame, models: dict[str, ModelPredictions], tmp_path: Path) -> Path:
    write_manifest(manifest, tmp_path / "manifest.parquet")
    models["teacher"].table.to_parquet(tmp_path / "teacher.parquet")
    models["student"].table.to_csv(tmp_path / "student.csv", index=False)
    return tmp_path


def call(folder: Path, *more: str, teacher: str = "teacher={}/teacher.parquet"):
    words = ["evaluate", str(folder / "manifest.parquet"), "--model", teacher.format(folder)]
    words += ["--model", f"student={folder}/student.csv", "--out", str(folder / "out"), "--replicates", "200"]
    return CliRunner().invoke(app, [*words, *more])


def test_the_command(files: Path):
    done = call(files, "--baseline", "student", "--seed", "7")
    assert done.exit_code == 0, done.output
    report = strict(files / "out" / "report.json")
    assert (report["baseline"], report["bootstrap"]["seed"]) == ("student", 7)
    shown = re.sub(r"\s+", " ", done.output)
    for entry in report["models"].values():
        assert f"{entry['metrics']['auroc']['value']:.3f}" in shown
    assert f"{report['differences']['teacher']['auroc']['low']:+.3f}" in shown
    assert "out/report.html" in done.output.replace("\n", "")


def test_the_command_lets_a_test_choose_its_thresholds_only_when_it_is_told_to(files: Path, models):
    for name in ("teacher", "student"):
        models[name].table[models[name].table["role"] == "test"].to_parquet(files / f"{name}.parquet")
    words = ["--model", f"again={files}/student.parquet", "--common"]
    (files / "student.csv").unlink()
    pd.read_parquet(files / "student.parquet").to_csv(files / "student.csv", index=False)
    refused = call(files, *words)
    assert isinstance(refused.exception, InputError)
    assert "--cross-fit" in str(refused.exception)
    assert not (files / "out").exists()
    done = call(files, *words, "--cross-fit", "--without-source", f"again={files}/teacher.parquet")
    assert done.exit_code == 0, done.output
    report = strict(files / "out" / "report.json")
    assert report["chosen_on"] == "cross-fitted"
    assert list(report["unseen"]) == ["again, source left out"]


def test_the_command_cuts_models_to_their_common_images(files: Path, models: dict[str, ModelPredictions]):
    tested = models["teacher"].ids("test")
    whole = models["teacher"].table
    whole[~whole["image_id"].isin(tested[:5])].to_parquet(files / "teacher.parquet")
    done = call(files)
    assert isinstance(done.exception, InputError)
    done = call(files, "--common")
    assert done.exit_code == 0, done.output
    assert "those that all models predicted (left out: 5 of student)" in re.sub(r"\s+", " ", done.output)
    report = strict(files / "out" / "report.json")
    assert report["data"]["n"] == len(tested) - 5
    assert report["data"]["left_out"] == {"student": 5}
    assert "left out: 5 of student" in (files / "out" / "table.md").read_text()
    kept = tested[5:]
    table = models["student"].table.set_index("image_id").loc[kept]
    manifest = pd.read_parquet(files / "manifest.parquet").set_index("image_id").loc[kept]
    entry = report["models"]["student"]
    logits = table[[f"logit_{name}" for name in CLASSES]].to_numpy(float) / entry["temperature"]
    expected = roc_auc_score(manifest["melanoma"], softmax(logits)[:, CLASSES.index("mel")])
    assert entry["metrics"]["auroc"]["value"] == pytest.approx(expected)


def test_models_without_a_common_image_are_refused(files: Path, models: dict[str, ModelPredictions]):
    whole, tested = models["teacher"].table, models["teacher"].ids("test")
    moved = whole[whole["role"] != "test"].copy()
    moved.loc[moved.index[moved["role"] == "train"][:3], "role"] = "test"
    moved.to_parquet(files / "teacher.parquet")
    done = call(files, "--common")
    assert isinstance(done.exception, InputError)
    assert f"predicted by all models, which predicted 'teacher' 3, 'student' {len(tested)}" in str(done.exception)


def test_the_command_compares_means_over_seeds(files: Path, models: dict[str, ModelPredictions], make_model: Make):
    for name, seed in (("student-1", 5), ("teacher-1", 6)):
        make_model(2.0, seed=seed).table.to_csv(files / f"{name}.csv", index=False)
    more = [word for name in ("student-1", "teacher-1") for word in ("--model", f"{name}={files}/{name}.csv")]
    done = call(files, *more, "--seeds")
    assert done.exit_code == 0, done.output
    entry = strict(files / "out" / "report.json")["over_seeds"]
    assert entry["student"]["members"] == ["student", "student-1"]
    gap = entry["student"]["gaps"]["teacher"]
    shown = re.sub(r"\s+", " ", done.output)
    assert f"mean of the seeds of student minus that of teacher: AUROC {interval(gap['auroc'], signed=True)}" in shown
    assert isinstance(call(files, "--seeds").exception, InputError)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("teacher.parquet", "--model expects NAME=PATH, got teacher.parquet"),
        ("student={}/teacher.parquet", "each --model needs another name"),
        ("teacher={}/nowhere", "no predictions at"),
    ],
)
def test_the_command_tells_what_does_not_fit(files: Path, teacher: str, message: str):
    done = call(files, teacher=teacher)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert not (files / "out").exists()


def test_the_table_compares_on_each_source(report: dict, tmp_path: Path):
    text = (tmp_path / "report" / "table.md").read_text()
    second = report["by_source"]["second"]
    assert f"AUROC on second, {second['n']} images ({second['positives']} melanomas)" in text
    gap = interval(second["models"]["student"]["difference"], signed=True)
    row = next(line for line in text.splitlines() if line.startswith("| student") and gap in line)
    assert row.count("|") == 8
    within = interval(report["within"]["models"]["student"]["auroc"])
    assert "AUROC within 2 collections" in text
    assert within in row
    assert f"gives an AUROC of {interval(report['within']['alone'])}" in text
    assert f"<small>minus teacher:</small><small>{gap}</small>" in (tmp_path / "report" / "report.html").read_text()
