"""The one table of image formats: what is read, by which decoder, and how its files are recognised.

Only decoders in this table are ever started, whatever a file's name says. Pillow has others, of which one hands the
file to an outside program (EPS).
"""

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache

from PIL import Image, features


@dataclass(frozen=True)
class ImageFormat:
    """One format of image files."""

    name: str
    pillow: str
    """Pillow's name of the format; empty for DICOM, which pydicom reads."""
    plugin: str
    """The module whose import makes Pillow read it, or that reads it."""
    suffixes: tuple[str, ...]
    feature: str | None = None
    """What Pillow must have been built with, in the words of `PIL.features`."""
    extra: str | None = None
    """The extra of dermdistill that brings the plugin."""

    @property
    def remedy(self) -> str:
        """What to do where this format is not read."""
        return f"pip install 'dermdistill[{self.extra}]'" if self.extra else "pip install --upgrade pillow"


JPEG = ImageFormat("JPEG", "JPEG", "PIL.JpegImagePlugin", (".jpg", ".jpeg", ".jpe", ".jfif"))
PNG = ImageFormat("PNG", "PNG", "PIL.PngImagePlugin", (".png",))
TIFF = ImageFormat("TIFF", "TIFF", "PIL.TiffImagePlugin", (".tif", ".tiff"))
BMP = ImageFormat("BMP", "BMP", "PIL.BmpImagePlugin", (".bmp",))
WEBP = ImageFormat("WebP", "WEBP", "PIL.WebPImagePlugin", (".webp",), feature="webp")
GIF = ImageFormat("GIF", "GIF", "PIL.GifImagePlugin", (".gif",))
PPM = ImageFormat("PPM", "PPM", "PIL.PpmImagePlugin", (".ppm", ".pgm", ".pbm", ".pnm"))
JPEG2000 = ImageFormat(
    "JPEG 2000", "JPEG2000", "PIL.Jpeg2KImagePlugin", (".jp2", ".j2k", ".j2c", ".jpx", ".jpf"), feature="jpg_2000"
)
AVIF = ImageFormat("AVIF", "AVIF", "PIL.AvifImagePlugin", (".avif",), feature="avif")
HEIC = ImageFormat("HEIC", "HEIF", "pillow_heif", (".heic", ".heif"), extra="heic")
DICOM = ImageFormat("DICOM", "", "pydicom", (".dcm", ".dicom"), extra="dicom")

FORMATS = (JPEG, PNG, TIFF, BMP, WEBP, GIF, PPM, JPEG2000, AVIF, HEIC, DICOM)
IMAGE_SUFFIXES = frozenset(suffix for kind in FORMATS for suffix in kind.suffixes)
"""Suffixes of images, in lower case, with those of formats that this installation may not read."""

_MAGIC: tuple[tuple[bytes, ImageFormat | str], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"BM", BMP),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG2000),
    (b"\xff\x4f\xff\x51", JPEG2000),
    (b"%!PS", "an EPS or PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file"),
    (b"%PDF", "a PDF file"),
    (b"8BPS", "a Photoshop file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"<", "a text file (HTML, XML or SVG)"),
    (b"\0\x05\x16\x07", "a companion file of macOS"),
)
HEAD = 132
"""How many of a file's first bytes `recognise` wants."""


def recognise(head: bytes) -> ImageFormat | str | None:
    """The format of a file from its first bytes; a name in words if it is known and no image; None if unknown.

    Args:
        head: the first `HEAD` bytes, fewer if the file has fewer.
    """
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return PPM
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[128:132] == b"DICM":
        return DICOM
    return None


def _of_brands(head: bytes) -> ImageFormat | str:
    """AVIF, HEIC or a film: all are ISO base media files, which name their brands at the start."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return AVIF
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}:
        return HEIC
    return "a film"


@cache
def is_installed(kind: ImageFormat) -> bool:
    """Whether this installation reads a format. Imports its plugin, but for pydicom, which takes long."""
    if kind.plugin == "pillow_heif":
        if importlib.util.find_spec("pillow_heif") is None:
            return False
        importlib.import_module("pillow_heif").register_heif_opener()
    elif kind is DICOM:
        return importlib.util.find_spec(kind.plugin) is not None
    elif kind.feature is not None and not features.check(kind.feature):
        return False
    else:
        importlib.import_module(kind.plugin)
    return kind.pillow in Image.OPEN


def readable_suffixes() -> frozenset[str]:
    """The suffixes of the images that this installation reads, in lower case."""
    return frozenset(suffix for kind in FORMATS if is_installed(kind) for suffix in kind.suffixes)


def format_of_suffix(suffix: str) -> ImageFormat | None:
    """The format that a suffix such as '.JPG' stands for."""
    return next((kind for kind in FORMATS if suffix.lower() in kind.suffixes), None)
