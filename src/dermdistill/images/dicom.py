"""DICOM objects with photographs of skin: what of their header a decoder needs, and the pixels of a frame as RGB.

Only the elements in `_TAGS` are ever parsed, so that nothing about the patient can reach a message or a log. pydicom is
imported when a DICOM file is read, since it comes with an extra.
"""

import contextlib
import io
import itertools
import re
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from dermdistill.images.formats import DICOM, HEAD, format_of_suffix, is_installed, recognise

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_FRAMES = 10_000
"""Objects of more frames are refused."""
DICOMDIR = "DICOMDIR"
"""The name of the file that lists the objects of a medium."""
SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic Image",
    "1.2.840.10008.5.1.4.1.1.77.1.7": "Dermoscopic Photography Image",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image",
}
"""The kinds of objects that are read; scanned and exported photographs are secondary captures."""
MODALITIES = ("DMS", "XC", "OT", "")
"""Dermoscopy, external-camera photography, other, and unsaid."""

_Coding = Literal["native", "jpeg", "jpeg2000", "jpeg-ls", "rle"]
_SYNTAXES: dict[str, _Coding] = {
    "1.2.840.10008.1.2": "native",
    "1.2.840.10008.1.2.1": "native",
    "1.2.840.10008.1.2.2": "native",
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.80": "jpeg-ls",
    "1.2.840.10008.1.2.4.81": "jpeg-ls",
    "1.2.840.10008.1.2.4.90": "jpeg2000",
    "1.2.840.10008.1.2.4.91": "jpeg2000",
    "1.2.840.10008.1.2.4.201": "jpeg2000",
    "1.2.840.10008.1.2.4.202": "jpeg2000",
    "1.2.840.10008.1.2.4.203": "jpeg2000",
    "1.2.840.10008.1.2.5": "rle",
}
"""How pixels are coded in the transfer syntaxes that are read. A deflated one could grow without a bound."""
_PALETTE = "PALETTE COLOR"
_COLOURS = {"RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_ICT": 3, "YBR_RCT": 3, _PALETTE: 1}
"""Samples a pixel of the photometric interpretations that are read."""
_SOP_CLASS, _SOP_INSTANCE, _MODALITY, _PIXELS = 0x00080016, 0x00080018, 0x00080060, 0x7FE00010
_TAGS = [
    _SOP_CLASS, _SOP_INSTANCE, _MODALITY, 0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011,
    0x00280100, 0x00280101, 0x00280102, 0x00280103, *range(0x00281101, 0x00281104), *range(0x00281201, 0x00281204),
    *range(0x00281221, 0x00281224), 0x7FE00001, 0x7FE00002,
]  # fmt: skip
_JPEG_LS = "import jpeg_ls, sys; jpeg_ls.decode_pixel_data(sys.stdin.buffer.read())"
_PATIENCE = 20.0
"""Seconds for decoding a JPEG-LS frame, and one more for each million pixels."""
_FRAME_NAME = re.compile(r"(.+)#([1-9]\d{0,4})", re.DOTALL)


class Refused(ValueError):
    """Why an object is not read; the reasons are those of `ImageError`."""

    def __init__(self, reason: str, explanation: str):
        super().__init__(explanation)
        self.reason = reason


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


