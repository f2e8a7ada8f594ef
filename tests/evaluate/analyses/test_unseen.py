"""What an unknown camera costs: leave-one-source-out against cross-validation on the same images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dermdistill.errors import InputError
from dermdistill.evaluate.predictions import ModelPredictions, pool
from dermdistill.evaluate.render.text import interval
from dermdistill.evaluate.report import evaluate


def crossed(model: ModelPredictions) -> ModelPredictions:
    table = model.table.assign(role="test")
    even = np.arange(len(table)) % 2 == 0
    return pool({"fold-0": replace(model, table=table[even]), "fold-1": replace(model, table=table[~even])})


def left_out(model: ModelPredictions, manifest: pd.DataFrame) -> ModelPredictions:
    table = model.table.assign(role="test")
    of = dict(zip(manifest["image_id"], manifest["source"], strict=True))
    source = table["image_id"].map(of)
    return pool({f"without-{name}": replace(model, table=table[source == name]) for name in ("first", "second")})


def test_the_drop_of_each_source(manifest: pd.DataFrame, make_model, tmp_path: Path):
    models = {
        "teacher": make_model(4.0, seed=9), "known": crossed(make_model(3.0)),
        "unknown": left_out(make_model(1.0, seed=2), manifest),
    }  # fmt: skip
    models["teacher"] = replace(models["teacher"], table=models["teacher"].table.assign(role="test"))
    report = evaluate(manifest, models, tmp_path, replicates=200)
    entry = report.unseen["unknown"]
    assert entry.known == "known"
    assert set(entry.sources) == {"first", "second"}
    for source, drop in entry.sources.items():
        of = report.by_source[source]
        assert (drop.n, drop.positives) == (of.n, of.positives)
        known, unknown = of.models["known"].auroc.value, of.models["unknown"].auroc.value
        assert (drop.known.value, drop.unknown.value) == (known, unknown)
        assert drop.drop.value == pytest.approx(unknown - known)
        assert drop.drop.high is not None
        assert drop.drop.high < 0
    # the one number: each source's pairs of a melanoma and another lesion weigh what there are of them
    pairs = {source: of.positives * (of.n - of.positives) for source, of in entry.sources.items()}
    for when in ("known", "unknown"):
        areas = {source: getattr(of, when).value for source, of in entry.sources.items()}
        expected = sum(pairs[source] * areas[source] for source in pairs) / sum(pairs.values())
        assert getattr(entry.overall, when).value == pytest.approx(expected)
    gap = entry.overall.drop
    assert gap.value == pytest.approx(entry.overall.unknown.value - entry.overall.known.value)
    page = (tmp_path / "report.html").read_text()
    assert f"the AUROC within sources changes by {interval(gap, signed=True)} (unknown)" in page
    assert 'id="unseen"' in page
    assert "Where training left the source out" in page


def test_recipes_decide_where_there_are_several(manifest: pd.DataFrame, make_model, tmp_path: Path):
    def of(model: ModelPredictions, name: str, **recipe: object) -> ModelPredictions:
        return replace(model, recipe={"name": name, **recipe})

    models = {
        "a": crossed(of(make_model(3.0), "a", lr=1)), "b": crossed(of(make_model(2.0, seed=3), "b", lr=2)),
        "c": left_out(of(make_model(1.0, seed=2), "c", lr=2), manifest),
        "d": left_out(of(make_model(1.0, seed=4), "d", lr=3), manifest),
    }  # fmt: skip
    report = evaluate(manifest, models, tmp_path, replicates=100)
    assert {name: entry.known for name, entry in report.unseen.items()} == {"c": "b"}


def test_a_hold_out_has_no_unknown_camera(manifest: pd.DataFrame, make_model, tmp_path: Path):
    assert evaluate(manifest, {"m": make_model()}, tmp_path, replicates=100).unseen == {}


def test_independent_of_the_pooled_calibration(manifest: pd.DataFrame, make_model, tmp_path: Path):
    """Without validation images the temperatures of five groups differ a little; the AUROC hardly does."""
    model = left_out(make_model(1.0, seed=2), manifest)
    report = evaluate(manifest, {"known": crossed(make_model(3.0)), "unknown": model}, tmp_path, replicates=100)
    of = manifest[manifest["source"] == "second"]
    p = np.exp(model.logits(of["image_id"]))
    expected = roc_auc_score(of["melanoma"], p[:, 4] / p.sum(1))
    assert report.unseen["unknown"].sources["second"].unknown.value == pytest.approx(expected, abs=0.01)


def test_predictions_of_some_images_by_a_training_without_their_source(manifest: pd.DataFrame, make_model, measured):
    models = {"known": crossed(make_model(3.0)), "other": crossed(make_model(2.0, seed=3))}
    whole = left_out(make_model(1.0, seed=2), manifest)
    first = whole.table["image_id"].isin(manifest.loc[manifest["source"] == "first", "image_id"])
    some = replace(whole, table=whole.table[first].iloc[:-10])
    found = measured(models, without_source={"known": some}).unseen
    assert list(found) == ["known, source left out"]
    entry = found["known, source left out"]
    assert (entry.known, list(entry.sources)) == ("known", ["first"])
    drop = entry.sources["first"]
    assert drop.n == len(some.table)
    # judged as if it were a model of the report, at temperatures that other lesions choose
    judged = measured({"unknown": some}).models["unknown"].metrics["auroc"]
    assert drop.unknown.value == pytest.approx(judged.value)
    # one source alone is what is within sources
    assert entry.overall.drop.value == pytest.approx(drop.drop.value)
    with pytest.raises(InputError, match="no model is called 'knwon'"):
        measured(models, without_source={"knwon": some})
    with pytest.raises(InputError, match="none of the"):
        measured(models, without_source={"known": replace(some, table=some.table[:0])})
