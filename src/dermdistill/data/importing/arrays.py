"""Readers of data sets that come as arrays; their images are written once as PNG, since a manifest names files."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dermdistill import talk
from dermdistill.classes import CLASSES
from dermdistill.errors import InputError
from dermdistill.files import atomic_path, write_bytes
from dermdistill.images.walk import is_litter


def read_quadruple(folder: Path, extracted: Path) -> pd.DataFrame:
    """The four arrays of Khan et al. 2022: benign/malign(ant) x train/test, N x H x W x 3, memory-mapped.

    Values are uint8, or floats in 0 to 1 or 0 to 255. The image id carries the partition and the row.
    """
    rows: list[tuple[str, int, str]] = []
    for path in sorted(folder.glob("*.npy")):
        if is_litter(path.name):
            continue
        name = path.stem.lower()
        kind = "malign" if "malign" in name else "benign" if "benign" in name else None
        part = "train" if "train" in name else "test" if "test" in name else None
        if kind is None or part is None:
            raise InputError(f"{path}: expected a name with benign or malign and with train or test")
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError) as error:
            raise InputError(f"{path} is not a readable array: {error}") from None
        if images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(f"{path}: expected N x H x W x 3, got {images.shape}")
        for name, file in _write(images, f"{part}_{kind}", extracted):
            rows.append((name, int(kind == "malign"), file))
    return pd.DataFrame(rows, columns=["image_id", "melanoma", "file"])


def read_medmnist(folder: Path, extracted: Path) -> pd.DataFrame:
    """DermaMNIST .npz: train/val/test images and labels 0 to 6 in the order of `dermdistill.classes.CLASSES`.

    Source: Yang et al., "MedMNIST v2", Sci Data 10 (2023) 41. The image id carries the partition.
    """
    found = sorted(path for path in folder.glob("*dermamnist*.npz") if not is_litter(path.name))
    if len(found) != 1:
        raise InputError(f"{folder}: expected one dermamnist .npz, got {[path.name for path in found]}")
    rows: list[tuple[str, str, str]] = []
    try:
        with np.load(found[0], allow_pickle=False) as arrays:
            for part in ("train", "val", "test"):
                images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"].ravel()
                _require_labels(labels, len(images), part, found[0])
                written = _write(images, part, extracted)
                rows += [
                    (name, CLASSES[label], file) for (name, file), label in zip(written, labels.tolist(), strict=True)
                ]
    except InputError:
        raise
    except (KeyError, ValueError, IndexError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{found[0]} is not a DermaMNIST archive: {error}") from None
    return pd.DataFrame(rows, columns=["image_id", "word", "file"])


def _require_labels(labels: np.ndarray, images: int, part: str, path: Path) -> None:
    expected = f"whole numbers from 0 to {len(CLASSES) - 1}, one for each image"
    if labels.dtype.kind not in "iu":
        raise InputError(f"{path}: {part}_labels must be {expected}, got {labels.dtype} such as {labels[:3].tolist()}")
    wrong = np.unique(labels[(labels < 0) | (labels >= len(CLASSES))])
    if len(wrong):
        raise InputError(f"{path}: {part}_labels must be {expected}, got {wrong[:5].tolist()}")
    if len(labels) != images:
        raise InputError(f"{path}: {part}_labels must be {expected}, got {len(labels)} labels for {images} images")


def extract_hdf5(paths: list[Path], names: Iterable[str], extracted: Path) -> list[Path]:
    """Write the images out of HDF5 files whose keys are image ids and whose values are encoded images, as ISIC 2024's.

    Args:
        paths: the HDF5 files.
        names: the image ids that are wanted.
        extracted: the folder they are written to, as ID.jpg; an image that is there already is not written again.

    Returns:
        The files.

    Raises:
        InputError: not readable as HDF5.
    """
    if not paths:
        return []
    import h5py

    wanted = list(names)
    written: list[Path] = []
    for path in paths:
        try:
            with h5py.File(path, "r") as store, talk.bars() as bars:
                for name in bars.track([name for name in wanted if name in store], description=f"read {path.name}"):
                    content = _encoded(store[name], path)
                    written.append(_write_once(extracted / f"{name}{_suffix(content)}", content))
        except (OSError, KeyError, RuntimeError) as error:
            raise InputError(f"{path} is not readable as HDF5, or {extracted} cannot be written: {error}") from None
    return written


def _encoded(value: Any, path: Path) -> bytes:
    """The bytes of an encoded image, stored as a scalar of bytes or as an array of them."""
    if not hasattr(value, "shape") or value.shape not in ((), (value.size,)):
        raise InputError(f"{path}: expected encoded images under keys that are image ids, got {value}")
    content = value[()]
    return content.tobytes() if isinstance(content, np.generic | np.ndarray) else bytes(content)


def _suffix(content: bytes) -> str:
    return ".png" if content.startswith(b"\x89PNG") else ".jpg"


def _write_once(path: Path, content: bytes) -> Path:
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)
    return path


def _write(images: np.ndarray, prefix: str, extracted: Path) -> list[tuple[str, str]]:
    extracted.mkdir(parents=True, exist_ok=True)
    written = []
    with talk.bars() as bars:
        for row in bars.track(range(len(images)), description=f"write {prefix}"):
            name = f"{prefix}_{row:06d}"
            path = extracted / f"{name}.png"
            pixels = _uint8(images[row])
            if not _holds(path, pixels):
                with atomic_path(path) as temporary:
                    Image.fromarray(pixels).save(temporary)
            written.append((name, str(path)))
    return written


def _holds(path: Path, pixels: np.ndarray) -> bool:
    """Whether an earlier import wrote the same image; the arrays may have been replaced since."""
    try:
        with Image.open(path) as image:
            return np.array_equal(np.asarray(image), pixels)
    except OSError:
        return False


def _uint8(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    values = image.astype(np.float32)
    return (values * (255 if values.max() <= 1 else 1)).round().clip(0, 255).astype(np.uint8)
