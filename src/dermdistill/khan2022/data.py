"""Where the images come from: the paper's four arrays, or a balanced sample of any manifest; and how they are divided.

Nothing is ever loaded whole: arrays stay memory-mapped, a manifest's images go through the memory-mapped cache.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from dermdistill.data.manifest import manifest_hash, read_manifest
from dermdistill.data.splits import groups
from dermdistill.errors import InputError
from dermdistill.files import sha256_json
from dermdistill.images.cache import ImageCache, open_cache, readable
from dermdistill.images.preprocess import load_rgb, resize_square
from dermdistill.khan2022.published import COUNTS
from dermdistill.khan2022.recipe import PoolSpec

VALIDATION = 0.2
"""Share of the training images that is held for validation, as in the notebooks."""
_PARTS = ("benign_train", "malign_train", "benign_test", "malign_test")


class Pixels(Protocol):
    """Images that can be read a batch at a time."""

    def read(self, rows: np.ndarray) -> Tensor:
        """uint8 [B, 3, S, S] of some rows."""

    def decode(self, rows: np.ndarray, size: int | None = None) -> Tensor:
        """The same, from the files as they came, past any cache; with `size` at another side in pixels."""


@dataclass(frozen=True)
class Pool:
    """All images of a study."""

    ids: tuple[str, ...]
    labels: np.ndarray
    """1 malignant, 0 benign; int64 [N]."""
    groups: np.ndarray
    """Images with the same number must stay together: lesion, patient, duplicates; int64 [N]."""
    pixels: Pixels
    sha256: str
    fixed_test: np.ndarray | None = None
    """bool [N] where the data come divided into training and test, as the four arrays do."""
    test_counts: tuple[int, int] = (0, 0)
    """Benign and malignant test images, where they do not."""
    notes: tuple[str, ...] = ()
    """What a reader must know of these images."""
    synthetic: bool = False

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Division:
    """Rows of a pool, int64 each."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    seen: np.ndarray = field(repr=False)
    """bool, for each test image: another of its group is among the training images."""

    def describe(self, labels: np.ndarray) -> dict[str, int]:
        """Counts for the report."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        counts = {}
        for name, rows in parts.items():
            counts[f"{name}_benign"] = int((labels[rows] == 0).sum())
            counts[f"{name}_malignant"] = int((labels[rows] == 1).sum())
        return counts | {"test_seen_in_training": int(self.seen.sum())}


def open_pool(path: Path, image_size: int, spec: PoolSpec, cache: Path | None = None) -> Pool:
    """The images of a folder with the paper's four arrays, or a balanced sample of a manifest.

    Args:
        path: the folder, or a manifest (.parquet or .csv).
        image_size: side in pixels that images are read at.
        spec: how many are wanted of a manifest; arrays are taken whole.
        cache: folder of decoded images, by default the user's.

    Raises:
        InputError: neither of both, or images of one class only.
    """
    if not path.is_dir():
        return _manifest_pool(path, image_size, spec, cache)
    if any(path.glob("*.npy")):
        return _quadruple_pool(path, image_size)
    if (path / "manifest.parquet").is_file():
        return _manifest_pool(path / "manifest.parquet", image_size, spec, cache)
    raise InputError(
        f"{path} holds neither benign/malign .npy arrays nor manifest.parquet; give a manifest, made with "
        "`dermdistill data import`"
    )


# ---------------------------------------------------------------- the four arrays


@dataclass(frozen=True)
class ArrayPixels:
    """Rows of several memory-mapped arrays N x H x W x 3, one after another."""

    arrays: tuple[np.ndarray, ...]
    size: int

    def read(self, rows: np.ndarray) -> Tensor:
        """uint8 [B, 3, S, S]; only these rows are read from disk."""
        return self.decode(rows)

    def decode(self, rows: np.ndarray, size: int | None = None) -> Tensor:
        """The same at any side: arrays need no decoding."""
        starts = np.cumsum([0, *(len(array) for array in self.arrays)])
        images = []
        for row in np.asarray(rows).tolist():
            which = int(np.searchsorted(starts, row, side="right")) - 1
            images.append(_resized(as_uint8(self.arrays[which][row - starts[which]]), size or self.size))
        return torch.stack(images)


def _resized(image: np.ndarray, size: int) -> Tensor:
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    if pixels.shape[1:] == (size, size):
        return pixels
    scaled = functional.interpolate(pixels[None].float(), (size, size), mode="bilinear", antialias=True)
    return scaled[0].round().clamp(0, 255).to(torch.uint8)


def as_uint8(image: np.ndarray) -> np.ndarray:
    """One image as uint8 [H, W, 3]; floats are taken as 0 to 1, or as 0 to 255 if any is above 1."""
    if image.dtype == np.uint8:
        return np.array(image)
    values = image.astype(np.float32)
    return (values * (255 if values.max() <= 1 else 1)).round().clip(0, 255).astype(np.uint8)


def _quadruple_pool(folder: Path, image_size: int) -> Pool:
    arrays = tuple(_open_array(_find_part(folder, part)) for part in _PARTS)
    counts = [len(array) for array in arrays]
    labels = np.repeat([0, 1, 0, 1], counts)
    fixed_test = np.repeat([False, False, True, True], counts)
    ids = tuple(f"{part}_{row:06d}" for part, count in zip(_PARTS, counts, strict=True) for row in range(count))
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for array in arrays for image in array]
    together = np.unique(np.array(hashes), return_inverse=True)[1].astype(np.int64)
    _require_both(labels)
    notes = [
        "Four arrays without lesion numbers: only byte-identical images can be kept together.",
        f"{counts[0]} benign and {counts[1]} malignant training, {counts[2]} and {counts[3]} test images.",
    ]
    return Pool(
        ids, labels.astype(np.int64), together, ArrayPixels(arrays, image_size), sha256_json(["arrays", *hashes]),
        fixed_test=fixed_test, notes=tuple(notes), synthetic=is_synthetic(folder),
    )  # fmt: skip


def _find_part(folder: Path, part: str) -> Path:
    kind, role = part.split("_")
    found = [path for path in sorted(folder.glob("*.npy")) if kind in path.stem.lower() and role in path.stem.lower()]
    if len(found) != 1:
        raise InputError(
            f"{folder}: expected one array of '{kind}' and '{role}' (such as {part}.npy), "
            f"found {[path.name for path in found] or 'none'}"
        )
    return found[0]


def _open_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a readable array: {error}") from None
    if array.ndim != 4 or array.shape[-1] != 3 or not len(array):
        raise InputError(f"{path}: expected N x H x W x 3 with N > 0, got {array.shape}")
    return array


def is_synthetic(folder: Path) -> bool:
    """Whether a folder's README says that its images are generated."""
    readme = folder / "README.md"
    return readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith("# SYNTHETIC")


