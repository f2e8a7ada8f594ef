"""From an RGB image to square pixels, the same for training and for prediction."""

import numpy as np
from PIL import Image

from dermdistill.images.decode import ImageError, find_damage, load_rgb, open_rgb

__all__ = ["ImageError", "find_damage", "load_rgb", "open_rgb", "resize_source", "resize_square"]

PREPROCESS_VERSION = "squash-bilinear/1"
"""Resize to a square without keeping the aspect ratio, bilinear with antialiasing."""
SOURCE_VERSION = "squash-lanczos/1"
"""Resize to the larger square that training renders views from, without loss to what its networks see."""
SOURCE_SCALE = 2
"""Side of a source of views, in sides of the network's input."""


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
