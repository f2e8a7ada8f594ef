"""JPEG files decoded by a decoder that refuses what it warns about, whole or at a fraction of their size."""

import numpy as np
from PIL import ExifTags, Image, ImageOps

_TRANSFORMED = ("CMYK", "YCCK")
_KEPT = ("exif", "xmp")
"""What tells how an image is turned upright."""
LARGEST_WHOLE = 32_000_000
"""Pixels; the decoder's array stands beside the image for a moment, so that larger ones are left to Pillow."""


def decode_whole(content: bytes, image: Image.Image) -> Image.Image | None:
    """Decode a JPEG file whose bytes give no reason to complain; the pixels are those that Pillow gives.

    One decoding tells the pixels and whether the file is damaged, where Pillow needs a second one for that.

    Args:
        content: the file's bytes.
        image: the same file, opened by Pillow and not yet loaded.

    Returns:
        An upright RGB image, or None where the file is very large, is in four colours, or gives the decoder any reason
        to complain.
    """
    if image.width * image.height > LARGEST_WHOLE:
        return None
    pixels = _decoded(content, {})
    return None if pixels is None else _upright(pixels, image)


def decode_scaled(content: bytes, image: Image.Image, side: int) -> np.ndarray | None:
    """Decode a JPEG file at the smallest of the fractions 1/2, 1/4 and 1/8 whose sides are at least `side`.

    The decoder leaves out the finest part of each block's cosine transform, so that most of the work is not done. It
    knows fractions such as 3/8 too, which cost as much as the next larger power of two and show less. It is
    strict besides: a file that it warns about is left to the caller.

    Args:
        content: the file's bytes.
        image: the same file, opened by Pillow and not yet loaded.
        side: the least width and height in pixels.

    Returns:
        Upright RGB, uint8 [H, W, 3], or None where the file is not larger than needed, is in four colours, or gives the
        decoder any reason to complain.
    """
    part = next((part for part in (8, 4, 2) if min(image.size) >= part * side), None)
    if part is None:
        return None
    width, height = (-(-length // part) for length in image.size)
    pixels = _decoded(content, {"min_height": height, "min_width": width, "min_factor": 2})
    if pixels is None or _is_upright(image):
        return pixels
    return np.asarray(_upright(pixels, image))


def _decoded(content: bytes, options: dict[str, int]) -> np.ndarray | None:
    import simplejpeg

    try:
        if simplejpeg.decode_jpeg_header(content)[2] in _TRANSFORMED:
            return None
        return simplejpeg.decode_jpeg(content, "RGB", **options)
    except ValueError:
        return None


def _upright(pixels: np.ndarray, image: Image.Image) -> Image.Image:
    """Pixels as an image that stands as Pillow would turn the file."""
    found = _with_facts(Image.fromarray(pixels), image)
    ImageOps.exif_transpose(found, in_place=True)
    return found


def _is_upright(image: Image.Image) -> bool:
    """Whether a file says that it need not be turned; raises what `_upright` raises where that cannot be read.

    The opened image itself does not tell: Pillow read its metadata before, and a second reading passes over errors.
    """
    told = _with_facts(Image.new("RGB", (1, 1)), image).getexif()
    return bool(told.get(ExifTags.Base.Orientation, 1) == 1)


def _with_facts(found: Image.Image, image: Image.Image) -> Image.Image:
    """An image that knows how another one is turned upright."""
    found.info.update({key: image.info[key] for key in _KEPT if key in image.info})
    return found
