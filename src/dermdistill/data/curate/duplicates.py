"""Exact and near duplicates, within and across sources, in any of the eight orientations.

Three sieves, each finer and dearer than the one before:

1. A perceptual hash (`imagehash.phash`, 64 bits) of all eight orientations proposes pairs. Lesions are blobs on
   skin, so that it proposes about one pair in 40; it rules out the rest at a nanosecond each.
2. Patterns of local contrast, 32 pixels wide, must correlate under some small shift.
3. So must patterns 64 pixels wide, which decides.

Local contrast (Jarrett et al. 2009, doi:10.1109/ICCV.2009.5459469) removes what unlike lesions share, the blob and
the vignette, and what copies of one photograph differ in: colours, exposure. The shift forgives other crops.

Measured on HAM10000 (one image a lesion) and ISIC 2017 (training and validation), 8,110 images or 33 million pairs,
with distances up to 20 bits, all pairs of 0.59 and above looked at by eye: the 22 most alike, at 0.697 and above, show
the same lesion; the next four (0.640 to 0.671) do not; one true pair lies lower (0.603). The 22 differ in at most 16 of
64 bits. Hence the defaults, which find the 22 and nothing else.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy import fft
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dermdistill import talk
from dermdistill.data.ids import photographs
from dermdistill.data.manifest import manifest_hash
from dermdistill.errors import IntegrityError
from dermdistill.files import write_json
from dermdistill.images.preprocess import ImageError, load_rgb
from dermdistill.specs import Strict, load_header

DISTANCE = 16
"""Largest Hamming distance, of 64 bits, of a proposed pair."""
CORRELATION = 0.68
"""Smallest correlation of the 64-pixel patterns of a kept pair."""
ORIENTATIONS = ("as it is", *(flip.name.lower().replace("_", " ") for flip in Image.Transpose))
"""What turns the second image of a pair into the first."""
_FLIPS = tuple(Image.Transpose)
_COARSE_CORRELATION = 0.65
_SIEVES = ((32, 5), (64, 7))
"""Side of the patterns and of the neighbourhood whose contrast is levelled, pixels."""
_SHIFT = 0.1
"""Largest shift, as a share of the side."""
_NOISE = 4.0
"""Contrast, of 255 grey levels, below which it is noise and not raised any more."""
_TILE = 2048
_BATCH = 4096


@dataclass(frozen=True)
class Duplicates:
    """What was found."""

    groups: pd.Series
    """For each row of the manifest its group's name (its smallest image id), or NA for a single image."""
    pairs: pd.DataFrame
    """Columns a, b (image ids), distance (bits), correlation, exact, orientation (one of `ORIENTATIONS`)."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Image id to reason, of images that could not be read."""


class DuplicatesHeader(Strict):
    """The record beside a manifest that near duplicates were looked for in it, which tells even if none were found."""

    format: Literal["dermdistill-duplicates/1"] = "dermdistill-duplicates/1"
    manifest_sha256: str
    distance: int
    correlation: float
    pairs: int
    """How many pairs were found."""


def record_search(manifest: pd.DataFrame, path: Path, distance: int, correlation: float, pairs: int) -> None:
    """Write down beside a manifest's file that duplicates were looked for in it, how, and how many pairs were found."""
    header = DuplicatesHeader(
        manifest_sha256=manifest_hash(manifest), distance=distance, correlation=correlation, pairs=pairs
    )
    write_json(_record(path), header.model_dump())


def was_searched(manifest: pd.DataFrame, path: Path) -> bool:
    """Whether duplicates were looked for in a manifest: it has groups, or its record says so."""
    if manifest["duplicate_group"].notna().any():
        return True
    try:
        return _record(path).is_file() and (
            load_header(_record(path), DuplicatesHeader).manifest_sha256 == manifest_hash(manifest)
        )
    except IntegrityError:
        return False


def _record(path: Path) -> Path:
    return path.with_name(f"{path.stem}.duplicates.json")


@dataclass(frozen=True)
class _Fingerprints:
    """Of N images: what the three sieves compare."""

    hashes: np.ndarray
    """uint64 [N, 8]: of each orientation."""
    patterns: tuple[np.ndarray, ...]
    """int8 [N, S, S] for each of `_SIEVES`: local contrast."""
    set_aside: dict[str, str]


