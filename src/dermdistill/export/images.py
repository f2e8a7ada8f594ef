"""The images on which formats are calibrated and compared."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dermdistill.errors import InputError
from dermdistill.images.preprocess import load_rgb, resize_square
from dermdistill.images.walk import walk_images

LEAST = 20
"""Images that are needed: ten to calibrate, and ten to compare."""
_CALIBRATION = 100
"""At most, and never more than a third."""
_SEED = 0


@dataclass(frozen=True)
class Photos:
    """Images of the model's size, RGB, uint8 [N, S, S, 3]."""

    origin: Literal["photographs", "generated"]
    calibration: np.ndarray
    compared: np.ndarray
    melanoma: np.ndarray | None
    """0 or 1 for each of `compared`; None if their labels are not known."""


def load_photos(given: Path | None, size: int, count: int) -> Photos:
    """Draw images at random, the same ones each time, and bring them to the model's size.

    Args:
        given: a folder of images, or a manifest, whose labels are used. By default HAM10000 beneath
            `DERMDISTILL_DATA`, else generated lesions.
        size: side of the model's input in pixels, S.
        count: how many, at least `LEAST`; fewer if there are not as many.

    Raises:
        InputError: too few images, or no images there.
    """
    if count < LEAST:
        raise InputError(f"at least {LEAST} images are needed to calibrate and to compare, got --count {count}")
    if given is None and not os.environ.get("DERMDISTILL_DATA"):
        return _generated(size, count)
    paths, melanoma = _listed(given)
    if len(paths) < LEAST:
        raise InputError(f"{given} holds {len(paths)} images, at least {LEAST} are needed to calibrate and to compare")
    chosen = np.random.default_rng(_SEED).permutation(len(paths))[:count]
    pixels = np.stack([resize_square(load_rgb(paths[place]), size) for place in chosen])
    return _parted("photographs", pixels, None if melanoma is None else melanoma[chosen])


def _listed(given: Path | None) -> tuple[list[str], np.ndarray | None]:
    """The paths of images, and whether each shows a melanoma, if that is known."""
    if given is None:
        from dermdistill.data.importing.datasets import import_dataset

        table = import_dataset(Path(os.environ["DERMDISTILL_DATA"]) / "ham10000", "ham10000").manifest
    elif given.is_dir():
        return walk_images(given).images, None
    else:
        from dermdistill.data.manifest import read_manifest

        table = read_manifest(given)
    return list(table["path"]), table["melanoma"].to_numpy(int)


def _generated(size: int, count: int) -> Photos:
    from dermdistill.data.synthetic.generate import generate

    with tempfile.TemporaryDirectory(prefix="dermdistill-images-") as folder:
        table = generate(Path(folder) / "made", n=count, size=max(32, min(2 * size, 1024)), seed=_SEED)
        pixels = np.stack([resize_square(load_rgb(path), size) for path in table["path"]])
    return _parted("generated", pixels, table["melanoma"].to_numpy(int))


def _parted(origin: Literal["photographs", "generated"], pixels: np.ndarray, melanoma: np.ndarray | None) -> Photos:
    first = min(_CALIBRATION, len(pixels) // 3)
    return Photos(origin, pixels[:first], pixels[first:], None if melanoma is None else melanoma[first:])
