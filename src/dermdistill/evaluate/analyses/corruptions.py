"""How far answers hold on spoiled photographs, and on the same photograph turned and mirrored."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from pydantic import Field

from dermdistill import talk
from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.robustness import Answerer
from dermdistill.evaluate.comparison import Comparison, draw_halves
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.images.corruptions import CORRUPTIONS, SEVERITIES, corrupt, working
from dermdistill.images.preprocess import ImageError, load_rgb, resize_square
from dermdistill.specs import Strict

SYMMETRIES = 8
"""The turns by quarters of a square, each mirrored too; the first is the image as it is."""
_BATCH = 8
"""Images that are held at a time, each in all of its variants at the network's size."""


class Severity(Strict):
    """One corruption at one severity, against the images as they are."""

    auroc: Figure
    difference: Difference
    """Paired, of the AUROC."""
    flips: int
    """Images whose decision at the threshold is another one."""
    flips_of_melanomas: int
    mean_change: float
    """Mean absolute change of the probability, 0 to 1."""


class Symmetric(Strict):
    """How far the eight turned and mirrored copies of an image disagree."""

    disagree: int
    """Images whose eight decisions at the threshold are not all alike."""
    disagree_of_melanomas: int
    mean_range: float
    """Mean over the images of the largest less the smallest probability of the eight."""
    largest_range: float
    auroc: Figure
    """Of the images as they are."""
    averaged: Difference
    """AUROC of the mean of the eight probabilities less that; paired."""


class Corrupted(Strict):
    """One model on spoiled images."""

    n: int
    positives: int
    unreadable: int
    """Judged images that could not be opened and are left out."""
    drawn_of: int | None = None
    """Of how many judged images those that were spoiled were drawn, half of them melanomas; None if all were."""
    threshold: float
    """The probability of the bundle's default threshold."""
    clean: Figure
    """The AUROC on the images as they are."""
    corruptions: dict[str, list[Severity]]
    """By corruption, severities 1 to 5."""
    mean: Figure
    """The AUROC, averaged over all corruptions and severities."""
    symmetries: Symmetric
    against: str | None = None
    """The first of the models, that the others are compared with."""
    lost: dict[str, Difference] = Field(default_factory=dict)
    """By corruption: how much more AUROC, averaged over severities, the model loses than the first; paired."""


def corrupted(answerers: dict[str, Answerer], comparison: Comparison, count: int | None = None) -> dict[str, Corrupted]:
    """Judge models on all corruptions of the judged images; shows progress on a terminal.

    Args:
        answerers: the models by name; the first is what the others are compared with.
        comparison: the judged images, at the manifest's paths, the bootstrap draws and the seed of this draw.
        count: images at most, half of them melanomas where there are enough; by default all.

    Raises:
        InputError: none of the images can be opened.
    """
    if not answerers:
        return {}
    whole = len(comparison.table)
    few = count is not None and count < whole
    rows = np.sort(draw_halves(comparison.table, count, comparison.spec.seed)) if few else np.arange(whole)
    table, weights, found = comparison.table.iloc[rows], comparison.weights[:, rows], dict[str, Corrupted]()
    losses: dict[str, np.ndarray] | None = None
    answered = answers(list(answerers.values()), list(table["path"]), list(table["image_id"]))
    for (name, answerer), p in zip(answerers.items(), answered, strict=True):
        usable = np.isfinite(p[0])
        if not usable.any():
            raise InputError(
                f"corruptions need the images, and none can be opened; the first is {table['path'].iloc[0]}"
            )
        y = table["melanoma"].to_numpy(float)[usable]
        one, lost = judge(p[:, usable], y, answerer.threshold, weights[:, usable])
        compared = {} if losses is None else {key: difference(lost[key], losses[key]) for key in lost}
        first = next(iter(answerers))
        update = {"unreadable": int((~usable).sum()), "against": None if name == first else first, "lost": compared}
        update["drawn_of"] = whole if few else None
        found[name] = one.model_copy(update=update)
        losses = losses or lost
    return found


