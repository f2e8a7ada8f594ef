"""What lies beneath a folder: images, and what only looks like one or is none that can be read."""

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from dermdistill.errors import InputError
from dermdistill.images.decode import MAX_PIXELS
from dermdistill.images.formats import DICOM, FORMATS, GIF, ImageFormat, format_of_suffix, is_installed
from dermdistill.images.walk import is_litter

HDF5_SUFFIXES = (".hdf5", ".h5", ".hdf")
OTHER_FORMATS = {
    ".jxl": "JPEG XL", ".dng": "raw", ".cr2": "raw", ".cr3": "raw", ".nef": "raw",
    ".arw": "raw", ".svg": "SVG", ".pdf": "PDF", ".zip": "zip", ".tar": "tar", ".gz": "gzip", ".7z": "7z",
    ".rar": "rar", ".npy": "NumPy", ".npz": "NumPy", **dict.fromkeys(HDF5_SUFFIXES, "HDF5"),
}  # fmt: skip
"""Files that may hold images, but are not read from a folder; they are named."""
_SET_ASIDE = (GIF, DICOM)
"""Formats that are read but not learned from: few colours; patients' data."""

LITTER = "system files"
MASKS = "masks"
THUMBNAILS = "thumbnails"
COPIES = "further copies of the same file"
UNUSED = "images that no row of the tables uses"

_MASK_NAME = re.compile(
    r"[_\-. ](segmentations?|seg|masks?|superpixels?|binary|gt|attribute_[a-z_]+|roi|r\d+_label\d+)$", re.IGNORECASE
)
_WEAK_MASK_NAME = re.compile(r"[_\-. ]lesion$", re.IGNORECASE)
_MASK_FOLDER = re.compile(
    r"(^|[_\-. ])(masks?|segmentations?|seg|superpixels?|annotations?|roi)($|[_\-. ])|task[12]_.*groundtruth|"
    r"part[12]b?_.*groundtruth",
    re.IGNORECASE,
)
_THUMBNAIL_FOLDER = re.compile(r"(^|[_\-. ])(thumb(nail)?s?|previews?|icons?)($|[_\-. \d])", re.IGNORECASE)
_THUMBNAIL_NAME = re.compile(r"[_\-. ]thumb(nail)?$", re.IGNORECASE)
_TWO_VALUED = 0.99
"""Share of a grey image's pixels at its two ends from which it is a mask."""
_FEW_COLOURS = 8
"""At most so many colours are labels of regions, not a photograph."""
_LINK_LENGTH = 255
"""Longest path, in bytes, that a link is thought to hold."""
_LOOKED_AT = 256
"""Side to which masks are sampled."""


@dataclass
class Survey:
    """The files beneath a folder."""

    root: Path
    images: list[Path] = field(default_factory=list)
    """Candidates, sorted; masks and thumbnails that their names give away are not among them."""
    hdf5: list[Path] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    """Paths of what is passed over, by reason; litter counts, too."""

    def pass_over(self, reason: str, path: Path) -> None:
        """Record a file that is not used."""
        self.passed_over.setdefault(reason, []).append(str(path))

    def describe(self) -> str:
        """What was found, for an error that says that nothing was usable."""
        found = [f"{len(self.images)} images, e.g. {self.images[0].name}"] if self.images else []
        found += [
            f"{len(paths)} {reason}, e.g. {Path(paths[0]).name}"
            for reason, paths in self.passed_over.items()
            if reason not in (LITTER, UNUSED)
        ]
        return "; ".join(found) or "no images"


@cache
def read_formats() -> tuple[ImageFormat, ...]:
    """The formats that are taken from folders: those that this installation reads, but for those of `_SET_ASIDE`."""
    return tuple(kind for kind in FORMATS if kind not in _SET_ASIDE and is_installed(kind))


def _not_taken(suffix: str) -> str | None:
    """What a file that may hold an image is, if it is not taken for one."""
    kind = format_of_suffix(suffix)
    if kind is None:
        return f"{OTHER_FORMATS[suffix]} files ({suffix})" if suffix in OTHER_FORMATS else None
    if kind in read_formats():
        return None
    needs = "" if kind in _SET_ASIDE or is_installed(kind) else f", which need {kind.remedy}"
    return f"{kind.name} files ({suffix}){needs}"