class _Quiet:
    """Keeps pydicom from quoting what a broken element holds in warnings and logs, in all threads that want it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: Any = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        from pydicom import config

        with self._lock:
            if self._users == 0:
                self._before = config.settings.reading_validation_mode
                config.settings.reading_validation_mode = config.IGNORE
            self._users += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    config.settings.reading_validation_mode = self._before


quiet = _Quiet()
"""A block in which pydicom reads without a word: `with quiet():`."""


def frame_path(path: Path, number: int) -> Path:
    """What names a frame of a file with several: 'a.dcm#2' for the second."""
    return path.with_name(f"{path.name}#{number}")


def split_frame(path: Path) -> tuple[Path, int | None]:
    """The file and the number of its frame, counted from 1, that a path names; None where it names no frame.

    A file whose own name ends so is itself.
    """
    found = _FRAME_NAME.fullmatch(path.name)
    if found is None or path.exists():
        return path, None
    file = path.with_name(found[1])
    return (file, int(found[2])) if file.is_file() else (path, None)


def may_be_dicom(path: str | Path) -> bool:
    """Whether a name is one that DICOM files have: '.dcm', a UID, or no suffix, as on media."""
    suffix = Path(path).suffix
    return format_of_suffix(suffix) is DICOM or suffix == "" or suffix[1:].isdigit()


def is_dicom(path: str | Path) -> bool:
    """Whether a regular file begins as DICOM files do; False if it cannot be read."""
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as stream:
            return recognise(stream.read(HEAD)) is DICOM
    except (OSError, ValueError):
        return False


def expand_frames(path: Path) -> Iterator[Path]:
    """The frames of a DICOM file of several; the path itself for every other file, however broken."""
    count = 1
    if may_be_dicom(path) and is_dicom(path) and is_installed(DICOM):
        try:
            with path.open("rb") as stream, quiet():
                count = _count_frames(_read_header(stream))
        except Exception:  # whatever is wrong with it, decoding says so in its own row
            count = 1
    yield from [path] if count == 1 else (frame_path(path, number + 1) for number in range(count))


def sop_instance_uid(path: str | Path) -> str:
    """The SOP Instance UID of an object, which may be named with a frame; empty if it has none or is no DICOM file."""
    file, _ = split_frame(Path(path))
    if not (is_dicom(file) and is_installed(DICOM)):
        return ""
    try:
        with file.open("rb") as stream, quiet():
            found = str(_read_header(stream).get("SOPInstanceUID", ""))
    except Exception:  # pydicom raises nearly anything on damaged input
        return ""
    return found if re.fullmatch(r"[0-9.]{1,64}", found) else ""


def read_frame(stream: BinaryIO, number: int | None) -> Frame:
    """Check that an object is a colour photograph of which a frame can be decoded.

    Args:
        stream: the file, at any position.
        number: of the frame, counted from 1; None for an object of one frame.

    Raises:
        Refused: it is another kind of object, in grey, or contradicts itself.
        Exception: pydicom raises nearly anything on damaged input.
    """
    header = _read_header(stream)
    _check_kind(header)
    _check_pixels(header)
    frames = _count_frames(header)
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
    coding = _SYNTAXES[frame.header.file_meta.TransferSyntaxUID]
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
    is_rle = _SYNTAXES[header.file_meta.TransferSyntaxUID] == "rle"
    plugin = "pylibjpeg" if is_rle else ""  # pydicom's own decodes without a bound
    stream.seek(0)
    pixels: Any = pixel_array(stream, index=frame.index, decoding_plugin=plugin)
    full = 2 ** int(header.BitsStored) - 1
    if header.PhotometricInterpretation == _PALETTE:
        pixels = apply_color_lut(pixels, header)[..., :3]
        full = 2 ** int(header.RedPaletteColorLookupTableDescriptor[2]) - 1
    if pixels.shape != (frame.height, frame.width, 3):
        raise ValueError(f"pixels of shape {pixels.shape}")
    if full != 255:
        pixels = (pixels.astype(np.uint32) * 255 // full).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels, np.uint8))


def list_dicomdir(path: str | Path) -> list[Path]:
    """The files of the images that a DICOMDIR lists, in its order.

    Raises:
        Refused: it cannot be read, or names a file outside its folder.
    """
    from pydicom import dcmread

    folder = Path(path).parent
    try:
        with Path(path).open("rb") as stream, quiet():
            _read_syntax(stream)
            stream.seek(0)
            records = dcmread(stream, specific_tags=[0x00041220]).DirectoryRecordSequence
            names = [
                [parts] if isinstance(parts, str) else list(parts)
                for record in records
                if record.get("DirectoryRecordType") == "IMAGE" and (parts := record.get("ReferencedFileID"))
            ]
    except Exception as error:  # pydicom raises nearly anything on damaged input
        raise Refused("unreadable", f"a DICOMDIR that cannot be read ({type(error).__name__})") from None
    for parts in names:
        if any(not re.fullmatch(r"[A-Za-z0-9_.-]+", part) or part in (".", "..") for part in parts):
            raise Refused("unreadable", "a DICOMDIR that names a file outside its folder; make it again")
    return [_as_stored(folder, parts) for parts in names]


def _as_stored(folder: Path, parts: list[str]) -> Path:
    """A file of a DICOMDIR, whose names are in capitals; systems often copy them in small letters."""
    named, small = folder.joinpath(*parts), folder.joinpath(*map(str.lower, parts))
    return small if not named.exists() and small.exists() else named


def _read_header(stream: BinaryIO) -> "Dataset":
    """The elements of `_TAGS`; the stream is then at the element that holds the pixels, or at its end."""
    from pydicom import dcmread

    _read_syntax(stream)
    stream.seek(0)
    return dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS))


def _read_syntax(stream: BinaryIO) -> None:
    """Refuse a transfer syntax that is not read before the rest of the file is looked at."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    stream.seek(HEAD)
    meta = read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag >> 16 != 2
    )
    if "TransferSyntaxUID" not in meta:
        raise Refused("unreadable", "a DICOM file that names no transfer syntax; export it again")
    syntax = str(meta.TransferSyntaxUID)
    if syntax not in _SYNTAXES:
        known = UID(syntax)
        called = f"'{known.name}'" if known.is_valid and known.name != syntax else "that is not known"
        raise Refused(
            "unsupported",
            f"a DICOM file in a transfer syntax {called}; convert it, for example with dcmconv or dcmdjpeg",
        )


