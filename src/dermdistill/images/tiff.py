"""What Pillow leaves to do for TIFF: which page is the image, and colours in planes of 16 bits."""

import io
import struct
from typing import Any

from PIL import Image

from dermdistill.images.convert import to_rgb

_PAGES = 64
"""So many pages are looked at."""
_KIND_OF_PAGE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _STRIP_BYTES, _PLANAR, _TILES, _TILE_BYTES = 273, 277, 279, 284, 324, 325
_KEPT = (_WIDTH, _HEIGHT, _COMPRESSION, 278, 317, 322, 323, 339)
"""Tags that say the same of one plane as of all: size, compression, rows a strip, predictor, tiles, sample format."""


def seek_main_page(image: Image.Image) -> None:
    """Turn a TIFF to its largest page, the first of several; previews and masks come last."""
    best, best_page = (False, 0), 0
    for page in range(_PAGES):
        try:
            image.seek(page)
        except EOFError:
            break
        except Exception:  # a damaged page behind the first; Pillow raises nearly anything
            if page == 0:
                raise
            break
        is_whole = not _tags(image).get(_KIND_OF_PAGE, 0) & 0b101  # neither a smaller version nor a mask
        if (is_whole, image.width * image.height) > best:
            best, best_page = (is_whole, image.width * image.height), page
    image.seek(best_page)


def is_planar_16(image: Image.Image) -> bool:
    """Whether a TIFF's page holds its colours one after the other, in 16 bits each; Pillow mixes these up."""
    tags = _tags(image)
    return tags.get(_PLANAR) == 2 and tags.get(_SAMPLES, 1) > 1 and set(_many(tags.get(_BITS, 1))) == {16}


def read_planar_16(content: bytes, page: Image.Image) -> Image.Image:
    """Read an RGB image whose colours lie in planes of 16 bits, scaled to 8.

    Pillow decodes each plane as a grey image of its own, from a directory that is put at the end of the file's bytes.

    Args:
        content: the whole file.
        page: Pillow's image, turned to the page.

    Raises:
        ValueError: other than three colours, or a file of more than 4 GB.
    """
    tags = _tags(page)
    if tags.get(_SAMPLES) != 3 or tags.get(_PHOTOMETRIC) != 2 or content[2:4] not in (b"*\0", b"\0*"):
        raise ValueError(f"planes of 16 bits, {tags.get(_SAMPLES)} of them; save the image as interleaved RGB")
    return Image.merge("RGB", [to_rgb(_plane(content, tags, colour)).getchannel(0) for colour in range(3)])


def _plane(content: bytes, tags: Any, colour: int) -> Image.Image:
    """One of three colours, as Pillow's grey image of 16 bits."""
    starts, lengths = (_STRIPS, _STRIP_BYTES) if _STRIPS in tags else (_TILES, _TILE_BYTES)
    chunks = len(_many(tags[starts])) // 3
    own = slice(colour * chunks, (colour + 1) * chunks)
    fields = {tag: _many(tags[tag]) for tag in _KEPT if tag in tags}
    fields[_KEPT[-1]] = (1,)
    fields |= {_BITS: (16,), _PHOTOMETRIC: (1,), _SAMPLES: (1,)}
    fields |= {starts: _many(tags[starts])[own], lengths: _many(tags[lengths])[own]}
    order = "<" if content[:2] == b"II" else ">"
    at = len(content) + len(content) % 2
    directory = _directory(fields, at, order)
    head = content[:4] + struct.pack(f"{order}I", at)
    image = Image.open(io.BytesIO(head + content[8:].ljust(at - 8, b"\0") + directory), formats=["TIFF"])
    image.load()
    return image


def _directory(fields: dict[int, tuple[int, ...]], at: int, order: str) -> bytes:
    """A TIFF directory of 32-bit numbers that begins at a position of the file."""
    entries, behind = b"", b""
    values_at = at + 2 + 12 * len(fields) + 4
    for tag, values in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            packed, behind = struct.pack(f"{order}I", values_at + len(behind)), behind + packed
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    return struct.pack(f"{order}H", len(fields)) + entries + bytes(4) + behind


def _tags(image: Image.Image) -> Any:
    return image.tag_v2  # type: ignore[attr-defined]


def _many(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)
