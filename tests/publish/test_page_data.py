import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dermdistill.errors import InputError, IntegrityError
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.publish.page_data import (
    FEWEST,
    SIDE,
    Judged,
    bins,
    curve,
    make_page_data,
    measure,
    quality_limits,
    read_runs,
)

SHIPPED = Path(__file__).resolve().parents[2] / "results" / "release"


@pytest.fixture(scope="module")
def judged() -> Judged:
    random = np.random.default_rng(0)
    p = random.beta(0.4, 2.5, 4000)
    return Judged(p, random.random(4000) < p)


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(default_bundle())


def other_weights(bundle):
    facts = bundle.spec.model.model_copy(update={"weights_sha256": "1" * 64})
    return bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"model": facts})})


def test_the_curve_counts_what_lies_above_each_threshold(judged):
    rows = list(curve(judged, [0.123456789]))
    thresholds = [value for value, _, _ in rows]
    assert thresholds == sorted(set(thresholds))
    assert 0.123456789 in thresholds
    for value, found, alarms in rows[::7]:
        assert found == sum(p >= value for p, y in zip(judged.p, judged.y, strict=True) if y)
        assert alarms == sum(p >= value for p, y in zip(judged.p, judged.y, strict=True) if not y)
    assert rows[0][1] / judged.y.sum() > 0.98, "it begins where nearly all melanomas are found"


def test_bins_hold_every_image_once_and_none_holds_few(judged):
    parts = list(bins(judged))
    assert (parts[0].low, parts[-1].high) == (0, 1)
    assert all(left.high == right.low for left, right in itertools.pairwise(parts))
    assert sum(part.n for part in parts) == len(judged.p)
    assert sum(part.positives for part in parts) == judged.y.sum()
    assert min(part.n for part in parts) >= FEWEST
    for part in parts:
        inside = (judged.p >= part.low) & (judged.p < part.high)
        assert part.positives == judged.y[inside].sum()


def test_measures_worked_by_hand():
    flat = np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert measure(flat) == (pytest.approx(90), 0, 0)
    assert measure(np.full((SIDE, SIDE, 3), 255, np.uint8))[1] == 1
    checks = (np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 200).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    brightness, _, sharpness = measure(checks)
    assert brightness == pytest.approx(100, abs=0.1)
    assert sharpness == pytest.approx(800 / 100, rel=1e-3), "each pixel differs from its four neighbours by 200"


def test_dark_corners_of_a_dermatoscope_do_not_count():
    corner = np.full((SIDE, SIDE, 3), 120, np.uint8)
    corner[:20, :20] = 0
    assert measure(corner) == (pytest.approx(120), 0, 0)


def test_limits_are_those_of_the_images(small):
    manifest = small[0]
    limits = quality_limits(manifest)
    assert limits.images == len(manifest)
    assert 0 < limits.dark_below < limits.bright_above < 255
    assert limits.blurred_below > 0
    assert limits.glare_above >= 0.01


def test_runs_of_other_weights_are_refused(bundle):
    assert len(read_runs(bundle, SHIPPED).table) == 4490
    with pytest.raises(IntegrityError, match="the bundle 111111111111"):
        read_runs(other_weights(bundle), SHIPPED)
    with pytest.raises(InputError, match="has no PART/students"):
        read_runs(bundle, SHIPPED.parent)


def test_labels_that_contradict_the_bundle_are_refused(bundle):
    ids = read_runs(bundle, SHIPPED).table["image_id"]
    manifest = pd.DataFrame({"image_id": ids, "melanoma": np.arange(len(ids)) % 9 == 0})
    with pytest.raises(IntegrityError, match="the runs have a sensitivity of"):
        make_page_data(bundle, SHIPPED, manifest)
