"""From an image file to upright 8-bit RGB: the one place where files are decoded.

Needs numpy, pillow and simplejpeg only, since `predict` uses it with the core install; DICOM and HEIC need an extra.
"""

import contextlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dermdistill.errors import InputError
from dermdistill.images.convert import to_rgb
from dermdistill.images.damage import find_damage
from dermdistill.images.dicom.files import split_frame
from dermdistill.images.dicom.header import Refused, quiet
from dermdistill.images.dicom.pixels import check_content, decode_frame, read_frame
from dermdistill.images.formats import (
    AVIF,
    DICOM,
    FORMATS,
    HEAD,
    HEIC,
    JPEG,
    PNG,
    TIFF,
    WEBP,
    ImageFormat,
    is_installed,
    recognise,
)
from dermdistill.images.scaled import LARGEST_WHOLE, decode_scaled, decode_whole
from dermdistill.images.silence import silent
from dermdistill.images.tiff import is_planar_16, read_planar_16, seek_main_page
from dermdistill.remote import UnreachableError, is_url, read

# Pillow's blocks of 16 MB land in a heap of each thread, which keeps them when they are freed; larger ones never do.
Image.core.set_block_size(64 * 2**20)

MAX_PIXELS = 100_000_000
"""Larger images are refused as decompression bombs."""
MAX_BYTES = 1_000_000_000
"""Larger files are refused."""
MIN_SIDE = 16
"""Smaller images are refused: nothing can be seen in them."""
DECODING_BYTES = 600_000_000
"""What all decoders of a process together may take; an image that needs more is decoded alone."""

Source = str | Path | bytes | BinaryIO
"""A path, a file's bytes, or an open binary file. The path 'a.dcm#2' names the second frame of a DICOM object. A string
such as 's3://bucket/a.jpg' is a URL, which needs the extra `remote`."""
Damaged = Literal["refuse", "accept"]


class ImageError(InputError):
    """An image that cannot be used; `reason` is a short code, the message names the file.

    Reasons: missing, is_folder, empty, not_an_image, unsupported, truncated, damaged, unreadable, too_small, bomb, and
    unreachable for a URL whose store does not answer.
    """

    def __init__(self, reason: str, name: str, explanation: str):
        super().__init__(f"{name}: {explanation}")
        self.reason = reason


def load_rgb(source: Source, *, damaged: Damaged = "refuse") -> Image.Image:
    """Open an image, decode it whole, turn it upright and convert it to 8-bit RGB.

    Transparent pixels are laid on white; deeper greyscale is scaled to 8 bits (see `to_rgb`); of an animation the first
    frame is taken, of a TIFF the largest page.

    Args:
        source: a path, the file's bytes, or an open binary file.
        damaged: what is done with an image that decodes with warnings.

    Raises:
        ImageError: the file is missing, empty, damaged, too small, too large, or not an image.
    """
    name, opened, frame = _open(source)
    with opened as stream, contextlib.ExitStack() as memory:
        return _decode(name, stream, _Wanted(damaged, MAX_PIXELS, frame=frame), memory)


@contextlib.contextmanager
def open_rgb(source: Source, *, damaged: Damaged = "refuse", max_pixels: int | None = None) -> Iterator[Image.Image]:
    """As `load_rgb`, for a block at whose end the image is closed.

    Until then it counts into the memory that all decoders share. Where several threads decode, each should
    open an image this way and make it small within the block.

    Args:
        source: a path, the file's bytes, or an open binary file.
        damaged: what is done with an image that decodes with warnings.
        max_pixels: larger images are refused before they are decoded; by default `MAX_PIXELS`.
    """
    name, opened, frame = _open(source)
    wanted = _Wanted(damaged, MAX_PIXELS if max_pixels is None else max_pixels, frame)
    with (
        opened as stream,
        contextlib.ExitStack() as memory,
        contextlib.closing(_decode(name, stream, wanted, memory)) as image,  # closed before another gets the memory
    ):
        yield image


