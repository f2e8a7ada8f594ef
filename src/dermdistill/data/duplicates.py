"""Exact and near duplicates, within and across sources, in any of the eight orientations.

A perceptual hash (`imagehash.phash`, 64 bits) proposes pairs; a pair is kept if small colour thumbnails in the
orientation that fits correlate nearly perfectly, which weeds out lesions that merely look alike.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from rich.progress import Progress
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dermdistill.data.preprocess import ImageError, load_rgb

DISTANCE = 12
"""Largest Hamming distance, of 64 bits, of a proposed pair."""
CORRELATION = 0.95
"""Smallest correlation of the thumbnails' detail of a kept pair."""
_THUMBNAIL = 32
_BLOCK = 1024
_FLIPS = tuple(Image.Transpose)


@dataclass(frozen=True)
class Duplicates:
    """What was found."""

    groups: pd.Series
    """For each row of the manifest its group's name (its smallest image id), or NA for a single image."""
    pairs: pd.DataFrame
    """Columns a, b (image ids), distance (bits), correlation, exact."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Image id to reason, of images that could not be read."""


def find_duplicates(manifest: pd.DataFrame, distance: int = DISTANCE, correlation: float = CORRELATION) -> Duplicates:
    """Find groups of images that show the same photograph.

    Args:
        manifest: all images, from one source or several.
        distance: largest Hamming distance of 64-bit perceptual hashes, 0 to 20.
        correlation: smallest correlation of thumbnails, 0 to 1.

    Returns:
        The groups, as connected components of the pairs.
    """
    hashes, thumbnails, set_aside = _fingerprints(manifest)
    ids = manifest["image_id"].to_numpy(str)
    digests = manifest["sha256"].to_numpy(str)
    bad = np.isin(ids, list(set_aside))
    rows = []
    for first, second, orientation, bits in _close(hashes, bad, distance):
        exact = digests[first] == digests[second]
        alike = 1.0 if exact else _correlation(thumbnails[first], _turned(thumbnails[second], orientation))
        if alike >= correlation:
            rows.append((ids[first], ids[second], bits, round(alike, 4), exact, first, second))
    pairs = pd.DataFrame(rows, columns=["a", "b", "distance", "correlation", "exact", "_i", "_j"])
    graph = coo_array(
        (np.ones(len(pairs), bool), (pairs["_i"].to_numpy(int), pairs["_j"].to_numpy(int))),
        shape=(len(ids), len(ids)),
    )
    component = connected_components(graph, directed=False)[1]
    named = pd.Series(ids).groupby(component).transform("min")
    counts = pd.Series(component).groupby(component).transform("size")
    groups = named.where(counts > 1).astype("string")
    groups.index = manifest.index
    return Duplicates(groups, pairs.drop(columns=["_i", "_j"]), set_aside)


def _fingerprints(manifest: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Hashes of all orientations uint64 [N, 8], thumbnails uint8 [N, 32, 32, 3], unreadable images."""
    hashes = np.zeros((len(manifest), 8), np.uint64)
    thumbnails = np.zeros((len(manifest), _THUMBNAIL, _THUMBNAIL, 3), np.uint8)
    set_aside: dict[str, str] = {}

    def look(row: int, name: str, path: str) -> None:
        try:
            image = load_rgb(path)
        except ImageError as error:
            set_aside[name] = str(error)
            return
        small = image.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
        thumbnails[row] = np.asarray(small)
        grey = image.convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
        for place, turned in enumerate([grey, *(grey.transpose(flip) for flip in _FLIPS)]):
            bits = np.packbits(imagehash.phash(turned).hash.ravel())
            hashes[row, place] = bits.view(">u8")[0]

    work = list(zip(range(len(manifest)), manifest["image_id"], manifest["path"], strict=True))
    with Progress(transient=True) as bars, ThreadPoolExecutor() as pool:
        bar = bars.add_task("fingerprint", total=len(work))
        for _ in pool.map(lambda item: look(*item), work):
            bars.advance(bar)
    return hashes, thumbnails, set_aside


def _close(hashes: np.ndarray, bad: np.ndarray, distance: int) -> list[tuple[int, int, int, int]]:
    """Pairs (i < j, orientation of j, bits) within the distance, the best orientation of each; block by block."""
    best: dict[tuple[int, int], tuple[int, int]] = {}
    plain = hashes[:, 0]
    for start in range(0, len(plain), _BLOCK):
        for orientation in range(8):
            differing = np.bitwise_count(plain[start : start + _BLOCK, None] ^ hashes[None, start:, orientation])
            for row, column in np.argwhere(differing <= distance):
                i, j = start + int(row), start + int(column)
                if i >= j or bad[i] or bad[j]:
                    continue
                bits = int(differing[row, column])
                if bits < best.get((i, j), (65, 0))[0]:
                    best[i, j] = bits, orientation
    return [(i, j, orientation, bits) for (i, j), (bits, orientation) in sorted(best.items())]


def _turned(thumbnail: np.ndarray, orientation: int) -> np.ndarray:
    if orientation == 0:
        return thumbnail
    return np.asarray(Image.fromarray(thumbnail).transpose(_FLIPS[orientation - 1]))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two thumbnails after their coarse shape (a blob on skin) is taken off."""
    one, other = (_detail(image).ravel() for image in (a, b))
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / scale if scale > 0 else 0.0


def _detail(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float32)
    coarse = (
        Image.fromarray(image).resize((4, 4), Image.Resampling.BOX).resize(image.shape[:2], Image.Resampling.BICUBIC)
    )
    return values - np.asarray(coarse, np.float32)
