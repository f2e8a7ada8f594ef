from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dermdistill.evaluate.analyses.sources import by_source, draw_within, within
from dermdistill.evaluate.analyses.subgroups import draw, groups_of, subgroups
from dermdistill.evaluate.intervals import clusters, resamples
from dermdistill.evaluate.metrics import Scored


@pytest.fixture
def scored(manifest: pd.DataFrame) -> Scored:
    y = manifest["melanoma"].to_numpy(float)
    return Scored(np.random.default_rng(0).random(len(y)) + 0.5 * y, y, None, None)


def test_models_are_compared_on_each_source(manifest: pd.DataFrame, scored: Scored):
    better = Scored(scored.p + 0.5 * scored.y, scored.y, None, None)
    weights = resamples(clusters(manifest), 200, 0)
    drawn = {name: draw(groups_of(manifest), part, weights) for name, part in (("first", scored), ("better", better))}
    found = by_source(drawn, "first")
    assert set(found) == {"first", "second"}
    for source, entry in found.items():
        mask = (manifest["source"] == source).to_numpy(bool)
        gap = roc_auc_score(scored.y[mask], better.p[mask]) - roc_auc_score(scored.y[mask], scored.p[mask])
        assert entry.models["better"].difference.value == pytest.approx(gap)
        assert entry.models["better"].difference.low > 0
        assert entry.models["first"].difference is None
        same = subgroups(drawn["better"])[f"source: {source}"]
        assert asdict(entry.models["better"].auroc).items() <= asdict(same).items()
        assert (entry.n, entry.positives) == (same.n, same.positives)


def test_one_source_is_not_told_twice(manifest: pd.DataFrame, scored: Scored):
    drawn = draw(groups_of(manifest.assign(source="first")), scored, np.ones((3, len(manifest))))
    assert by_source({"m": drawn}, "m") == {}


def test_within_collections_the_camera_is_no_clue(manifest: pd.DataFrame, scored: Scored):
    """A model that knows the camera beside the lesion gains over all, and nothing within."""
    generator = np.random.default_rng(1)
    often = np.where(scored.y == 1, generator.random(len(scored.y)) < 0.8, generator.random(len(scored.y)) < 0.2)
    manifest = manifest.assign(source="one", collection=pd.Series(np.where(often, "old", "new"), dtype="string"))
    manifest.loc[[0, 1, 2], "collection"] = pd.NA
    named = manifest["collection"].fillna("")
    camera = Scored(scored.p + 5.0 * (named == "old").to_numpy(), scored.y, None, None)
    weights = resamples(clusters(manifest), 200, 0)
    drawn = draw_within(manifest, {"lesion": scored, "camera": camera}, weights)
    found = within(manifest, drawn, scored.y, weights, "lesion")
    assert found is not None
    right = pairs = 0.0
    for name in ("old", "new", ""):
        of = (named == name).to_numpy()
        part = scored.y[of].sum() * (1 - scored.y[of]).sum()
        right, pairs = right + (part * roc_auc_score(scored.y[of], scored.p[of]) if part else 0), pairs + part
    assert found.collections == 3
    assert found.models["lesion"].auroc.value == pytest.approx(right / pairs)
    assert found.models["camera"].difference.value == pytest.approx(0, abs=1e-12)
    assert roc_auc_score(scored.y, camera.p) > roc_auc_score(scored.y, scored.p) + 0.05
    share = manifest.groupby(named)["melanoma"].transform("mean")
    assert found.alone.value == pytest.approx(roc_auc_score(scored.y, share))
    assert found.alone.low < found.alone.value < found.alone.high


def test_one_collection_has_nothing_within(manifest: pd.DataFrame, scored: Scored):
    one = manifest.assign(source="first")
    weights = np.ones((3, len(one)))
    drawn = draw_within(one, {"m": scored}, weights)
    assert drawn == {}
    assert within(one, drawn, scored.y, weights, "m") is None
