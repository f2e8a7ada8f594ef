"""Damage that decoders pass over: a JPEG whose bytes were changed decodes to another picture without an error.

Pillow drops the warnings of its JPEG decoder. Here they come from a decoding of the same bytes at an eighth of the
size, which a file needs that a strict decoder refused (`dermdistill.images.scaled`). Changed bytes that are valid code
by chance give no warning; only a file's hash tells these.
"""

import zlib
from pathlib import Path

from dermdistill.images.formats import HEAD, JPEG, PNG, recognise

_WARNINGS = ("corrupt jpeg data", "premature end", "inconsistent progression")
"""How libjpeg's warnings about lost or changed pixels begin; others are about versions and colour profiles."""


def find_damage(source: str | Path | bytes) -> str | None:
    """Why the bytes of an image are damaged, or None if no damage is found.

    JPEG: the decoder's warnings, such as a premature end or extraneous bytes. PNG: checksums and the end.
    Other formats are not checked.

    Args:
        source: a path, or the file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    kind = recognise(content[:HEAD])
    if kind is JPEG:
        return _jpeg_damage(content)
    if kind is PNG:
        return _png_damage(memoryview(content))
    return None


def _jpeg_damage(content: bytes) -> str | None:
    import simplejpeg

    try:
        colours = simplejpeg.decode_jpeg_header(content)[2]
    except ValueError:
        return None  # not even its header is read: Pillow says why
    to = "CMYK" if colours in ("CMYK", "YCCK") else "GRAY"  # the decoder makes no grey of CMYK
    try:
        simplejpeg.decode_jpeg(content, to, fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        said = str(error)
        return said if said.lower().startswith(_WARNINGS) else None
    return None


def _png_damage(content: memoryview) -> str | None:
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        name = bytes(content[at + 4 : at + 8])
        end = at + 8 + length
        if end + 4 > len(content):
            break
        is_critical = name[:1].isupper() or name == b"tRNS"
        if is_critical and zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return f"wrong checksum of a part '{name.decode('latin-1')}' of the PNG"
        if name == b"IEND":
            return None
        at = end + 4
    return "the PNG has no end"