def survey(root: Path) -> Survey:
    """Walk through a folder, following symlinked folders.

    Raises:
        InputError: a symlink leads back to a folder above it.
    """
    found = Survey(root)
    for path in _walk(root, found):
        suffix = path.suffix.lower()
        if suffix in HDF5_SUFFIXES:
            found.hdf5.append(path)
        if reason := _not_taken(suffix):
            found.pass_over(reason, path)
        elif format_of_suffix(suffix):
            found.images.append(path)
    return _without_named(found)


def _walk(root: Path, found: Survey) -> Iterator[Path]:
    """Every file that is not litter, sorted within its folder."""
    above = {str(root): frozenset({os.path.realpath(root)})}
    for folder, folders, files in os.walk(root, followlinks=True):
        ancestors = above.pop(folder)
        kept = []
        for name in sorted(folders):
            path = Path(folder) / name
            if is_litter(name):
                found.pass_over(LITTER, path)
                continue
            real = os.path.realpath(path)
            if real in ancestors:
                raise InputError(f"{path} is a link to {real}, a folder above it: remove the link, it makes a loop")
            above[os.path.join(folder, name)] = ancestors | {real}  # noqa: PTH118 as os.walk joins
            kept.append(name)
        folders[:] = kept
        for name in sorted(files):
            path = Path(folder) / name
            if is_litter(name):
                found.pass_over(LITTER, path)
            elif path.is_file():
                _require_no_text_link(path)
                yield path
            elif path.is_symlink():
                found.pass_over("broken links", path)


def _require_no_text_link(path: Path) -> None:
    """Refuse a link that a copy without links turned into a small text file: its folder would vanish."""
    if path.suffix or path.stat().st_size > _LINK_LENGTH:
        return
    try:
        target = path.read_bytes().decode().strip()
        is_folder = bool(target) and "\n" not in target and (path.parent / target).is_dir()
    except (OSError, ValueError):
        return
    if is_folder:
        raise InputError(
            f"{path} is a text file that says '{target}', as a link becomes when it is copied where links are not "
            "known; put the link, or the folder itself, in its place"
        )


def _without_named(found: Survey) -> Survey:
    """Pass over masks and thumbnails that a name or folder gives away."""
    stems = {path.stem.lower() for path in found.images}
    kept = []
    for path in sorted(found.images):
        reason = _named_kind(path, found.root, stems)
        if reason:
            found.pass_over(reason, path)
        else:
            kept.append(path)
    found.images = kept
    return found


def _named_kind(path: Path, root: Path, stems: set[str]) -> str | None:
    stem = path.stem
    folders = path.relative_to(root).parts[:-1]
    bare = _WEAK_MASK_NAME.sub("", stem)
    if _MASK_NAME.search(stem) or any(_MASK_FOLDER.search(name) for name in folders):
        return MASKS
    if bare != stem and bare.lower() in stems:  # 'x_lesion' alone may be a lesion's photograph
        return MASKS
    if _THUMBNAIL_NAME.search(stem) or any(_THUMBNAIL_FOLDER.search(name) for name in folders):
        return THUMBNAILS
    return None


def opened(path: Path) -> Image.Image:
    """Open an image for a look at its header, without decoding it; close it after use.

    Raises:
        OSError: not an image of the formats that are read, or one with more pixels than are read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path, formats=[kind.pillow for kind in read_formats()])
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise OSError(f"{path} has more than {MAX_PIXELS} pixels")
    return image


def is_mask(path: Path, *, coloured: bool = False) -> bool:
    """Whether a file's pixels are those of a mask: 1-bit, of a few colours, or grey with nearly all values at two ends.

    Args:
        path: an image; one that cannot be read is no mask.
        coloured: look at the pixels of RGB files too, which takes their decoding.
    """
    try:
        with opened(path) as image:
            if image.mode == "1":
                return True
            if image.mode not in ("L", "P", "I;16") and not coloured:
                return False
            size = (min(image.width, _LOOKED_AT), min(image.height, _LOOKED_AT))
            pixels = np.asarray(image.resize(size, Image.Resampling.NEAREST).convert("RGB"), np.int16)
    except Exception:  # a damaged file is reported where it is decoded
        return False
    colours = len(np.unique(pixels.reshape(-1, 3), axis=0))
    if 1 < colours <= _FEW_COLOURS:
        return True
    low, high = int(pixels.min()), int(pixels.max())
    if high - low < 64 or int(np.ptp(pixels, axis=2).max()) > 16:
        return False
    margin = (high - low) // 16
    return float(((pixels <= low + margin) | (pixels >= high - margin)).mean()) >= _TWO_VALUED
