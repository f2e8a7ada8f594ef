"""From an RGB image to square pixels, the same for training and for prediction."""

import importlib
import threading
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from PIL import Image

from dermdistill.images.decode import ImageError, find_damage, load_rgb, open_rgb

__all__ = [
    "ImageError",
    "fast_resizer",
    "find_damage",
    "load_rgb",
    "open_rgb",
    "resize_fast",
    "resize_source",
    "resize_square",
]

PREPROCESS_VERSION = "squash-bilinear/1"
"""Resize to a square without keeping the aspect ratio, bilinear with antialiasing."""
SOURCE_VERSION = "squash-lanczos/1"
"""Resize to the larger square that training renders views from, without loss to what its networks see."""
SOURCE_SCALE = 2
"""Side of a source of views, in sides of the network's input."""
LARGEST_FAST = 1_000_000
"""Pixels of the largest image that `resize_fast` copies for its resizer; with larger ones the copy takes the gain."""


def resize_square(image: Image.Image, size: int) -> np.ndarray:
    """Squash an RGB image to a square, uint8 [size, size, 3]; the aspect ratio is not kept.

    Columns are resized before rows, with 8-bit values between. Pillow does so by itself with images that are wider than
    high; with others it depends on its version, and up to a quarter of the values differ by 1.

    Args:
        image: an RGB image.
        size: side in pixels.
    """
    for shape in ((size, image.height), (size, size)):
        if image.size != shape:
            image = image.resize(shape, Image.Resampling.BILINEAR, reducing_gap=None)
    return np.array(image, np.uint8)


def resize_fast(image: Image.Image | np.ndarray, size: int) -> np.ndarray:
    """About what `resize_square` gives, in a fraction of the time where the extra `fast` is installed.

    The extra's resizer has weights of 16 bits and vector instructions: an eighth to a quarter of the
    values differ by 1.
    Without the extra, and for images of more than `LARGEST_FAST` pixels, this is `resize_square`.

    Args:
        image: an RGB image, or uint8 [H, W, 3].
        size: side in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    package = _package()
    width, height = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
    if package is None or width * height > LARGEST_FAST:
        return resize_square(image if isinstance(image, Image.Image) else Image.fromarray(image), size)
    if not hasattr(_OWN, "resizer"):  # it keeps its buffers
        _OWN.resizer = package.Resizer()
        algorithm = package.ResizeAlg.convolution(package.FilterType.bilinear)
        _OWN.bilinear = package.ResizeOptions(resize_alg=algorithm)
    source = package.ImageData(width, height, package.PixelType.U8x3, image.tobytes())
    result = package.ImageData(size, size, package.PixelType.U8x3)
    _OWN.resizer.resize(source, result, _OWN.bilinear)
    return np.frombuffer(result.get_buffer(), np.uint8).reshape(size, size, 3)


def fast_resizer() -> str:
    """What `resize_fast` resizes with: 'pillow', or the package of the extra `fast` with its version."""
    return "pillow" if _package() is None else f"cykooz-resizer {metadata.version('cykooz-resizer')}"


_OWN = threading.local()
"""What each thread resizes with."""


@cache
def _package() -> Any:
    """The package of the extra `fast`, or None."""
    try:
        return importlib.import_module("cykooz_resizer")
    except ImportError:
        return None


def resize_source(image: Image.Image, size: int) -> np.ndarray:
    """Squash an RGB image to the square that views are rendered from, uint8 [size, size, 3].

    Lanczos keeps the frequencies that a network of half this side sees, whether the file is larger or smaller.

    Args:
        image: an RGB image.
        size: side in pixels, `SOURCE_SCALE` times the network's.
    """
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return np.array(image, np.uint8)
