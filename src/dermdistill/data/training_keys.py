"""What a network learned from, as hashes alone: so that an overlap with other images can be found without them.

    training-keys.npz    by kind (photograph, lesion, patient, exact copy, duplicate group) sorted uint64

Each number is the first 8 bytes of the SHA-256 of the kind and the key (`dermdistill.data.ids.keys`). Two of a
million keys and a million others agree by accident in one of 18 million cases. They hide no short id: who knows how
patients are numbered can try all numbers.
"""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dermdistill.data.ids import keys
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import atomic_path

NAME = "training-keys.npz"
TrainingKeys = dict[str, np.ndarray]
"""By kind: sorted uint64."""


def training_keys(images: pd.DataFrame) -> TrainingKeys:
    """The hashed keys of images.

    Args:
        images: rows of a manifest.
    """
    return {kind: np.unique(_hashed(kind, values.dropna())) for kind, values in keys(images).items()}


def write_training_keys(images: pd.DataFrame, path: Path) -> None:
    """Write the hashed keys of images; equal images give equal bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        found: dict[str, Any] = {kind.replace(" ", "_"): hashes for kind, hashes in training_keys(images).items()}
        np.savez_compressed(stream, **found)


def read_training_keys(path: Path) -> TrainingKeys:
    """Read hashed keys.

    Raises:
        InputError: no such file.
        IntegrityError: it holds something else.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}; a finished run folder holds {NAME}")
    try:
        with np.load(path, allow_pickle=False) as content:
            found = {kind.replace("_", " "): content[kind] for kind in content.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise IntegrityError(f"{path} holds no hashed keys ({error}); train again, or name the manifest") from None
    if any(values.dtype != np.uint64 or values.ndim != 1 for values in found.values()):
        raise IntegrityError(f"{path} holds no hashed keys; train again, or name the manifest")
    return found


def shared(images: pd.DataFrame, trained: TrainingKeys) -> dict[str, np.ndarray]:
    """By kind which images share that with a training image, bool [N]; kinds that one of both lacks are left out.

    Args:
        images: rows of a manifest [N].
        trained: the hashed keys of the training images.
    """
    found = {}
    for kind, values in keys(images).items():
        known = values.notna().to_numpy(bool)
        if known.any() and len(trained.get(kind, ())):
            found[kind] = np.zeros(len(images), bool)
            found[kind][known] = np.isin(_hashed(kind, values[known]), trained[kind])
    return found


def _hashed(kind: str, values: pd.Series) -> np.ndarray:
    digests = b"".join(hashlib.sha256(f"{kind}\0{value}".encode()).digest()[:8] for value in values)
    return np.frombuffer(digests, ">u8").astype(np.uint64)