# ---------------------------------------------------------------- any manifest


@dataclass(frozen=True)
class CachedPixels:
    """A manifest's images, through the cache of decoded ones."""

    cache: ImageCache
    rows: np.ndarray
    paths: tuple[str, ...]
    size: int

    def read(self, rows: np.ndarray) -> Tensor:
        """uint8 [B, 3, S, S]."""
        return torch.from_numpy(self.cache.images[self.rows[rows]])

    def decode(self, rows: np.ndarray, size: int | None = None) -> Tensor:
        """uint8 [B, 3, S, S], decoded from the image files."""
        side = size or self.size
        images = [resize_square(load_rgb(self.paths[row]), side).transpose(2, 0, 1) for row in rows.tolist()]
        return torch.from_numpy(np.stack(images))


def balanced_counts(benign: int, malignant: int, spec: PoolSpec) -> dict[str, int]:
    """How many images of each class and role can be had, in the proportions of the spec.

    Args:
        benign: images that there are.
        malignant: images that there are.
        spec: what is wanted.

    Raises:
        InputError: too few of one class for two training images and one test image.
    """
    share = min(
        1.0, benign / (spec.train_benign + spec.test_benign), malignant / (spec.train_malignant + spec.test_malignant)
    )
    wanted = {name: int(getattr(spec, name) * share + 1e-9) for name in PoolSpec.model_fields if name != "seed"}
    if min(wanted["train_benign"], wanted["train_malignant"]) < 2 or min(wanted.values()) < 1:
        raise InputError(f"{benign} benign and {malignant} malignant images are too few for {spec.model_dump()}")
    return wanted


def _manifest_pool(path: Path, image_size: int, spec: PoolSpec, cache: Path | None) -> Pool:
    manifest = read_manifest(path)
    is_malignant = manifest["melanoma"].to_numpy() == 1
    _require_both(is_malignant)
    counts = balanced_counts(int((~is_malignant).sum()), int(is_malignant.sum()), spec)
    generator = np.random.default_rng([spec.seed, 0])
    drawn = []
    for mask, kind in ((~is_malignant, "benign"), (is_malignant, "malignant")):
        wanted = counts[f"train_{kind}"] + counts[f"test_{kind}"]
        drawn.append(generator.choice(np.flatnonzero(mask), wanted, replace=False))
    together = groups(manifest)  # of the whole manifest, so that a chain of links through images not drawn counts
    chosen = np.sort(np.concatenate(drawn))
    table = manifest.iloc[chosen].assign(group=together[chosen])
    images = open_cache(table, image_size, cache)
    kept = readable(table, images).reset_index(drop=True)
    pixels = CachedPixels(images, images.rows(kept["sha256"]), tuple(kept["path"]), image_size)
    return Pool(
        tuple(kept["image_id"]), kept["melanoma"].to_numpy(np.int64), kept["group"].to_numpy(np.int64), pixels,
        sha256_json([manifest_hash(kept.drop(columns="group")), kept["group"].tolist()]),
        test_counts=(counts["test_benign"], counts["test_malignant"]),
        notes=tuple(_manifest_notes(manifest, counts, spec, len(table) - len(kept))),
        synthetic=bool((manifest["source"] == "synthetic").any()),
    )  # fmt: skip


def _manifest_notes(manifest: pd.DataFrame, counts: dict[str, int], spec: PoolSpec, unreadable: int) -> list[str]:
    wanted = {name: getattr(spec, name) for name in counts}
    size = f"the paper has {_told(COUNTS)}"
    if counts == COUNTS:
        size = "as many as the paper has"
    elif counts != wanted:
        size = f"the largest balanced set in the proportions asked for; {size}"
    notes = [
        f"A balanced sample of {len(manifest)} images, {int(manifest['melanoma'].sum())} of them melanomas: "
        f"{_told(counts)} ({size}).",
        "'Malignant' are melanomas, 'benign' all others, carcinomas among them; the paper's classes are the archive's.",
    ]
    if manifest["lesion_id"].isna().any():
        notes.append(f"{int(manifest['lesion_id'].isna().sum())} images of the manifest have no lesion number.")
    if unreadable:
        notes.append(f"{unreadable} unreadable images were left out.")
    return notes


def _told(counts: dict[str, int]) -> str:
    return (
        f"{counts['train_benign']} + {counts['train_malignant']} for training, "
        f"{counts['test_benign']} + {counts['test_malignant']} for testing, benign + malignant"
    )


def _require_both(labels: np.ndarray) -> None:
    found = np.unique(labels)
    if len(found) < 2:
        raise InputError("benign and malignant images are needed, there is one class only")
