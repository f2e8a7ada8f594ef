import dataclasses

import numpy as np
import pytest

from dermdistill.errors import InputError
from dermdistill.khan2022.division import divide


def _parts(division):
    return {name: set(getattr(division, name).tolist()) for name in ("train", "validation", "test")}


@pytest.mark.parametrize("random_split", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_no_image_is_on_two_sides(random_split, fixed, make_pool):
    parts = _parts(divide(make_pool(fixed=fixed), random_split=random_split, seed=3))
    assert not parts["train"] & parts["validation"]
    assert not (parts["train"] | parts["validation"]) & parts["test"]


def test_by_lesion_no_lesion_is_on_two_sides(make_pool):
    pool = make_pool(240, lesion=3)
    for seed in range(5):
        division = divide(pool, random_split=False, seed=seed)
        lesions = [set(pool.groups[rows]) for rows in (division.train, division.validation, division.test)]
        assert not lesions[0] & lesions[1]
        assert not lesions[0] & lesions[2]
        assert not lesions[1] & lesions[2]
        assert not division.seen.any()


def test_at_random_lesions_leak_and_are_told(make_pool):
    pool = make_pool(240, lesion=3)
    division = divide(pool, random_split=True, seed=0)
    train = set(pool.groups[division.train])
    assert division.seen.tolist() == [pool.groups[row] in train for row in division.test]
    # two siblings, each among the training images with probability 0.75 * 0.8: seen with 1 - 0.4^2 = 0.84
    assert 0.65 < division.seen.mean() < 0.97
    assert division.describe(pool.labels)["test_seen_in_training"] == division.seen.sum()


@pytest.mark.parametrize("random_split", [False, True])
def test_the_counts_are_those_asked_for(random_split, make_pool):
    pool = make_pool(400, lesion=2)
    counts = divide(pool, random_split=random_split, seed=1).describe(pool.labels)
    assert (counts["test_benign"], counts["test_malignant"]) == (50, 50)
    assert counts["validation_benign"] + counts["validation_malignant"] == 60  # a fifth of 300
    assert counts["train_benign"] + counts["train_malignant"] == 240


def test_what_a_lesion_brings_over_a_class_is_in_no_part(make_pool):
    """Lesions of two diagnoses: test images of the class that is full are left out, not trained on."""
    pool = dataclasses.replace(make_pool(240), groups=np.arange(240) // 4)  # each holds two of both classes
    pool = dataclasses.replace(pool, test_counts=(30, 11))
    division = divide(pool, random_split=False, seed=0)
    counts = division.describe(pool.labels)
    assert (counts["test_benign"], counts["test_malignant"]) == (30, 11)
    used = np.concatenate([division.train, division.validation, division.test])
    assert len(used) < 240
    assert not set(pool.groups[division.train]) & set(pool.groups[division.test])


def test_a_seed_is_one_division_and_another_seed_another(make_pool):
    pool = make_pool()
    one, same, other = (divide(pool, random_split=False, seed=seed) for seed in (0, 0, 1))
    assert _parts(one) == _parts(same)
    assert _parts(one) != _parts(other)


def test_a_division_without_one_class_is_refused(make_pool):
    pool = dataclasses.replace(make_pool(16), test_counts=(0, 4))
    with pytest.raises(InputError, match="of one class only"):
        divide(pool, random_split=False, seed=0)
