"""How a pool is divided into training, validation and test images: at random, or by lesion."""

import numpy as np

from dermdistill.errors import InputError
from dermdistill.khan2022.data import VALIDATION, Division, Pool


def divide(pool: Pool, *, random_split: bool, seed: int) -> Division:
    """Divide a pool.

    At random, as published: images of each class are dealt out whatever they show, and a fifth of the training images
    is held for validation. By lesion: whole groups go to one side, and those test images that bring a class over its
    number are left out. Arrays that come divided keep their test images; by lesion, training images whose bytes are
    among them are left out.

    Args:
        pool: the images.
        random_split: the published fault.
        seed: decides which images fall where.

    Raises:
        InputError: a part would be without one of the classes.
    """
    generator = np.random.default_rng([seed, 1])
    everything = np.arange(len(pool))
    if pool.fixed_test is not None:
        test, rest = everything[pool.fixed_test], everything[~pool.fixed_test]
        if not random_split:
            rest = rest[~np.isin(pool.groups[rest], pool.groups[test])]
    elif random_split:
        test, rest = _deal(everything, pool.labels, pool.test_counts, generator)
    else:
        test, rest = _deal_groups(everything, pool, pool.test_counts, generator)
    held = np.bincount(pool.labels[rest], minlength=2) * VALIDATION
    wanted = (round(held[0]), round(held[1]))
    if random_split:
        order = generator.permutation(rest)
        count = round(len(rest) * VALIDATION)
        validation, train = order[:count], order[count:]
    else:
        validation, train = _deal_groups(rest, pool, wanted, generator)
    for name, rows in (("training", train), ("validation", validation), ("test", test)):
        if len(np.unique(pool.labels[rows])) < 2:
            raise InputError(f"the {name} images would be of one class only; more images or more lesions are needed")
    seen = np.isin(pool.groups[test], pool.groups[train])
    return Division(np.sort(train), np.sort(validation), np.sort(test), seen[np.argsort(test, kind="stable")])


def _deal(
    rows: np.ndarray, labels: np.ndarray, wanted: tuple[int, int], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """So many rows of each class at random, and the others."""
    taken = []
    for label, count in enumerate(wanted):
        of_class = rows[labels[rows] == label]
        taken.append(generator.permutation(of_class)[:count])
    chosen = np.concatenate(taken)
    return chosen, np.setdiff1d(rows, chosen)


def _deal_groups(
    rows: np.ndarray, pool: Pool, wanted: tuple[int, int], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Whole groups until each class has its number; what a group brings over it is in neither part."""
    group, label = pool.groups[rows], pool.labels[rows]
    numbers, member = np.unique(group, return_inverse=True)
    brings = np.zeros((len(numbers), 2), np.int64)
    np.add.at(brings, (member, label), 1)
    need = np.array(wanted)
    taken = np.zeros(len(numbers), bool)
    for number in generator.permutation(len(numbers)):
        if (need <= 0).all():
            break
        if ((brings[number] > 0) & (need > 0)).any():
            taken[number] = True
            need = need - brings[number]
    candidates = rows[taken[member]]
    chosen, _ = _deal(candidates, pool.labels, wanted, generator)
    return chosen, rows[~taken[member]]
