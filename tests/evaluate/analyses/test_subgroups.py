import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dermdistill.evaluate.analyses.subgroups import FEWEST, draw, groups_of, subgroups
from dermdistill.evaluate.intervals import clusters, resamples
from dermdistill.evaluate.metrics import Scored


@pytest.fixture
def scored(manifest: pd.DataFrame) -> Scored:
    y = manifest["melanoma"].to_numpy(float)
    return Scored(np.random.default_rng(0).random(len(y)) + 0.5 * y, y, None, None)


def test_each_group_is_judged_on_its_own_images(manifest: pd.DataFrame, scored: Scored):
    found = subgroups(draw(groups_of(manifest), scored, resamples(clusters(manifest), 200, 0)))
    for column, group in (("source", "second"), ("sex", "female"), ("site", "back")):
        mask = (manifest[column] == group).to_numpy(bool)
        entry = found[f"{column}: {group}"]
        assert entry.value == pytest.approx(roc_auc_score(scored.y[mask], scored.p[mask]))
        assert entry.low < entry.value < entry.high
        assert (entry.n, entry.positives) == (mask.sum(), scored.y[mask].sum())


def test_too_few_give_a_reason_instead_of_a_figure(manifest: pd.DataFrame, scored: Scored):
    entry = subgroups(draw(groups_of(manifest), scored, resamples(clusters(manifest), 200, 0)))["site: scalp"]
    assert entry.positives < FEWEST
    assert entry.value is None
    assert entry.reason == f"needs 10 melanomas and 10 others, has {entry.positives} and {entry.n - entry.positives}"


def test_ages_fall_into_bands_without_gap_or_overlap(manifest: pd.DataFrame, scored: Scored):
    manifest["age"] = np.resize([0, 29.5, 30, 49, 50, 69, 70, 120, np.nan], len(manifest))
    found = subgroups(draw(groups_of(manifest), scored, resamples(clusters(manifest), 2, 0)))
    bands = {name: entry.n for name, entry in found.items() if name.startswith("age")}
    assert list(bands) == ["age: 0-29", "age: 30-49", "age: 50-69", "age: 70 and over"]
    assert sum(bands.values()) == manifest["age"].notna().sum()
    assert bands["age: 0-29"] == manifest["age"].isin([0, 29.5]).sum()


def test_what_no_image_has_makes_no_group(manifest: pd.DataFrame, scored: Scored):
    manifest["sex"] = pd.NA
    assert not any(
        name.startswith("sex") for name in subgroups(draw(groups_of(manifest), scored, np.ones((3, len(manifest)))))
    )
