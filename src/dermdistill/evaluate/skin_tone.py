"""The tone of the skin around a lesion, estimated from a photograph: a proxy for who was photographed, no measurement.

The individual typology angle (ITA) is atan((L* - 50) / b*) in degrees: the larger, the paler. The bands are those of
Del Bino and Bernerd, "Variations in skin colour and the biological consequences of ultraviolet radiation exposure",
Br J Dermatol 169 Suppl 3 (2013) 33-40. They were made for colorimeters. A photograph has the light, the white balance
and the redness of its scene in it, and dermoscopy its polariser: single images are off by many degrees. Kinyanjui et
al., "Fairness of classifiers across skin tones in dermatology" (MICCAI 2020), use it so on public dermoscopic images.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
from PIL import Image

from dermdistill import talk
from dermdistill.errors import InputError
from dermdistill.images.preprocess import ImageError, load_rgb

TONE = "skin tone (estimated)"
"""The column, and what divides the images."""
BANDS = ("very light", "light", "intermediate", "tan", "brown", "dark")
_LOWEST = (55.0, 41.0, 28.0, 10.0, -30.0, -np.inf)
PROXY = (
    "Estimated from the skin around the lesion (individual typology angle). It is a proxy: light, white balance and "
    "redness shift it, so that many images fall into a neighbouring band. It is nobody's skin type."
)
_SIDE = 128
_DARKEST, _BRIGHTEST = 15.0, 97.0
"""L* of the frame's black, and of reflections."""
_FEWEST = 50
"""Pixels that an estimate needs."""


def typology_angle(lab: np.ndarray) -> float:
    """The individual typology angle of a colour in degrees, -90 to 90 where b* is positive.

    Args:
        lab: CIE L*, a*, b* [3], white point D65.
    """
    return float(np.degrees(np.arctan2(lab[0] - 50, lab[2])))


def band(angle: float) -> str:
    """The band of an angle in degrees; a bound belongs to the darker band."""
    return next((name for name, lowest in zip(BANDS, _LOWEST, strict=True) if angle > lowest), BANDS[-1])


def estimate(image: Image.Image) -> float | None:
    """The angle of the skin around a lesion, in degrees; None where too little skin is to be seen.

    Skin is the lighter part (Otsu's threshold of L*) of what is neither black nor white, as far as it lies outside the
    middle of the image, where the lesion is; if little of it does, all of the lighter part. Its median colour counts.

    Args:
        image: RGB.
    """
    small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    lab = lab_of(np.asarray(small, np.float64) / 255)
    light = lab[..., 0]
    seen = (light > _DARKEST) & (light < _BRIGHTEST)
    if seen.sum() < _FEWEST:
        return None
    skin = seen & (light >= _otsu(light[seen]))
    rows, columns = (np.linspace(-1, 1, count) for count in light.shape)
    outside = skin & (np.hypot(rows[:, None], columns) > 0.7)
    used = outside if outside.sum() >= _FEWEST else skin
    return typology_angle(np.median(lab[used], axis=0)) if used.sum() >= _FEWEST else None


def lab_of(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b*, white point D65, of sRGB values 0 to 1, [..., 3].

    Source: IEC 61966-2-1 and CIE 15.
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([
        [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041],
    ])  # fmt: skip
    ratio = linear @ matrix.T / matrix.sum(axis=1)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * root[..., 1] - 16, 500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])], axis=-1
    )


def _otsu(values: np.ndarray) -> float:
    """The threshold that divides values into two groups with the largest variance between them."""
    counts, edges = np.histogram(values, bins=64)
    middle = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    mean_below = np.cumsum(counts * middle)[:-1] / np.maximum(below, 1)
    mean_above = ((counts * middle).sum() - np.cumsum(counts * middle)[:-1]) / np.maximum(total - below, 1)
    return float(edges[1:-1][np.argmax(below * (total - below) * (mean_below - mean_above) ** 2)])


def with_tones(manifest: pd.DataFrame, ids: Collection[str]) -> pd.DataFrame:
    """The manifest with a column of bands, for the images that are named; images without an estimate have none.

    Raises:
        InputError: not one of them can be opened.
    """
    wanted = manifest["image_id"].isin(list(ids))
    bands: dict[object, str] = {}
    with talk.bars() as bars:
        for row, path in bars.track(list(manifest.loc[wanted, "path"].items()), description="skin tone"):
            try:
                angle = estimate(load_rgb(path))
            except ImageError:
                continue
            if angle is not None:
                bands[row] = band(angle)
    if wanted.any() and not bands:
        first = manifest.loc[wanted, "path"].iloc[0]
        raise InputError(f"the skin tone needs the images, and none of {int(wanted.sum())} can be opened, e.g. {first}")
    return manifest.assign(**{TONE: pd.Series(bands, dtype="string").reindex(manifest.index)})
