"""Decoded images in a memory-mapped cache, so that no training step waits for a JPEG."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dermdistill import talk
from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import read_json, sha256_file, sha256_json, write_json
from dermdistill.images.preprocess import (
    PREPROCESS_VERSION,
    SOURCE_VERSION,
    ImageError,
    open_rgb,
    resize_source,
    resize_square,
)

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_BLOCK = 512
COPIES = "copies.json"
"""In a folder of images that were coded anew to be carried elsewhere: the SHA-256 of each file, by its name."""


@dataclass(frozen=True)
class ImageCache:
    """Images as uint8 [N, 3, size, size], one row for each of `sha256s`, memory-mapped.

    `set_aside` maps the SHA-256 of each unreadable image to the reason; its row is black and is
    never handed out by `rows`.
    """

    images: np.ndarray
    sha256s: tuple[str, ...]
    set_aside: dict[str, str]

    def rows(self, sha256s: pd.Series | list[str]) -> np.ndarray:
        """The rows of the given images, int64 [N].

        Raises:
            InputError: an image is not in the cache or was set aside.
        """
        index = {sha256: row for row, sha256 in enumerate(self.sha256s) if sha256 not in self.set_aside}
        missing = [sha256 for sha256 in sha256s if sha256 not in index]
        if missing:
            raise InputError(f"{len(missing)} images are not in the cache, the first is {missing[0]}")
        return np.array([index[sha256] for sha256 in sha256s], np.int64)


def cache_root() -> Path:
    """Where caches live: `DERMDISTILL_CACHE`, else `~/.cache/dermdistill`."""
    return Path(os.environ.get("DERMDISTILL_CACHE") or Path.home() / ".cache" / "dermdistill")


Kind = Literal["plain", "source"]
"""What a cache holds: images as `predict` sees them, or the sources that views are rendered from."""


def open_cache(manifest: pd.DataFrame, size: int, root: Path | None = None, kind: Kind = "plain") -> ImageCache:
    """Open the cache of a manifest's images at one size, decoding them first where need be.

    The cache is keyed by the images' SHA-256 digests, the size and the version of the resizing. An
    interrupted decoding goes on where it was; several processes may decode at once. Images that are unreadable or
    damaged, or whose file is not the one that the manifest names, are named in the log and set aside, and
    tried again each time, since a file may only be missing for a while.

    Args:
        manifest: the images; duplicates by SHA-256 are stored once.
        size: side in pixels.
        root: the folder of all caches, by default `cache_root()`.
        kind: how the images are resized.

    Raises:
        InputError: the disk is too small.
        IntegrityError: the cache is damaged.
    """
    unique = manifest.drop_duplicates("sha256").sort_values("sha256")
    sha256s = tuple(unique["sha256"])
    version = PREPROCESS_VERSION if kind == "plain" else SOURCE_VERSION
    key = sha256_json([version, size, sha256s])[:20]
    folder = (root or cache_root()) / "images" / f"{size}px-{key}"
    pixels, index = folder / "images.npy", folder / "index.json"
    known = read_json(index)["set_aside"] if index.exists() and pixels.exists() else None
    if known is None:
        _require_space(folder, len(sha256s) * 3 * size * size)
        set_aside = _decode(list(unique["path"]), sha256s, (size, kind), folder)
    else:
        set_aside = _retry(list(unique["path"]), sha256s, (size, kind), pixels, known)
    if set_aside != known:
        write_json(index, {"size": size, "preprocess": version, "set_aside": set_aside})
    if set_aside:
        names = dict(zip(unique["sha256"], unique["image_id"], strict=True))
        listed = "; ".join(f"{names[sha]}: {reason}" for sha, reason in list(set_aside.items())[:10])
        log.warning("%d unreadable images set aside: %s", len(set_aside), listed)
    return ImageCache(_map(pixels, "r"), sha256s, set_aside)


def _require_space(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise InputError(
            f"the image cache needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; "
            "point DERMDISTILL_CACHE to a larger disk"
        )


def _decode(paths: list[str], sha256s: tuple[str, ...], form: tuple[int, Kind], folder: Path) -> dict[str, str]:
    pixels, state = folder / "images.npy", folder / "progress.json"
    if not pixels.exists():
        state.unlink(missing_ok=True)
        _make(pixels, (len(paths), 3, form[0], form[0]))
    before: dict[str, Any] = read_json(state) if state.exists() else {"done": 0, "set_aside": {}}
    done, set_aside = before["done"], dict(before["set_aside"])
    images = _map(pixels, "r+")
    with talk.bars() as bars, ThreadPoolExecutor(os.cpu_count()) as pool:
        bar = bars.add_task(f"decode to {form[0]} px", total=len(paths), completed=done)
        for start in range(done, len(paths), _BLOCK):
            block = range(start, min(start + _BLOCK, len(paths)))
            problems = pool.map(lambda row: _decode_into(images, row, (paths[row], sha256s[row]), form), block)
            for row, problem in zip(block, problems, strict=True):
                if problem:
                    set_aside[sha256s[row]] = problem
                bars.advance(bar)
            images.flush()
            write_json(state, {"done": block.stop, "set_aside": set_aside})
    return set_aside


def _retry(
    paths: list[str], sha256s: tuple[str, ...], form: tuple[int, Kind], pixels: Path, set_aside: dict[str, str]
) -> dict[str, str]:
    """Try once more to decode what was set aside; what still is."""
    if not set_aside or not os.access(pixels, os.W_OK):
        return set_aside
    images = _map(pixels, "r+")
    rows = {sha: row for row, sha in enumerate(sha256s) if sha in set_aside}
    tried = {sha: _decode_into(images, row, (paths[row], sha), form) for sha, row in rows.items()}
    images.flush()
    return {sha: problem for sha, problem in tried.items() if problem}


def _decode_into(images: np.ndarray, row: int, file: tuple[str, str], form: tuple[int, Kind]) -> str | None:
    """Decode one image, given by path and SHA-256, into its row; if it cannot be used, why."""
    path, sha256 = Path(file[0]), file[1]
    size, kind = form
    resize = resize_square if kind == "plain" else resize_source
    try:
        if path.is_file() and sha256_file(path) != _copies(path.parent).get(path.name, sha256):
            return f"{path}: changed since the manifest was made"
        with open_rgb(path) as image:
            images[row] = resize(image, size).transpose(2, 0, 1)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be read ({error})"
    return None


def _copies(folder: Path) -> dict[str, str]:
    """The SHA-256 of the files in a folder that are copies of the images that a manifest names, by file name."""
    path = folder / COPIES
    return _read_copies(path, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.cache
def _read_copies(path: Path, changed: int) -> dict[str, str]:
    found: dict[str, str] = read_json(path)
    return found


def _make(pixels: Path, shape: tuple[int, ...]) -> None:
    """Make the file of the pixels, all black, and never replace one that another process may be filling."""
    with tempfile.TemporaryDirectory(dir=pixels.parent) as folder:
        black = Path(folder) / pixels.name
        np.lib.format.open_memmap(black, mode="w+", dtype=np.uint8, shape=shape)
        try:
            os.link(black, pixels)
        except OSError:  # it is there already, or this disk has no hard links
            if not pixels.exists():
                black.rename(pixels)


def _map(pixels: Path, mode: Literal["r", "r+"]) -> np.memmap:
    try:
        return np.lib.format.open_memmap(pixels, mode)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"{pixels} is damaged ({error}); remove {pixels.parent}, it will be made again") from error


def readable(manifest: pd.DataFrame, *caches: ImageCache) -> pd.DataFrame:
    """The manifest without the images that any of the caches set aside."""
    bad = {sha256 for cache in caches for sha256 in cache.set_aside}
    return manifest[~manifest["sha256"].isin(bad)]


def labels(manifest: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """Each image's class as an index into `classes`, int64 [N].

    Args:
        manifest: the images.
        classes: the seven diagnoses (`CLASSES`), or `BINARY_CLASSES`.

    Raises:
        InputError: other classes, or images whose diagnosis is not known although all seven are asked for.
    """
    if classes == BINARY_CLASSES:
        return manifest["melanoma"].to_numpy(np.int64)
    if classes != CLASSES:
        raise InputError(f"classes must be {CLASSES} or {BINARY_CLASSES}, got {classes}")
    unknown = manifest["diagnosis"].isna()
    if unknown.any():
        raise InputError(
            f"{int(unknown.sum())} images have no seven-class diagnosis, the first is "
            f"{manifest.loc[unknown, 'image_id'].iloc[0]}; train with classes = 'binary' or leave them out"
        )
    return manifest["diagnosis"].map({name: index for index, name in enumerate(classes)}).to_numpy(np.int64)