@contextlib.contextmanager
def open_scaled(
    source: Source, at_least: int, *, damaged: Damaged = "refuse", max_pixels: int | None = None
) -> Iterator[Image.Image | np.ndarray]:
    """As `open_rgb`, but a larger JPEG may be decoded at a fraction of its size, in a fraction of the time.

    Args:
        source: a path, the file's bytes, or an open binary file.
        at_least: the least width and height in pixels that are needed.
        damaged: what is done with an image that decodes with warnings.
        max_pixels: larger images are refused before they are decoded; by default `MAX_PIXELS`.

    Yields:
        The image, or upright RGB, uint8 [H, W, 3], of one decoded at a fraction.
    """
    name, opened, frame = _open(source)
    wanted = _Wanted(damaged, MAX_PIXELS if max_pixels is None else max_pixels, frame)
    with opened as stream, contextlib.ExitStack() as memory:
        pixels = None if frame is not None else _fraction(stream, at_least, wanted.max_pixels, memory)
        if pixels is not None:
            yield pixels
            return
        with contextlib.closing(_decode(name, stream, wanted, memory)) as image:
            yield image


@dataclass(frozen=True)
class _Wanted:
    """How an image is read; see `open_rgb`."""

    damaged: Damaged
    max_pixels: int
    frame: int | None = None
    """Of a DICOM object, counted from 1."""