def find_duplicates(manifest: pd.DataFrame, distance: int = DISTANCE, correlation: float = CORRELATION) -> Duplicates:
    """Find groups of images that show the same photograph, or the same lesion taken in the same way.

    Takes 6 kB of memory an image, and time with the square of their number: seconds for 10,000, about half an hour
    for 100,000. Renderings of one photograph of the ISIC archive (`dermdistill.data.ids`) belong together by their ids,
    and are not among the pairs unless their bytes are the same.

    Args:
        manifest: all images, from one source or several.
        distance: largest Hamming distance of 64-bit perceptual hashes, 0 to 20.
        correlation: smallest correlation of the patterns, 0 to 1.

    Returns:
        The groups, as connected components of the pairs. Copies with the same bytes are found even if unreadable.
    """
    prints = _fingerprints(manifest)
    ids = manifest["image_id"].to_numpy(str)
    digests = manifest["sha256"].to_numpy(str)
    found = dict.fromkeys(_copies(digests), (0, 1.0, 0))
    readable = np.flatnonzero(~np.isin(ids, list(prints.set_aside)))
    for i, j, orientation, bits, alike in _alike(prints, readable, distance, correlation):
        if (i, j) not in found or alike > found[i, j][1]:
            found[i, j] = bits, alike, orientation
    photograph = photographs(manifest["image_id"]).fillna("").to_numpy(str)
    found = {
        (i, j): how for (i, j), how in found.items()
        if digests[i] == digests[j] or not photograph[i] or photograph[i] != photograph[j]
    }  # fmt: skip
    rows = [
        (ids[i], ids[j], bits, round(alike, 4), bool(digests[i] == digests[j]), ORIENTATIONS[turn])
        for (i, j), (bits, alike, turn) in sorted(found.items())
    ]
    pairs = pd.DataFrame(rows, columns=["a", "b", "distance", "correlation", "exact", "orientation"])
    return Duplicates(_named_groups(manifest, list(found)), pairs.astype({"exact": bool}), prints.set_aside)


def _named_groups(manifest: pd.DataFrame, pairs: list[tuple[int, int]]) -> pd.Series:
    count = len(manifest)
    left, right = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    by_component = manifest["image_id"].astype(str).groupby(component)
    return by_component.transform("min").where(by_component.transform("size") > 1).astype("string")


def _copies(digests: np.ndarray) -> list[tuple[int, int]]:
    """Each image with the same bytes as an earlier one, with the first of them."""
    _, first, codes = np.unique(digests, return_index=True, return_inverse=True)
    return [(int(first[code]), row) for row, code in enumerate(codes) if first[code] != row]


def _fingerprints(manifest: pd.DataFrame) -> _Fingerprints:
    count = len(manifest)
    hashes = np.zeros((count, 8), np.uint64)
    patterns = tuple(np.zeros((count, side, side), np.int8) for side, _ in _SIEVES)
    set_aside: dict[str, str] = {}

    def look(row: int, name: str, path: str) -> None:
        try:
            grey = load_rgb(path).convert("L")
        except ImageError as error:
            set_aside[name] = str(error)
            return
        small = grey.resize((32, 32), Image.Resampling.LANCZOS)
        for place, turned in enumerate([small, *(small.transpose(flip) for flip in _FLIPS)]):
            bits = np.packbits(imagehash.phash(turned).hash.ravel())
            hashes[row, place] = bits.view(">u8")[0]
        for kept, (side, neighbourhood) in zip(patterns, _SIEVES, strict=True):
            kept[row] = _local_contrast(grey.resize((side, side), Image.Resampling.BOX), neighbourhood)

    work = list(zip(range(count), manifest["image_id"], manifest["path"], strict=True))
    with talk.bars() as bars, ThreadPoolExecutor() as pool:
        bar = bars.add_task("fingerprint", total=count)
        for _ in pool.map(lambda item: look(*item), work):
            bars.advance(bar)
    return _Fingerprints(hashes, patterns, dict(sorted(set_aside.items())))


def _local_contrast(grey: Image.Image, neighbourhood: int) -> np.ndarray:
    """Each pixel's difference from its neighbourhood's mean, in standard deviations of it times 40, int8."""
    values = np.asarray(grey, np.float32)
    detail = values - uniform_filter(values, neighbourhood)
    deviation = np.sqrt(uniform_filter(detail**2, neighbourhood))
    return np.round(40 * detail / (deviation + _NOISE)).clip(-127, 127).astype(np.int8)


