"""How much the answers depend on what should not matter: the way of resampling, and JPEG compression.

Every hospital's software scales and compresses photographs in its own way. The same images go through several ways of
resampling to the network's square and through several JPEG qualities, and each way is compared with that of `predict`.
"""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from dermdistill import talk
from dermdistill.errors import InputError
from dermdistill.evaluate.comparison import Comparison
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.images.preprocess import ImageError, load_rgb, resize_square
from dermdistill.specs import Strict

REFERENCE = "bilinear"
"""The way of `predict`."""
_BATCH = 16
"""Images that are held at a time, each once in full and in every variant at the network's size."""


@dataclass(frozen=True)
class Answerer:
    """A model that answers for pixels, such as a loaded bundle."""

    size: int
    """Side of its input in pixels."""
    threshold: float
    """The probability at or above which an image counts as positive."""
    melanoma: Callable[[np.ndarray], np.ndarray]
    """Gives the melanoma probabilities [N] of images uint8 [N, size, size, 3]."""


class Variant(Strict):
    """One way of treating the images, against the reference."""

    auroc: Figure
    difference: Difference | None
    """Paired, of the AUROC; None for the reference itself."""
    flips: int
    """Images whose decision at the threshold is another one."""
    flips_of_melanomas: int
    largest_change: float
    """Of a probability, 0 to 1."""


class Robustness(Strict):
    """One model under all variants."""

    n: int
    positives: int
    unreadable: int
    """Judged images that could not be opened and are left out."""
    threshold: float
    """The probability of the bundle's default threshold."""
    spread: float | None
    """Largest minus smallest AUROC over the variants."""
    variants: dict[str, Variant]


def robustness(answerer: Answerer, comparison: Comparison) -> Robustness:
    """Judge one model on all variants of the judged images; shows progress on a terminal.

    Args:
        answerer: the model.
        comparison: the judged images, at the manifest's paths, and the bootstrap draws.

    Raises:
        InputError: none of the images can be opened.
    """
    table = comparison.table
    p = np.stack(list(answers(answerer, list(table["path"])).values()))
    usable = np.isfinite(p[0])
    if not usable.any():
        raise InputError(f"robustness needs the images, and none can be opened; the first is {table['path'].iloc[0]}")
    y = table["melanoma"].to_numpy(float)[usable]
    probabilities = dict(zip(VARIANTS, p[:, usable], strict=True))
    variants = compare(probabilities, y, answerer.threshold, comparison.weights[:, usable])
    found = [variant.auroc.value for variant in variants.values() if variant.auroc.value is not None]
    return Robustness(
        n=len(y),
        positives=int(y.sum()),
        unreadable=int((~usable).sum()),
        threshold=answerer.threshold,
        spread=max(found) - min(found) if found else None,
        variants=variants,
    )


def answers(answerer: Answerer, paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Melanoma probabilities of images [N], by variant; NaN for those that cannot be opened."""
    p = np.full((len(VARIANTS), len(paths)), np.nan)
    with talk.bars() as bars, ThreadPoolExecutor(4) as pool:
        for start in bars.track(range(0, len(paths), _BATCH), description="resampling and JPEG"):
            p[:, start : start + _BATCH] = _judge(answerer, paths[start : start + _BATCH], pool)
    return dict(zip(VARIANTS, p, strict=True))


def compare(
    probabilities: dict[str, np.ndarray], y: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, Variant]:
    """What changes from the reference to each variant.

    Args:
        probabilities: of melanoma [N], by variant, the reference among them.
        y: melanoma 0/1 [N].
        threshold: at or above it an image counts as positive.
        weights: bootstrap weights [R, N], the first row all ones.
    """
    drawn = {
        name: in_blocks(partial(auroc, Scored(values, y, None, None)), weights)
        for name, values in probabilities.items()
    }
    plain = probabilities[REFERENCE]
    why = f"needs melanomas and others among the images, got {int(y.sum())} of {len(y)}"
    variants = {}
    for name, values in probabilities.items():
        flipped = (values >= threshold) != (plain >= threshold)
        variants[name] = Variant(
            auroc=figure(drawn[name], why),
            difference=None if name == REFERENCE else difference(drawn[name], drawn[REFERENCE]),
            flips=int(flipped.sum()),
            flips_of_melanomas=int((flipped & (y == 1)).sum()),
            largest_change=float(np.abs(values - plain).max()),
        )
    return variants


def _resampled(filter: Image.Resampling, image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.resize((size, size), filter), np.uint8)


def _compressed(quality: int, image: Image.Image, size: int) -> np.ndarray:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return resize_square(load_rgb(stream.getvalue()), size)


VARIANTS: dict[str, Callable[[Image.Image, int], np.ndarray]] = {
    REFERENCE: resize_square,
    "box": partial(_resampled, Image.Resampling.BOX),
    "bicubic": partial(_resampled, Image.Resampling.BICUBIC),
    "Lanczos": partial(_resampled, Image.Resampling.LANCZOS),
    "nearest": partial(_resampled, Image.Resampling.NEAREST),
    "JPEG 95": partial(_compressed, 95),
    "JPEG 75": partial(_compressed, 75),
    "JPEG 50": partial(_compressed, 50),
}
"""Each makes an RGB image into uint8 [size, size, 3]. Qualities are of the image at its full size."""


def _judge(answerer: Answerer, paths: Sequence[str], pool: ThreadPoolExecutor) -> np.ndarray:
    """Melanoma probabilities [V, N] of some images in all variants; NaN for those that cannot be opened."""
    made = list(pool.map(partial(_variants, answerer.size), paths))
    p = np.full((len(VARIANTS), len(paths)), np.nan)
    readable = [index for index, variants in enumerate(made) if variants is not None]
    for row in range(len(VARIANTS) if readable else 0):
        images = np.stack([variants[row] for variants in made if variants is not None])
        p[row, readable] = answerer.melanoma(images)
    return p


def _variants(size: int, path: str) -> list[np.ndarray] | None:
    try:
        image = load_rgb(path)
    except ImageError:
        return None
    return [make(image, size) for make in VARIANTS.values()]
