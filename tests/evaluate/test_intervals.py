import time
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dermdistill.evaluate.intervals import all_figures, clusters, difference, figure, in_blocks, resamples
from dermdistill.evaluate.metrics import METRICS, Scored, auroc


def table(**columns: list) -> pd.DataFrame:
    count = len(columns["source"])
    empty = {name: [None] * count for name in ("lesion_id", "patient_id", "duplicate_group")}
    ids = {"image_id": [f"i{n}" for n in range(count)], "sha256": [f"h{n}" for n in range(count)]}
    return pd.DataFrame({**ids, **empty, **columns})


def test_clusters_by_lesion_duplicates_and_image():
    found = clusters(
        table(
            source=["a", "a", "b", "b", "a", "a"],
            lesion_id=["1", "1", "1", None, None, None],
            duplicate_group=[None, "g", None, "g", None, None],
            patient_id=["p"] * 6,
        )
    )
    # b's copy of a's lesion belongs to it; lesion 1 of b is another; one patient's lesions stay apart
    assert found[0] == found[1] == found[3]
    assert len({found[0], found[2], found[4], found[5]}) == 4


def test_resamples_draw_whole_clusters():
    cluster = np.array([0, 0, 1, 2, 2, 2])
    weights = resamples(cluster, 600, seed=3)
    assert weights.shape == (601, 6)
    np.testing.assert_array_equal(weights[0], np.ones(6))
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 5])
    np.testing.assert_array_equal(weights[:, [0, 2, 3]].sum(1), 3)  # as many clusters as there are
    np.testing.assert_allclose(weights[1:].mean(0), 1, atol=0.12)
    np.testing.assert_array_equal(weights, resamples(cluster, 600, seed=3))
    assert (weights != resamples(cluster, 600, seed=4)).any()


def clustered(generator: np.random.Generator, lesions: int = 120, share: float = 0.3) -> tuple[Scored, np.ndarray]:
    """Lesions of one to four images whose scores are alike."""
    size = generator.integers(1, 5, lesions)
    of_lesion = (generator.random(lesions) < share).astype(float)
    level = generator.normal(size=lesions) + 1.2 * of_lesion
    cluster = np.repeat(np.arange(lesions), size)
    score = level[cluster] + 0.3 * generator.normal(size=len(cluster))
    return Scored(1 / (1 + np.exp(-score)), of_lesion[cluster], None, None), cluster


def test_the_interval_is_that_of_a_plain_bootstrap():
    scored, cluster = clustered(np.random.default_rng(0))
    found = figure(in_blocks(lambda weights: auroc(scored, weights), resamples(cluster, 2000, 0)), "undefined")

    generator = np.random.default_rng(99)
    rows_of = [np.flatnonzero(cluster == number) for number in range(cluster.max() + 1)]
    plain = []
    for _ in range(1000):
        rows = np.concatenate([rows_of[number] for number in generator.integers(0, len(rows_of), len(rows_of))])
        plain.append(roc_auc_score(scored.y[rows], scored.p[rows]))
    assert found.value == pytest.approx(roc_auc_score(scored.y, scored.p))
    assert [found.low, found.high] == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=0.012)


def test_the_interval_covers_the_truth_where_one_of_single_images_does_not():
    """Of 200 samples, a 95 % interval should cover the true value in about 190."""
    generator = np.random.default_rng(5)
    truth_scored, _ = clustered(generator, lesions=40_000)
    truth = float(auroc(truth_scored, np.ones((1, len(truth_scored.y))))[0])
    covered = {"lesions": 0, "images": 0}
    for seed in range(200):
        scored, cluster = clustered(generator)
        for kind, groups in (("lesions", cluster), ("images", np.arange(len(cluster)))):
            found = figure(auroc(scored, resamples(groups, 300, seed).astype(float)), "undefined")
            covered[kind] += found.low <= truth <= found.high
    assert 182 <= covered["lesions"] <= 199  # 95 % give or take three standard errors
    assert covered["images"] < 176


def test_the_p_value_of_equal_models_is_uniform():
    """Two equally good models: p below 0.1 in about a tenth of the samples."""
    generator = np.random.default_rng(6)
    below = 0
    for seed in range(200):
        one, cluster = clustered(generator)
        noise = 0.5 * generator.normal(size=(2, len(cluster)))
        a, b = (Scored(np.log(one.p / (1 - one.p)) + part, one.y, None, None) for part in noise)
        weights = resamples(cluster, 300, seed).astype(float)
        below += difference(auroc(a, weights), auroc(b, weights)).p < 0.1
    assert 8 <= below <= 33


