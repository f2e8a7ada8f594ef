"""Whether maps of what an answer rests on can be trusted, and whether student and teacher look at the same.

Sources: Petsiuk, Das, Saenko, "RISE" (BMVC 2018) for deletion and insertion; Adebayo et al., "Sanity checks for
saliency maps" (NeurIPS 2018) for cascading randomisation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from dermdistill import talk
from dermdistill.errors import InputError
from dermdistill.evaluate.comparison import Comparison, draw_halves
from dermdistill.images.occlusion import GRID, cell, effects, log_odds, median_colour
from dermdistill.images.preprocess import ImageError, load_rgb, resize_square
from dermdistill.specs import Strict

TOP = 8
"""Cells of a map, of 64, that count as its strongest."""
STEPS = 16
"""Steps in which the cells of an image are deleted or inserted."""
Melanoma = Callable[[np.ndarray], np.ndarray]
"""Gives the melanoma probabilities [N] of images uint8 [N, size, size, 3]."""


@dataclass(frozen=True)
class Explained:
    """A model whose maps are examined."""

    size: int
    """Side of its input in pixels."""
    melanoma: Melanoma
    scrambled: dict[str, Melanoma] = field(default_factory=dict)
    """The same network with part of its weights scrambled, from the output on, by a name of the part."""


class Spread(Strict):
    """A figure of each image, over the images."""

    mean: float | None
    """None where it is defined for no image."""
    low: float | None
    """The 2.5 % quantile."""
    high: float | None
    n: int


class Agreement(Strict):
    """Maps of a model against those of the first one, on the same images."""

    model: str
    rank: Spread
    """Spearman's correlation of the 64 cells."""
    overlap: Spread
    """Shared share of the 8 strongest cells of both, 0 to 1; 0.07 by chance."""


class Explanations(Strict):
    """The maps of one model."""

    n: int
    deletion: Spread
    """How much faster the log-odds fall where the strongest cells go first than where any go: above 0 is good."""
    insertion: Spread
    """How much faster they rise where the strongest come first."""
    agreement: Agreement | None
    """None for the first model itself."""
    randomised: dict[str, Spread]
    """By part of the weights that is scrambled: Spearman's correlation with the model's own maps; should go to 0."""


def explanations(models: dict[str, Explained], comparison: Comparison, count: int) -> dict[str, Explanations]:
    """Examine the maps of models on some judged images, half of them melanomas where there are enough.

    Args:
        models: by name; the first is what the others are compared with.
        comparison: the judged images, at the manifest's paths, and the seed of the draw.
        count: images at most.

    Raises:
        InputError: none of the images can be opened.
    """
    if not models:
        return {}
    rows = draw_halves(comparison.table, count, comparison.spec.seed)
    paths = comparison.table["path"].iloc[rows]
    images = [image for image in map(_opened, paths) if image is not None]
    if not images:
        raise InputError(f"explanations need the images, and none can be opened; the first is {paths.iloc[0]}")
    maps: dict[str, np.ndarray] = {}
    found = {}
    for name, model in models.items():
        pixels = [resize_square(image, model.size) for image in images]
        maps[name], found[name] = _examine(model, pixels, comparison.spec.seed)
    first = next(iter(models))
    return {
        name: one if name == first else one.model_copy(update={"agreement": agree(first, maps[name], maps[first])})
        for name, one in found.items()
    }


def _opened(path: str) -> Image.Image | None:
    try:
        return load_rgb(path)
    except ImageError:
        return None


def _examine(model: Explained, images: list[np.ndarray], seed: int) -> tuple[np.ndarray, Explanations]:
    """The maps [N, 8, 8] and figures of one model."""
    maps, curves = [], []
    scrambled: dict[str, list[float]] = {name: [] for name in model.scrambled}
    with talk.bars() as bars:
        for number, pixels in enumerate(bars.track(images, len(images), description="maps")):
            own = effects(model.melanoma, pixels)
            maps.append(own)
            curves.append(gains(model.melanoma, pixels, own, np.random.default_rng([seed, number])))
            for name, melanoma in model.scrambled.items():
                scrambled[name].append(correlation(own, effects(melanoma, pixels)))
    deletion, insertion = np.array(curves).T
    figures = Explanations(
        n=len(images), deletion=spread(deletion), insertion=spread(insertion), agreement=None,
        randomised={name: spread(np.array(values)) for name, values in scrambled.items()},
    )  # fmt: skip
    return np.array(maps), figures


def agree(first: str, maps: np.ndarray, others: np.ndarray) -> Agreement:
    """Maps [N, 8, 8] against those of the first model on the same images."""
    pairs = list(zip(maps, others, strict=True))
    return Agreement(
        model=first,
        rank=spread(np.array([correlation(*pair) for pair in pairs])),
        overlap=spread(np.array([overlap(*pair) for pair in pairs])),
    )


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of the cells of two maps; NaN where one of them is flat."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one.ravel(), other.ravel()).statistic)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The intersection over the union of the strongest cells of two maps, 0 to 1."""
    first, second = (set(strongest(part)[:TOP].tolist()) for part in (one, other))
    return len(first & second) / len(first | second)


def strongest(effect: np.ndarray) -> np.ndarray:
    """The cells [64], by rows, from the one whose covering lowers the log-odds most."""
    return np.argsort(-effect.ravel(), kind="stable")


def gains(melanoma: Melanoma, pixels: np.ndarray, effect: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """What the order of a map gains over a random one in deletion and in insertion, each in mean log-odds.

    Args:
        melanoma: the model.
        pixels: the image, uint8 [S, S, 3].
        effect: its map [8, 8].
        rng: of the random order.
    """
    orders = (strongest(effect), rng.permutation(GRID * GRID))
    steps = [images for order in orders for images in (deleted(pixels, order), deleted(pixels, order, inserts=True))]
    values = log_odds(melanoma(np.concatenate(steps)).astype(float)).reshape(4, STEPS + 1).mean(1)
    return float(values[2] - values[0]), float(values[1] - values[3])


def deleted(pixels: np.ndarray, order: np.ndarray, inserts: bool = False) -> np.ndarray:
    """An image with 0, 4, 8 … 64 cells covered in the image's median colour, or all others, uint8 [17, S, S, 3].

    Args:
        pixels: the image, uint8 [S, S, 3].
        order: the cells, by rows, in the order in which they go or come [64].
        inserts: start with everything covered.
    """
    plain = np.broadcast_to(median_colour(pixels), pixels.shape)
    now, other = (plain.copy(), pixels) if inserts else (pixels.copy(), plain)
    found = [now.copy()]
    for part in order.reshape(STEPS, -1):
        for number in part:
            place = cell(len(pixels), *divmod(int(number), GRID))
            now[place] = other[place]
        found.append(now.copy())
    return np.stack(found)


def spread(values: np.ndarray) -> Spread:
    """Mean and quantiles of the finite values."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Spread(mean=None, low=None, high=None, n=0)
    low, high = np.quantile(known, [0.025, 0.975])
    return Spread(mean=float(known.mean()), low=float(low), high=float(high), n=len(known))
