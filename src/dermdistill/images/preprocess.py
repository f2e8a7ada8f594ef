"""From an image file to square RGB pixels, the same for training and for prediction.

Needs numpy and pillow only, since `predict` uses it with the core install.
"""

import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dermdistill.errors import InputError

PREPROCESS_VERSION = "squash-bilinear/1"
"""Resize to a square without keeping the aspect ratio, bilinear with antialiasing."""
SOURCE_VERSION = "squash-lanczos/1"
"""Resize to the larger square that training renders views from, without loss to what its networks see."""
SOURCE_SCALE = 2
"""Side of a source of views, in sides of the network's input."""

MAX_PIXELS = 100_000_000
"""Larger images are refused as decompression bombs."""
MIN_SIDE = 16
"""Smaller images are refused: nothing can be seen in them."""


class ImageError(InputError):
    """An image that cannot be used; `reason` is a short code, the message names the file.

    Reasons: missing, is_folder, empty, not_an_image, truncated, unreadable, too_small, bomb.
    """

    def __init__(self, reason: str, name: str, explanation: str):
        super().__init__(f"{name}: {explanation}")
        self.reason = reason


def load_rgb(source: str | Path | bytes | BinaryIO) -> Image.Image:
    """Open an image, decode it whole, turn it upright and convert it to 8-bit RGB.

    Transparent pixels are laid on white, 16-bit greyscale is scaled to 8 bits, of an animation the
    first frame is taken.

    Args:
        source: a path, the file's bytes, or an open binary file.

    Raises:
        ImageError: the file is missing, empty, damaged, too small, too large, or not an image.
    """
    name, stream = _open(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS decides
            image = Image.open(stream)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageError("bomb", name, f"{width}x{height} pixels are more than the {MAX_PIXELS:,} allowed")
        if min(width, height) < MIN_SIDE:
            raise ImageError("too_small", name, f"{width}x{height} pixels; each side needs at least {MIN_SIDE}")
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("bomb", name, f"too many pixels ({error})") from None
    except UnidentifiedImageError:
        raise ImageError("not_an_image", name, "not an image in a format that Pillow reads") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged input
        reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise ImageError(reason, name, f"{reason} image ({type(error).__name__}: {error})") from None
    finally:
        if isinstance(source, str | Path):
            stream.close()


def _open(source: str | Path | bytes | BinaryIO) -> tuple[str, BinaryIO]:
    if isinstance(source, bytes):
        if not source:
            raise ImageError("empty", "image", "no bytes")
        return "image", io.BytesIO(source)
    if not isinstance(source, str | Path):
        return str(getattr(source, "name", "image")), source
    path = Path(source)
    name = str(path)
    try:
        if path.is_dir():
            raise ImageError("is_folder", name, "is a folder, expected an image file")
        if path.stat().st_size == 0:
            raise ImageError("empty", name, "the file is empty")
        return name, path.open("rb")
    except FileNotFoundError:
        raise ImageError("missing", name, "no such file") from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError("unreadable", name, f"cannot be opened ({error})") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, np.float32)
        scale = 255 / 65535 if image.mode.startswith("I;16") or values.max() > 255 else 1.0
        image = Image.fromarray((values * scale).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


def resize_square(image: Image.Image, size: int) -> np.ndarray:
    """Squash an RGB image to a square, uint8 [size, size, 3]; the aspect ratio is not kept.

    Args:
        image: an RGB image.
        size: side in pixels.
    """
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=None)
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