def test_the_difference_of_a_model_to_itself_is_exactly_zero():
    scored, cluster = clustered(np.random.default_rng(1))
    figures = all_figures(scored, resamples(cluster, 300, 0))
    for name in ("auroc", "average_precision", "brier", "ece"):
        found = difference(figures[name], figures[name].copy())
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1), name


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    scored, cluster = clustered(np.random.default_rng(2))
    worse = Scored(scored.p + 0.05 * np.random.default_rng(3).normal(size=len(cluster)), scored.y, None, None)
    values = [all_figures(part, resamples(cluster, 1000, 0))["auroc"] for part in (scored, worse)]
    elsewhere = all_figures(worse, resamples(cluster, 1000, 1))["auroc"]
    paired, unpaired = difference(values[0], values[1]), difference(values[0], elsewhere)
    assert paired.value == unpaired.value
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_difference_by_hand():
    values = np.concatenate([[0.5], np.arange(-1, 18)])  # 19 replicates, two of them not above zero
    found = difference(values, np.zeros(20))
    assert found.value == 0.5
    assert found.p == pytest.approx(2 * (2 + 1) / (19 + 1))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(np.arange(-1, 18), [2.5, 97.5])))


def test_a_p_value_is_never_zero():
    assert difference(np.full(1000, 0.5), np.zeros(1000)).p == pytest.approx(2 / 1000)


def test_undefined_replicates_are_counted():
    found = figure(np.array([0.7, 0.6, np.nan, 0.8, 0.7]), "undefined")
    assert (found.value, found.undefined, found.reason) == (0.7, 1, None)
    assert 0.6 <= found.low <= found.high <= 0.8


def test_most_replicates_undefined_gives_no_interval():
    values = np.array([0.7, 0.6, np.nan, np.nan])
    expected = {
        "value": 0.7, "low": None, "high": None, "undefined": 2,
        "reason": "no interval: undefined in 2 of 3 replicates",
    }  # fmt: skip
    assert asdict(figure(values, "undefined")) == expected
    assert asdict(difference(values, np.zeros(4))) == {**expected, "p": None}


def test_an_undefined_value_keeps_its_reason():
    assert asdict(figure(np.array([np.nan, 0.5]), "no melanoma")) == {
        "value": None, "low": None, "high": None, "undefined": 0, "reason": "no melanoma",
    }  # fmt: skip
    assert difference(np.array([np.nan, 0.5]), np.array([0.5, 0.5])).reason == "undefined for one of the two"


def test_blocks_do_not_change_a_figure():
    scored, cluster = clustered(np.random.default_rng(4))
    weights = resamples(cluster, 700, 0)
    np.testing.assert_array_equal(all_figures(scored, weights)["auroc"], auroc(scored, weights.astype(float)))


def test_two_thousand_replicates_are_fast():
    generator = np.random.default_rng(0)
    diagnosis = generator.integers(0, 7, 1600)
    scored = Scored(generator.random(1600), (diagnosis == 4).astype(float), generator.integers(0, 7, 1600), diagnosis)
    start = time.process_time()
    figures = all_figures(scored, resamples(generator.permutation(1600) // 2, 2000, 0))
    assert set(figures) == set(METRICS)
    assert time.process_time() - start < 6  # takes about half a second; five models then stay within 30


def test_drawing_at_once_is_faster_than_drawing_in_turn():
    """Replicates of 10,000 images against as many calls of scikit-learn, of which a few are timed."""
    generator = np.random.default_rng(0)
    y = (generator.random(10_000) < 0.2).astype(float)
    scored = Scored(1 / (1 + np.exp(-generator.normal(size=10_000) - y)), y, None, None)
    weights = resamples(generator.permutation(10_000) // 2, 300, 0)
    start = time.process_time()
    values = in_blocks(lambda block: auroc(scored, block), weights)
    at_once = (time.process_time() - start) / len(weights)
    start = time.process_time()
    turns = [roc_auc_score(y, scored.p, sample_weight=row) for row in weights[:20]]
    in_turn = (time.process_time() - start) / 20
    np.testing.assert_allclose(values[:20], turns, rtol=0, atol=1e-9)
    assert at_once < in_turn / 3
