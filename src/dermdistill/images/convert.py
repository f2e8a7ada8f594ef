"""From any of Pillow's modes to 8-bit RGB, in bands, so that a large image needs little more than itself."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

_BAND_PIXELS = 2**20
_DEEP = ("I", "F")
_FULL_SCALES = (1.0, 255.0, 65535.0)
_ROUNDING = 1e-3
"""Of floating-point numbers that stand for whole ones."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB.

    Transparent pixels are laid on white. Greyscale of 16 bits is scaled by 255/65535. Greyscale of 32 bits,
    integer or floating point, has no scale of its own: it is the smallest of 0 to 1, 0 to 255 and 0 to 65535 that holds
    the largest value. Floating-point values may exceed it by as much again, since sharpening overshoots; these are cut.

    Raises:
        ValueError: values that are not finite or fit none of these scales.
    """
    if image.mode.startswith("I;16") or image.mode in _DEEP:
        image = _to_8_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _to_8_bits(image: Image.Image) -> Image.Image:
    full = 65535.0 if image.mode not in _DEEP else _full_scale(image)
    grey = np.empty((image.height, image.width), np.uint8)
    for box in _bands(image):
        values = np.asarray(image.crop(box)).astype(np.float64)
        grey[box[1] : box[3]] = np.floor(values * (255 / full) + _ROUNDING).clip(0, 255)
    return Image.fromarray(grey)


def _full_scale(image: Image.Image) -> float:
    """What white is in an image of 32 bits."""
    bands = [np.asarray(image.crop(box)) for box in _bands(image)]
    low, high = float(np.min([band.min() for band in bands])), float(np.max([band.max() for band in bands]))
    scales = _FULL_SCALES if image.mode == "F" else _FULL_SCALES[1:]
    overshoot = 1 if image.mode == "I" else 2
    full = next((scale for scale in scales if high <= overshoot * scale), None)
    if full is not None and low >= -full:
        return full
    raise ValueError(f"grey values from {low:g} to {high:g}; expected 0 to 1, 0 to 255 or 0 to 65535")


def _on_white(image: Image.Image) -> Image.Image:
    rgb = Image.new("RGB", image.size)
    for box in _bands(image):
        over = image.crop(box).convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        rgb.paste(Image.alpha_composite(white, over).convert("RGB"), box[:2])
    return rgb
