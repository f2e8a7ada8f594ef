"""What of a DICOM object's header a decoder needs, and whether it is a photograph that is read.

Only the elements in `_TAGS` are ever parsed, so that nothing about the patient can reach a message or a log.
"""

import contextlib
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from dermdistill.images.formats import DICOM, HEAD
from dermdistill.images.silence import silent

if TYPE_CHECKING:
    from pydicom import Dataset

PHOTOGRAPHS = {
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic Image",
    "1.2.840.10008.5.1.4.1.1.77.1.7": "Dermoscopic Photography Image",
}
"""The kinds of objects that hold nothing but photographs."""
SOP_CLASSES = {
    **PHOTOGRAPHS,
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image",
}
"""The kinds of objects that are read; scanned and exported photographs are secondary captures."""
MODALITIES = ("DMS", "XC", "OT", "")
"""Dermoscopy, external-camera photography, other, and unsaid."""
MAX_FRAMES = 10_000
"""Objects of more frames are refused."""
Coding = Literal["native", "jpeg", "jpeg2000", "jpeg-ls", "rle"]
SYNTAXES: dict[str, Coding] = {
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
PALETTE = "PALETTE COLOR"
_COLOURS = {"RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_ICT": 3, "YBR_RCT": 3, PALETTE: 1}
"""Samples a pixel of the photometric interpretations that are read."""
MAKER = "dermdistill"
"""The manufacturer in objects that dermdistill writes, whose pictures of maps it does not judge as skin."""
_SOP_CLASS, _SOP_INSTANCE, _MODALITY, _MANUFACTURER = 0x00080016, 0x00080018, 0x00080060, 0x00080070
_TAGS = [
    _SOP_CLASS, _SOP_INSTANCE, _MODALITY, _MANUFACTURER, 0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010,
    0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103, *range(0x00281101, 0x00281104),
    *range(0x00281201, 0x00281204), *range(0x00281221, 0x00281224), 0x7FE00001, 0x7FE00002,
]  # fmt: skip


class Refused(ValueError):
    """Why an object is not read; the reasons are those of `ImageError`."""

    def __init__(self, reason: str, explanation: str):
        super().__init__(explanation)
        self.reason = reason


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
            with silent():
                yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    config.settings.reading_validation_mode = self._before


quiet = _Quiet()
"""A block in which pydicom reads without a word: `with quiet():`."""


def read_header(stream: BinaryIO) -> "Dataset":
    """Read the elements of `_TAGS`; the stream is then at the element that holds the pixels, or at its end.

    Raises:
        Refused: the file is in a transfer syntax that is not read.
        Exception: pydicom raises nearly anything on damaged input.
    """
    from pydicom import dcmread

    read_syntax(stream)
    stream.seek(0)
    return dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS))


def read_syntax(stream: BinaryIO) -> None:
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
    if syntax not in SYNTAXES:
        known = UID(syntax)
        called = f"'{known.name}'" if known.is_valid and known.name != syntax else "that is not known"
        raise Refused(
            "unsupported",
            f"a DICOM file in a transfer syntax {called}; convert it, for example with dcmconv or dcmdjpeg",
        )


def check_kind(header: "Dataset") -> None:
    """Raise Refused unless an object holds photographs that this installation can decode."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    kind = UID(str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or ""))
    if kind not in SOP_CLASSES:
        called = (
            f"a DICOM object of the kind '{kind.name}'" if kind.is_valid and kind.name != kind else "a DICOM object"
        )
        raise Refused("unsupported", f"{called}; read are {', '.join(SOP_CLASSES.values())}")
    if str(header.get("Manufacturer") or "").strip() == MAKER:
        raise Refused("unsupported", "a map that dermdistill has drawn; it judges photographs only")
    modality = str(header.get("Modality") or "").strip()
    if modality not in MODALITIES:
        called = f" '{modality}'" if re.fullmatch(r"[A-Z]{2,6}", modality) else ""
        raise Refused(
            "unsupported", f"a DICOM object of the modality{called}; read are DMS (dermoscopy), XC (photography) and OT"
        )
    coding = SYNTAXES[header.file_meta.TransferSyntaxUID]
    if coding != "native" and not get_decoder(header.file_meta.TransferSyntaxUID).is_available:
        raise Refused("unsupported", f"pixels coded as {coding}, whose decoder is missing; {DICOM.remedy}")


def check_pixels(header: "Dataset") -> None:
    """Raise Refused unless the header says of pixels in colour what a decoder here understands."""
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


def count_frames(header: "Dataset") -> int:
    """The number of an object's frames; raise Refused if it is out of bounds."""
    frames = int(header.get("NumberOfFrames") or 1)
    if not 1 <= frames <= MAX_FRAMES:
        raise Refused("bomb", f"{frames:,} frames; 1 to {MAX_FRAMES:,} are allowed")
    return frames
