"""JPEG files decoded at a fraction of their size: a network that sees 112 pixels needs no twelve million."""

from PIL import Image

_TRANSFORMED = ("CMYK", "YCCK")
_KEPT = ("exif", "xmp")
"""What tells how an image is turned upright."""


def decode_scaled(content: bytes, image: Image.Image, side: int) -> Image.Image | None:
    """Decode a JPEG file at the smallest fraction, at most a half, whose sides are at least `side`.

    The decoder leaves out the finest part of each block's cosine transform, so that most of the work is not done. It is
    strict besides: a file that it warns about is left to the caller.

    Args:
        content: the file's bytes.
        image: the same file, opened by Pillow and not yet loaded.
        side: the least width and height in pixels.

    Returns:
        An RGB image that is not turned upright yet but knows how, or None where the file is not larger than needed, is
        in four colours, or gives the decoder any reason to complain.
    """
    if min(image.size) < 2 * side:
        return None
    import simplejpeg

    try:
        if simplejpeg.decode_jpeg_header(content)[2] in _TRANSFORMED:
            return None
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=side, min_width=side, min_factor=2)
    except ValueError:
        return None
    found = Image.fromarray(pixels)
    found.info.update({key: image.info[key] for key in _KEPT if key in image.info})
    return found