def _check_kind(header: "Dataset") -> None:
    """Raise Refused unless an object holds photographs that this installation can decode."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    kind = UID(str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or ""))
    if kind not in SOP_CLASSES:
        called = (
            f"a DICOM object of the kind '{kind.name}'" if kind.is_valid and kind.name != kind else "a DICOM object"
        )
        raise Refused("unsupported", f"{called}; read are {', '.join(SOP_CLASSES.values())}")
    modality = str(header.get("Modality") or "").strip()
    if modality not in MODALITIES:
        called = f" '{modality}'" if re.fullmatch(r"[A-Z]{2,6}", modality) else ""
        raise Refused(
            "unsupported", f"a DICOM object of the modality{called}; read are DMS (dermoscopy), XC (photography) and OT"
        )
    coding = _SYNTAXES[header.file_meta.TransferSyntaxUID]
    if coding != "native" and not get_decoder(header.file_meta.TransferSyntaxUID).is_available:
        raise Refused("unsupported", f"pixels coded as {coding}, whose decoder is missing; {DICOM.remedy}")


def _check_pixels(header: "Dataset") -> None:
    colours = str(header.get("PhotometricInterpretation") or "").strip()
    if colours.startswith("MONOCHROME"):
        raise Refused("unsupported", f"a DICOM object in grey ({colours[:11]}); dermoscopy is judged in colour only")
    samples = _COLOURS.get(colours)
    needed = ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel")
    lacking = [name for name in ("PhotometricInterpretation", *needed) if header.get(name) in (None, "")]
    if lacking:
        raise Refused("unreadable", f"a DICOM object without {', '.join(lacking)}; it is truncated or no image")
    if samples is None:
        raise Refused("unsupported", f"a DICOM object in other colours than {', '.join(_COLOURS)}")
    allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
    fits = allocated in (8, 16) and 1 <= stored <= allocated and int(header.SamplesPerPixel) == samples
    if not fits or header.get("PixelRepresentation", 0) not in (0, None, ""):
        raise Refused(
            "unsupported", "a DICOM object whose samples are not unsigned, of 8 or 16 bits, one for each colour"
        )
    if allocated != 8 and colours in ("YBR_FULL", "YBR_FULL_422"):
        raise Refused("unsupported", f"a DICOM object in {colours} with 16 bits; export it in RGB")


def _count_frames(header: "Dataset") -> int:
    frames = int(header.get("NumberOfFrames") or 1)
    if not 1 <= frames <= MAX_FRAMES:
        raise Refused("bomb", f"{frames:,} frames; 1 to {MAX_FRAMES:,} are allowed")
    return frames


def _check_length(stream: BinaryIO, header: "Dataset") -> None:
    """Raise Refused if a file ends before the pixels that its header promises; it is at the element that holds them."""
    samples = 2 if header.PhotometricInterpretation == "YBR_FULL_422" else int(header.SamplesPerPixel)
    expected = _count_frames(header) * int(header.Rows) * int(header.Columns) * samples * int(header.BitsAllocated) // 8
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
    frames = _count_frames(frame.header)
    return get_frame(stream, frame.index, number_of_frames=frames, extended_offsets=extended)


def _check_codestream(encoded: bytes, coding: _Coding, size: tuple[int, int]) -> None:
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