def _decode(name: str, stream: BinaryIO, wanted: _Wanted, memory: contextlib.ExitStack) -> Image.Image:
    kind = _format(name, stream)
    if kind is DICOM:
        return _decode_dicom(name, stream, wanted, memory)
    if wanted.frame is not None:
        raise ImageError("missing", name, "no such file")
    try:
        with silent():  # max_pixels decides, not the limit that Pillow warns of, and notes on metadata change nothing
            image: Image.Image = Image.open(stream, formats=[kind.pillow])
            if kind is TIFF:
                seek_main_page(image)
            _check_size(name, image.size, wanted.max_pixels)
            memory.enter_context(_MEMORY.of(_bytes_needed(image, kind)))
            if kind is JPEG and (sound := decode_whole(_whole(stream), image)):
                return sound
            damage = find_damage(_whole(stream)) if kind in (JPEG, PNG) else None
            if kind is TIFF and is_planar_16(image):
                image = read_planar_16(_whole(stream), image)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            rgb = to_rgb(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("bomb", name, f"too many pixels ({error})") from None
    except UnidentifiedImageError:
        raise ImageError("unreadable", name, f"begins like a {kind.name} file, but its decoder refuses it") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged input
        reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise ImageError(reason, name, f"{reason} image ({type(error).__name__}: {error})") from None
    _refuse_damage(name, damage, wanted)
    return rgb


def _refuse_damage(name: str, damage: str | None, wanted: _Wanted) -> None:
    if damage is not None and wanted.damaged == "refuse":
        raise ImageError("damaged", name, f"damaged image ({damage}); get the file anew")


def _decode_dicom(name: str, stream: BinaryIO, wanted: _Wanted, memory: contextlib.ExitStack) -> Image.Image:
    """As `_decode`. Messages name the kind of an error only: its text could quote what a broken file says."""
    try:
        with quiet():
            frame = read_frame(stream, wanted.frame)
            _check_size(name, (frame.width, frame.height), wanted.max_pixels)
            memory.enter_context(_MEMORY.of(frame.bytes_needed))
            jpeg = check_content(stream, frame)
            damage = find_damage(jpeg) if jpeg else None
            rgb = decode_frame(stream, frame)
    except ImageError:
        raise
    except Refused as error:
        raise ImageError(error.reason, name, str(error)) from None
    except Exception as error:  # pydicom and its decoders raise nearly anything on damaged input
        said = str(error).lower()
        reason = "truncated" if "truncated" in said or "less than expected" in said else "unreadable"
        raise ImageError(reason, name, f"{reason} DICOM file ({type(error).__name__}); get it anew") from None
    _refuse_damage(name, damage, wanted)
    return rgb


def _fraction(stream: BinaryIO, at_least: int, max_pixels: int, memory: contextlib.ExitStack) -> np.ndarray | None:
    """A JPEG at a fraction of its size, where that is possible and spares work; what is wrong is not told."""
    # Pillow's decoders raise nearly anything, and files on a share fail at any read
    with contextlib.ExitStack() as own, contextlib.suppress(Exception), silent():
        if recognise(stream.read(HEAD)) is not JPEG:
            return None
        stream.seek(0)
        image: Image.Image = Image.open(stream, formats=[JPEG.pillow])
        if image.width * image.height > max_pixels:
            return None
        if image.info.get("progressive"):  # the coefficients of the whole image, whatever the fraction
            own.enter_context(_MEMORY.of(6 * image.width * image.height))
        pixels = decode_scaled(_whole(stream), image, at_least)
        if pixels is not None:
            memory.push(own.pop_all())
        return pixels
    return None


def _open(source: Source) -> tuple[str, BinaryIO, int | None]:
    """A source's name, its bytes, and the number of the frame that is meant."""
    if not isinstance(source, str | Path):
        name = str(getattr(source, "name", "image"))
        content = source if isinstance(source, bytes) else source.read()
        if not content:
            raise ImageError("empty", name, "no bytes")
        return name, io.BytesIO(content), None
    if is_url(source):
        return source, _fetch(source), None
    name = str(Path(source))
    try:
        path, frame = split_frame(Path(source))
        if path.is_dir():
            raise ImageError("is_folder", name, "is a folder, expected an image file")
        size = path.stat().st_size
        if size == 0:
            raise ImageError("empty", name, "the file is empty")
        if size > MAX_BYTES:
            raise ImageError("bomb", name, f"{size:,} bytes are more than the {MAX_BYTES:,} allowed")
        return name, path.open("rb"), frame
    except FileNotFoundError:
        raise ImageError("missing", name, "no such file") from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError("unreadable", name, f"cannot be opened ({error})") from None


def _fetch(url: str) -> BinaryIO:
    """The bytes of a file that is named by URL."""
    try:
        content = read(url, MAX_BYTES)
    except (FileNotFoundError, IsADirectoryError):
        raise ImageError("missing", url, "no such file") from None
    except UnreachableError as error:
        raise ImageError("unreachable", url, str(error).removeprefix(f"{url}: ")) from None
    except OSError as error:
        raise ImageError("unreadable", url, f"cannot be opened ({error})") from None
    if not content:
        raise ImageError("empty", url, "the file is empty")
    if len(content) > MAX_BYTES:
        raise ImageError("bomb", url, f"more than the {MAX_BYTES:,} bytes allowed")
    return io.BytesIO(content)


def _whole(stream: BinaryIO) -> bytes:
    """All bytes of a stream, whose position stays."""
    before = stream.tell()
    stream.seek(0)
    content = stream.read()
    stream.seek(before)
    return content


def _format(name: str, stream: BinaryIO) -> ImageFormat:
    try:
        stream.seek(0)
        found = recognise(stream.read(HEAD))
        stream.seek(0)
    except OSError as error:
        raise ImageError("unreadable", name, f"unreadable image ({type(error).__name__}: {error})") from None
    if isinstance(found, ImageFormat):
        if not is_installed(found):
            raise ImageError("unsupported", name, f"{found.name} is not read by this installation; {found.remedy}")
        return found
    read = ", ".join(kind.name for kind in FORMATS)
    what = "not an image" if found is None else f"{found}, not an image"
    raise ImageError("not_an_image", name, f"{what} in a format that is read ({read})")


def _check_size(name: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError("bomb", name, f"{width}x{height} pixels are more than the {max_pixels:,} allowed")
    if min(width, height) < MIN_SIDE:
        raise ImageError("too_small", name, f"{width}x{height} pixels; each side needs at least {MIN_SIDE}")


def _bytes_needed(image: Image.Image, kind: ImageFormat) -> int:
    """About the most memory that decoding and converting an image takes."""
    a_pixel = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    if image.mode != "RGB":
        a_pixel += 4
    if kind in (WEBP, AVIF, HEIC):
        a_pixel += 4  # they decode into a buffer of their own
    if kind is JPEG and image.width * image.height <= LARGEST_WHOLE:
        a_pixel += 3  # the decoder's array
    if image.info.get("progressive"):
        a_pixel += 6  # coefficients of the whole image
    return image.width * image.height * a_pixel


class _Memory:
    """A number of bytes that threads share; who needs more than is left waits."""

    def __init__(self, total: int):
        self._left = self._total = total
        self._freed = threading.Condition()

    @contextlib.contextmanager
    def of(self, needed: int) -> Iterator[None]:
        needed = min(needed, self._total)
        with self._freed:
            self._freed.wait_for(lambda: self._left >= needed)
            self._left -= needed
        try:
            yield
        finally:
            with self._freed:
                self._left += needed
                self._freed.notify_all()


_MEMORY = _Memory(DECODING_BYTES)
