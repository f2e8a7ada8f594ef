"""Several seeds of one recipe in one report."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dermdistill.evaluate.analyses.seeds import of_one_recipe
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.evaluate.report import evaluate

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
