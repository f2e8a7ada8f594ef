import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from dermdistill.evaluate.inference import auroc_covariance, contrast, holm, mcnemar
from dermdistill.evaluate.intervals import resamples
from dermdistill.evaluate.metrics import Scored, auroc


def two_models(seed: int, n: int = 120, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.resize([1, 0, 0], n))
    common = generator.normal(size=n) + y
    scores = np.stack([common + generator.normal(size=n), common + 0.5 * generator.normal(size=n) - 0.2 * y])
    return y, np.round(scores, 1) if ties else scores


def delong_from_its_definition(y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equations 3 to 6 of the paper with every pair written out."""
    up, down = [], []
    for one in scores:
        pairs = one[y == 1][:, None] - one[y == 0][None, :]
        psi = (pairs > 0) + 0.5 * (pairs == 0)
        up.append(psi.mean(1))
        down.append(psi.mean(0))
    covariance = np.cov(up) / (y == 1).sum() + np.cov(down) / (y == 0).sum()
    return np.array([one.mean() for one in up]), covariance


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(12, 150), ties=st.booleans())
def test_single_images_give_delongs_covariance(seed: int, n: int, ties: bool):
    y, scores = two_models(seed, n, ties)
    found = auroc_covariance(y, scores, np.arange(n))
    values, covariance = delong_from_its_definition(y, scores)
    np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=0, atol=1e-12)


def test_the_contrast_is_a_z_test():
    y, scores = two_models(0)
    values, covariance = delong_from_its_definition(y, scores)
    gap = values[1] - values[0]
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = contrast(auroc_covariance(y, scores, np.arange(len(y))), 1, 0)
    assert found.value == pytest.approx(gap)
    assert found.p == pytest.approx(2 * norm.sf(abs(gap) / error))
    assert (found.low, found.high) == pytest.approx((gap - norm.ppf(0.975) * error, gap + norm.ppf(0.975) * error))
    assert found.p_above(-0.05) == pytest.approx(norm.sf((gap + 0.05) / error))


def test_lesions_of_several_images_have_the_bootstraps_standard_error():
    generator = np.random.default_rng(3)
    of_lesion = (generator.random(400) < 0.3).astype(int)
    cluster = np.repeat(np.arange(400), generator.integers(1, 6, 400))
    y = of_lesion[cluster]
    level = generator.normal(size=(2, 400)) + of_lesion
    scores = level[:, cluster] + 0.3 * generator.normal(size=(2, len(y)))
    weights = resamples(cluster, 1500, 0).astype(float)
    drawn = [auroc(Scored(one, y.astype(float), None, None), weights)[1:] for one in scores]
    clustered = contrast(auroc_covariance(y, scores, cluster), 1, 0).error
    single = contrast(auroc_covariance(y, scores, np.arange(len(y))), 1, 0).error
    assert clustered == pytest.approx(np.std(drawn[1] - drawn[0]), rel=0.08)
    assert single < 0.75 * clustered


def test_a_model_does_not_differ_from_itself():
    y, scores = two_models(1)
    found = contrast(auroc_covariance(y, scores[[0, 0]], np.arange(len(y))), 1, 0)
    assert (found.value, found.error, found.p) == (0, 0, 1)
    assert found.p_above(-0.01) == 0


def test_one_lesion_with_melanomas_has_no_covariance():
    y = np.array([1, 1, 0, 0, 0])
    areas = auroc_covariance(y, np.array([[5.0, 4, 3, 2, 1]] * 2), np.array([0, 0, 1, 2, 3]))
    assert areas.values.tolist() == [1, 1]
    assert contrast(areas, 1, 0) is None


def test_non_inferiority_keeps_its_level():
    """Where the truth is exactly the margin, an interval above it is found in about 2.5 % of the samples."""
    generator = np.random.default_rng(11)
    n, shown = 400, 0
    y = np.resize([1, 0], n)
    truth = float(norm.cdf(1.2 / np.sqrt(2)) - norm.cdf(0.9 / np.sqrt(2)))
    for _ in range(600):
        scores = generator.normal(size=(2, n)) + np.array([[1.2], [0.9]]) * y
        shown += contrast(auroc_covariance(y, scores, np.arange(n)), 1, 0).low > -truth
    assert 4 <= shown <= 27  # 15, give or take three standard errors


@given(first=st.integers(0, 60), second=st.integers(0, 60))
def test_mcnemar_agrees_with_a_binomial_test(first: int, second: int):
    exact, mid = mcnemar(first, second)
    if first + second == 0:
        assert (exact, mid) == (1, 1)
        return
    assert exact == pytest.approx(binomtest(first, first + second).pvalue, abs=1e-12)
    # by its definition: half the probability of what was seen is taken from each tail
    one_tail = sum(binom(first + second, k) for k in range(min(first, second)))
    wanted = 2 * (one_tail + 0.5 * binom(first + second, min(first, second)))
    assert mid == pytest.approx(wanted if first != second else 1 - binom(first + second, first), abs=1e-12)
    assert mid <= exact


def binom(n: int, k: int) -> float:
    from math import comb

    return comb(n, k) / 2**n


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1, 1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_its_steps_reject(p: list[float]):
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, index in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
            if p[index] * (len(p) - step) > level:
                break
            rejected.add(index)
        assert {index for index, value in enumerate(adjusted) if value <= level} == rejected
    assert all(ours >= theirs for ours, theirs in zip(adjusted, p, strict=True))