def _alike(
    prints: _Fingerprints, rows: np.ndarray, distance: int, correlation: float
) -> Iterator[tuple[int, int, int, int, float]]:
    """Yield (i < j, orientation of j, bits, correlation) of the pairs that pass all sieves, tile by tile."""
    starts = range(0, len(rows), _TILE)
    with talk.bars() as bars:
        bar = bars.add_task("compare", total=len(starts) * (len(starts) + 1) // 2)
        for top in starts:
            upper = rows[top : top + _TILE]
            for left in range(top, len(rows), _TILE):
                lower = rows[left : left + _TILE]
                for orientation in range(8):
                    close, bits = _close(prints.hashes, upper, lower, orientation, distance)
                    sieves = zip(prints.patterns, (min(_COARSE_CORRELATION, correlation), correlation), strict=True)
                    alike = np.ones(len(close), np.float32)
                    for patterns, least in sieves:
                        alike = _correlations(patterns, close, orientation)
                        kept = alike >= least
                        close, bits, alike = close[kept], bits[kept], alike[kept]
                    for (i, j), differing, value in zip(close.tolist(), bits.tolist(), alike.tolist(), strict=True):
                        yield i, j, orientation, differing, value
                bars.advance(bar)


def _close(
    hashes: np.ndarray, upper: np.ndarray, lower: np.ndarray, orientation: int, distance: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows [P, 2], the first before the second, whose hashes are near; and how many bits differ [P]."""
    differing = np.bitwise_count(hashes[upper, None, 0] ^ hashes[None, lower, orientation])
    places = np.argwhere(differing <= distance)
    pairs = np.stack([upper[places[:, 0]], lower[places[:, 1]]], axis=1)
    ordered = pairs[:, 0] < pairs[:, 1]
    return pairs[ordered], differing[places[:, 0], places[:, 1]][ordered]


def _correlations(patterns: np.ndarray, pairs: np.ndarray, orientation: int) -> np.ndarray:
    """Each pair's correlation at the best of small shifts, the second turned, float32 [P]."""
    side = patterns.shape[1]
    reach = np.arange(-int(_SHIFT * side), int(_SHIFT * side) + 1)
    best = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        one, other = (np.unique(batch[:, place], return_inverse=True) for place in (0, 1))
        spectra = _spectra(patterns[one[0]])[one[1]]
        spectra *= _spectra(_turned(patterns[other[0]], orientation)).conj()[other[1]]
        shifted = fft.irfft2(spectra, s=(side, side))
        best[start : start + _BATCH] = shifted[:, reach][:, :, reach].max(axis=(1, 2))
    return best


def _spectra(patterns: np.ndarray) -> np.ndarray:
    """Fourier transforms of patterns, faded towards the edges and scaled to unit length, complex64."""
    fade = np.sqrt(np.hanning(patterns.shape[1] + 2)[1:-1]).astype(np.float32)
    values = patterns * np.outer(fade, fade)
    values -= values.mean(axis=(1, 2), keepdims=True)
    length = np.linalg.norm(values, axis=(1, 2), keepdims=True)
    return np.asarray(fft.rfft2(values / np.maximum(length, 1e-6)))


def _turned(patterns: np.ndarray, orientation: int) -> np.ndarray:
    """Patterns [N, S, S] in one of the eight orientations, as `Image.Transpose` numbers them."""
    if orientation == 0:
        return patterns
    match _FLIPS[orientation - 1]:
        case Image.Transpose.FLIP_LEFT_RIGHT:
            return patterns[:, :, ::-1]
        case Image.Transpose.FLIP_TOP_BOTTOM:
            return patterns[:, ::-1]
        case Image.Transpose.ROTATE_90 | Image.Transpose.ROTATE_180 | Image.Transpose.ROTATE_270 as turn:
            quarters = {Image.Transpose.ROTATE_90: 1, Image.Transpose.ROTATE_180: 2, Image.Transpose.ROTATE_270: 3}
            return np.rot90(patterns, quarters[turn], axes=(1, 2))
        case Image.Transpose.TRANSPOSE:
            return patterns.transpose(0, 2, 1)
        case _:
            return np.rot90(patterns, 2, axes=(1, 2)).transpose(0, 2, 1)
