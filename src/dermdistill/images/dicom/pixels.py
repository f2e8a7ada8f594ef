"""The pixels of a frame of a DICOM object, as 8-bit RGB."""

import io
import itertools
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from dermdistill.images.dicom.header import (
    PALETTE,
    SYNTAXES,
    Coding,
    Refused,
    check_kind,
    check_pixels,
    count_frames,
    read_header,
)

if TYPE_CHECKING:
    from pydicom import Dataset

_PIXELS = 0x7FE00010
_JPEG_LS = "import jpeg_ls, sys; jpeg_ls.decode_pixel_data(sys.stdin.buffer.read())"
_PATIENCE = 20.0
"""Seconds for decoding a JPEG-LS frame, and one more for each million pixels."""


@dataclass(frozen=True)
class Frame:
    """One frame of an object, before it is decoded."""

    index: int
    """Counted from 0."""
    width: int
    height: int
    bytes_needed: int
    """About the most memory that decoding takes."""
    header: "Dataset"
    pixels_at: int
    """The position in the file of the element that holds the pixels."""


def read_frame(stream: BinaryIO, number: int | None) -> Frame:
    """Check that an object is a colour photograph of which a frame can be decoded.

    Args:
        stream: the file, at any position.
        number: of the frame, counted from 1; None for an object of one frame.

    Raises:
        Refused: it is another kind of object, in grey, or contradicts itself.
        Exception: pydicom raises nearly anything on damaged input.
    """
    header = read_header(stream)
    check_kind(header)
    check_pixels(header)
    frames = count_frames(header)
    if number is None and frames > 1:
        raise Refused("unsupported", f"the DICOM object has {frames} frames; name one, the first as FILE#1")
    if (number or 1) > frames:
        raise Refused("missing", f"there is no frame {number}, the DICOM object has {frames}")
    width, height = int(header.Columns), int(header.Rows)
    a_pixel = 36 if str(header.PhotometricInterpretation).startswith("YBR") else 16  # YBR is converted as floats
    return Frame((number or 1) - 1, width, height, width * height * a_pixel, header, stream.tell())


def check_content(stream: BinaryIO, frame: Frame) -> bytes | None:
    """Check that a frame is there and has the size that its object says.

    Returns:
        The frame's own bytes, where they are JPEG.

    Raises:
        Refused: it ends too early, or has another size within.
        Exception: pydicom raises nearly anything on damaged input.
    """
    stream.seek(frame.pixels_at)
    coding = SYNTAXES[frame.header.file_meta.TransferSyntaxUID]
    if coding == "native":
        _check_length(stream, frame.header)
        return None
    encoded = _encoded(stream, frame)
    _check_codestream(encoded, coding, (frame.width, frame.height))
    return encoded if coding == "jpeg" else None


def decode_frame(stream: BinaryIO, frame: Frame) -> Image.Image:
    """Decode a frame that `read_frame` gave to 8-bit RGB.

    Deeper samples are scaled to 8 bits by 255 over their largest value.

    Raises:
        Exception: pydicom and its decoders raise nearly anything on damaged input.
    """
    from pydicom.pixels import apply_color_lut, pixel_array

    header = frame.header
    is_rle = SYNTAXES[header.file_meta.TransferSyntaxUID] == "rle"
    plugin = "pylibjpeg" if is_rle else ""  # pydicom's own decodes without a bound
    stream.seek(0)
    pixels: Any = pixel_array(stream, index=frame.index, decoding_plugin=plugin)
    full = 2 ** int(header.BitsStored) - 1
    if header.PhotometricInterpretation == PALETTE:
        pixels = apply_color_lut(pixels, header)[..., :3]
        full = 2 ** int(header.RedPaletteColorLookupTableDescriptor[2]) - 1
    if pixels.shape != (frame.height, frame.width, 3):
        raise ValueError(f"pixels of shape {pixels.shape}")
    if full != 255:
        pixels = (pixels.astype(np.uint32) * 255 // full).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels, np.uint8))


def _check_length(stream: BinaryIO, header: "Dataset") -> None:
    """Raise Refused if a file ends before the pixels that its header promises; it is at the element that holds them."""
    samples = 2 if header.PhotometricInterpretation == "YBR_FULL_422" else int(header.SamplesPerPixel)
    expected = count_frames(header) * int(header.Rows) * int(header.Columns) * samples * int(header.BitsAllocated) // 8
    at = stream.tell() + 8  # the head of the element, at least
    there = stream.seek(0, io.SEEK_END) - at
    if there < expected:
        raise Refused("truncated", f"a truncated DICOM file: {max(there, 0):,} of {expected:,} bytes of pixels")


def _encoded(stream: BinaryIO, frame: Frame) -> bytes:
    """The bytes of a compressed frame; the stream is at the element that holds the pixels."""
    from pydicom.encaps import get_frame

    element = stream.read(12)
    if len(element) < 12:
        raise Refused("truncated", "a truncated DICOM file: it ends before its pixels")
    group, number, _, _, length = struct.unpack("<HH2sHL", element)
    if (group << 16 | number) != _PIXELS or length != 0xFFFFFFFF:
        raise Refused("unreadable", "a DICOM file whose compressed pixels are not in frames; export it again")
    offsets = [frame.header.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    extended = (offsets[0], offsets[1]) if all(isinstance(table, bytes) for table in offsets) else None
    frames = count_frames(frame.header)
    return get_frame(stream, frame.index, number_of_frames=frames, extended_offsets=extended)


def _check_codestream(encoded: bytes, coding: Coding, size: tuple[int, int]) -> None:
    """Raise Refused if a frame has another size within than the object says: a decoder would believe the frame."""
    if coding == "rle":
        return  # has no size of its own; its decoder stops at the object's
    if coding == "jpeg-ls":
        found = _jpeg_ls_size(encoded)
        if found == size:
            _try_jpeg_ls(encoded, size)
    else:
        with Image.open(io.BytesIO(encoded), formats=["JPEG" if coding == "jpeg" else "JPEG2000"]) as image:
            found = image.size
    if found != size:
        came = f"{found[0]}x{found[1]}" if found else "no"
        raise Refused("unreadable", f"a DICOM object of {size[0]}x{size[1]} pixels whose frame has {came} pixels")


def _try_jpeg_ls(encoded: bytes, size: tuple[int, int]) -> None:
    """Raise Refused if a JPEG-LS frame cannot be decoded, tried in a process of its own.

    pyjpegls 1.5 never ends on some damaged frames, and holds Python's lock, so that no thread could stop it.
    """
    seconds = _PATIENCE + size[0] * size[1] / 1e6
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _JPEG_LS], input=encoded, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refused("unreadable", f"a JPEG-LS frame whose decoding did not end in {seconds:.0f} s") from None
    if done.returncode:
        raise Refused("unreadable", "a JPEG-LS frame that its decoder refuses; get the file anew")


def _jpeg_ls_size(encoded: bytes) -> tuple[int, int] | None:
    """Width and height in the first frame header of a JPEG-LS codestream (ITU-T T.87, C.2.2); None without one."""
    at = 2
    for _ in itertools.repeat(None, 64):
        if encoded[at : at + 2] == b"\xff\xf7" and len(encoded) >= at + 10 and 1 <= encoded[at + 9] <= 4:
            height, width = struct.unpack(">HH", encoded[at + 5 : at + 9])
            return width, height
        if encoded[at : at + 1] != b"\xff" or len(encoded) < at + 4:
            return None
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return None
