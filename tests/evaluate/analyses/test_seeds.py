"""Several seeds of one recipe in one report."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.seeds import of_one_recipe, over_seeds
from dermdistill.evaluate.analyses.sources import draw_within
from dermdistill.evaluate.comparison import gather
from dermdistill.evaluate.intervals import clusters, resamples
from dermdistill.evaluate.predictions import ModelPredictions, by_seeds
from dermdistill.evaluate.report import evaluate
from dermdistill.evaluate.spec import EvaluateSpec

Make = Callable[..., ModelPredictions]


def _trained(model: ModelPredictions, name: str, **recipe: object) -> ModelPredictions:
    return replace(model, recipe={"name": name, "model": "toy", **recipe})


@pytest.fixture
def models(make_model: Make) -> dict[str, ModelPredictions]:
    students = {f"s{seed}": _trained(make_model(2.0, seed=seed), f"s{seed}") for seed in (1, 2, 3)}
    return {"teacher": make_model(3.0, seed=9), **students, "other": _trained(make_model(2.0, seed=4), "other", lr=1)}


def test_only_what_differs_in_name_and_seed_alone_belongs_together(models: dict[str, ModelPredictions]):
    assert of_one_recipe(models) == [["s1", "s2", "s3"]]
    assert of_one_recipe({**models, "again": models["s1"]}) == []  # one seed twice is no sample of seeds


def test_mean_spread_and_difference(manifest: pd.DataFrame, models: dict[str, ModelPredictions], tmp_path: Path):
    report = evaluate(manifest, models, tmp_path, baseline="teacher", replicates=200).model_dump()
    entry = report["over_seeds"]["s1"]
    assert (entry["members"], entry["seeds"]) == (["s1", "s2", "s3"], [1, 2, 3])
    values = [report["models"][name]["metrics"]["auroc"]["value"] for name in entry["members"]]
    auroc = entry["metrics"]["auroc"]
    assert auroc["mean"]["value"] == pytest.approx(np.mean(values))
    assert auroc["mean"]["low"] < np.mean(values) < auroc["mean"]["high"]
    assert auroc["sd"] == pytest.approx(np.std(values, ddof=1))
    gaps = [report["differences"][name]["auroc"]["value"] for name in entry["members"]]
    assert auroc["difference"]["value"] == pytest.approx(np.mean(gaps))
    table = (tmp_path / "table.md").read_text()
    assert "| s1 | 1, 2, 3 | " in table
    assert f"| {auroc['sd']:.3f} | " in table
    assert "Over the seeds" in (tmp_path / "report.html").read_text()


def test_the_mean_of_a_baseline_with_seeds_is_what_others_are_compared_with(
    manifest: pd.DataFrame, models: dict[str, ModelPredictions], make_model: Make, tmp_path: Path
):
    others = {f"t{seed}": _trained(make_model(2.5, seed=seed + 20), f"t{seed}", lr=2) for seed in (1, 2)}
    report = evaluate(manifest, {**models, **others}, tmp_path, baseline="s2", replicates=100).model_dump()[
        "over_seeds"
    ]
    assert report["s1"]["metrics"]["auroc"]["difference"] is None
    assert report["t1"]["against"] == ["s1", "s2", "s3"]
    means = [report[name]["metrics"]["auroc"]["mean"]["value"] for name in ("t1", "s1")]
    assert report["t1"]["metrics"]["auroc"]["difference"]["value"] == pytest.approx(means[0] - means[1])


def test_a_report_of_single_seeds_says_nothing_of_seeds(manifest: pd.DataFrame, make_model: Make, tmp_path: Path):
    assert evaluate(manifest, {"m": make_model()}, tmp_path, replicates=100).over_seeds == {}
    assert "Over the seeds" not in (tmp_path / "report.html").read_text()


@pytest.fixture
def two_recipes(make_model: Make) -> dict[str, ModelPredictions]:
    """Three seeds of a teacher, as runs record them, and two of a student."""
    teachers = {f"t{seed}": make_model(1.5, seed=seed) for seed in (1, 2, 3)}
    teachers = {
        name: replace(model, recipe={"name": name, "model": "toy"}, provenance=model.provenance.model_copy(
            update={"stage": "teacher"}))
        for name, model in teachers.items()
    }  # fmt: skip
    return {**teachers, **{f"s{seed}": _trained(make_model(2.0, seed=seed), f"s{seed}") for seed in (4, 5)}}


def test_teachers_that_differ_in_name_and_seed_alone_are_averaged_too(
    manifest: pd.DataFrame, two_recipes: dict[str, ModelPredictions], tmp_path: Path
):
    report = evaluate(manifest, two_recipes, tmp_path, replicates=100)
    assert {name: entry.members for name, entry in report.over_seeds.items()} == {
        "t1": ["t1", "t2", "t3"], "s4": ["s4", "s5"],
    }  # fmt: skip
    assert report.over_seeds["t1"].gaps == {}
    gap = report.over_seeds["s4"].gaps["t1"].auroc
    means = {name: entry.metrics["auroc"].mean.value for name, entry in report.over_seeds.items()}
    assert gap.value == pytest.approx(means["s4"] - means["t1"])
    assert f"| s4 | t1 | {gap.value:+.3f} [" in (tmp_path / "table.md").read_text()
    assert "<td>" + f"{gap.value:+.3f} [" in (tmp_path / "report.html").read_text()


def test_the_gap_of_means_draws_lesions_and_seeds(manifest: pd.DataFrame, two_recipes: dict[str, ModelPredictions]):
    comparison = gather(manifest, two_recipes, EvaluateSpec(replicates=150, seed=3))
    found = over_seeds(comparison, draw_within(comparison.table, comparison.scored, comparison.weights))
    table = comparison.table
    weights = resamples(clusters(table), 150, 3).astype(float)
    picked = [
        np.random.default_rng([3, 1, place]).integers(count, size=(count, 151)) for place, count in ((0, 3), (1, 2))
    ]
    for place, count in ((0, 3), (1, 2)):
        picked[place][:, 0] = range(count)
    positive = (table["melanoma"] == 1).to_numpy()
    source = table["source"].to_numpy()
    alike = source[positive][:, None] == source[~positive][None]

    def area(name: str, replicate: int, pairs: np.ndarray) -> float:
        p = comparison.scored[name].p
        wins = (p[positive][:, None] > p[~positive][None]) + 0.5 * (p[positive][:, None] == p[~positive][None])
        ours, others = weights[replicate][positive], weights[replicate][~positive]
        return float(ours @ (wins * pairs) @ others / (ours @ pairs @ others))

    for pairs, gap in (
        (np.ones(alike.shape), found["s4"].gaps["t1"].auroc),
        (alike.astype(float), found["s4"].gaps["t1"].within),
    ):
        drawn = []
        for replicate in range(151):
            means = [
                np.mean([area(names[pick], replicate, pairs) for pick in picked[place][:, replicate]])
                for place, names in ((0, ["t1", "t2", "t3"]), (1, ["s4", "s5"]))
            ]
            drawn.append(means[1] - means[0])
        assert gap is not None
        assert gap.value == pytest.approx(drawn[0])
        assert (gap.low, gap.high) == pytest.approx(tuple(np.percentile(drawn[1:], [2.5, 97.5])))
        against = min(np.sum(np.array(drawn[1:]) <= 0), np.sum(np.array(drawn[1:]) >= 0))
        assert gap.p == pytest.approx(min(1, 2 * (against + 1) / 151))


def test_the_baselines_recipe_is_what_others_are_compared_with(
    manifest: pd.DataFrame, two_recipes: dict[str, ModelPredictions], tmp_path: Path
):
    report = evaluate(manifest, two_recipes, tmp_path, baseline="s5", replicates=100)
    assert report.over_seeds["s4"].gaps == {}
    assert set(report.over_seeds["t1"].gaps) == {"s4"}


def test_names_of_tables_can_say_what_are_seeds_of_one_recipe(models: dict[str, ModelPredictions], make_model: Make):
    tables = {name: make_model(seed=9) for name in ("student", "student-1", "student-12", "alone")}
    assert of_one_recipe(tables) == []
    told = by_seeds({**tables, "run": models["s1"]})
    assert of_one_recipe(told) == [["student", "student-1", "student-12"]]
    assert [told[name].provenance.seed for name in ("student", "student-1", "student-12")] == [0, 1, 12]
    sizes = {name: make_model() for name in ("net-112", "net-112-1", "net-128")}
    assert of_one_recipe(by_seeds(sizes)) == [["net-112", "net-112-1"]]  # 112 and 128 are no seeds
    assert told["alone"] is tables["alone"]
    assert told["run"] is models["s1"]


@pytest.mark.parametrize("names", [("student", "teacher"), ("student", "student-0", "student-1")])
def test_names_that_say_nothing_of_seeds_are_refused(make_model: Make, names: tuple[str, ...]):
    with pytest.raises(InputError, match="need names such as student, student-1, student-2, got student"):
        by_seeds({name: make_model() for name in names})