def answers(answerers: Sequence[Answerer], paths: Sequence[str], ids: Sequence[str]) -> np.ndarray:
    """Melanoma probabilities [M, 8 + 60, N]: the symmetries, the image as it is first, then corruptions by severity.

    NaN for images that cannot be opened. Each image is opened and spoiled once for all M models.
    """
    rows = SYMMETRIES + len(CORRUPTIONS) * len(SEVERITIES)
    sizes = sorted({answerer.size for answerer in answerers})
    p = np.full((len(answerers), rows, len(paths)), np.nan)
    with talk.bars() as bars, ThreadPoolExecutor(2) as pool:
        for start in bars.track(range(0, len(paths), _BATCH), description="corruptions"):
            part = slice(start, start + _BATCH)
            made = list(pool.map(partial(variants, sizes), paths[part], ids[part]))
            for column, images in enumerate(made, start):
                if images is not None:
                    for one, answerer in zip(p, answerers, strict=True):
                        one[:, column] = answerer.melanoma(images[answerer.size])
    return p


def variants(sizes: Sequence[int], path: str, image_id: str) -> dict[int, np.ndarray] | None:
    """An image in all variants, by size uint8 [68, size, size, 3]; None if it cannot be opened."""
    try:
        image = load_rgb(path)
    except ImageError:
        return None
    small = working(image)
    spoiled = [corrupt(small, name, severity, image_id) for name in CORRUPTIONS for severity in SEVERITIES]
    found = {}
    for size in sizes:
        plain = resize_square(image, size)
        turned = [np.rot90(side, turn) for side in (plain, plain[:, ::-1]) for turn in range(4)]
        found[size] = np.stack([*turned, *(resize_square(one, size) for one in spoiled)])
    return found


def judge(
    p: np.ndarray, y: np.ndarray, threshold: float, weights: np.ndarray
) -> tuple[Corrupted, dict[str, np.ndarray]]:
    """The figures of one model.

    Args:
        p: probabilities as `answers` gives them, [68, N], all finite.
        y: melanoma 0/1 [N].
        threshold: at or above it an image counts as positive.
        weights: bootstrap weights [R, N], the first row all ones.

    Returns:
        The figures, and by corruption the replicates [R] of the AUROC that it costs, averaged over severities.
    """
    why = f"needs melanomas and others among the images, got {int(y.sum())} of {len(y)}"
    clean = _drawn(p[0], y, weights)
    spoiled = p[SYMMETRIES:].reshape(len(CORRUPTIONS), len(SEVERITIES), -1)
    found, drawn = dict[str, list[Severity]](), dict[str, np.ndarray]()
    for name, levels in zip(CORRUPTIONS, spoiled, strict=True):
        values = [_drawn(level, y, weights) for level in levels]
        drawn[name] = np.mean(values, axis=0)
        found[name] = [
            _severity(level, p[0], y, threshold, figure(value, why), difference(value, clean))
            for level, value in zip(levels, values, strict=True)
        ]
    report = Corrupted(
        n=len(y), positives=int(y.sum()), unreadable=0, threshold=threshold, clean=figure(clean, why),
        corruptions=found, mean=figure(np.mean(list(drawn.values()), axis=0), why),
        symmetries=symmetric(p[:SYMMETRIES], y, threshold, weights),
    )  # fmt: skip
    return report, {name: clean - values for name, values in drawn.items()}


def symmetric(p: np.ndarray, y: np.ndarray, threshold: float, weights: np.ndarray) -> Symmetric:
    """How far the eight copies of each image disagree; `p` is [8, N], the others as in `judge`."""
    above = p >= threshold
    torn = above.any(0) & ~above.all(0)
    spread = p.max(0) - p.min(0)
    plain = _drawn(p[0], y, weights)
    return Symmetric(
        disagree=int(torn.sum()),
        disagree_of_melanomas=int((torn & (y == 1)).sum()),
        mean_range=float(spread.mean()),
        largest_range=float(spread.max()),
        auroc=figure(plain, f"needs melanomas and others among the images, got {int(y.sum())} of {len(y)}"),
        averaged=difference(_drawn(p.mean(0), y, weights), plain),
    )


def _drawn(p: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return in_blocks(partial(auroc, Scored(p, y, None, None)), weights)


def _severity(
    p: np.ndarray, plain: np.ndarray, y: np.ndarray, threshold: float, value: Figure, gap: Difference
) -> Severity:  # fmt: skip
    flipped = (p >= threshold) != (plain >= threshold)
    return Severity(
        auroc=value,
        difference=gap,
        flips=int(flipped.sum()),
        flips_of_melanomas=int((flipped & (y == 1)).sum()),
        mean_change=float(np.abs(p - plain).mean()),
    )
