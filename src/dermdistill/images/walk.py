"""The images beneath a folder, and a count of everything that is passed over."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dermdistill.images.dicom.files import DICOMDIR, is_dicom, may_be_dicom
from dermdistill.images.formats import DICOM, format_of_suffix, is_installed

LITTER = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin", "system volume information", "lost+found"})
"""Folders in which systems keep thumbnails and deleted files, in lower case."""
_LITTER_FILES = frozenset({"thumbs.db", "desktop.ini"})


@dataclass
class Walked:
    """What a walk found."""

    images: list[str] = field(default_factory=list)
    """Their paths, sorted; as text, which takes a quarter of the memory that path objects take."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """How many files or folders of each kind are no images that can be read."""

    def summary(self) -> str:
        """The kinds that were passed over, the most frequent first, such as '3 .txt, 1 .mp4'; empty if none."""
        return ", ".join(f"{count} {kind}" for kind, count in self.passed_over.most_common())


def walk_images(folder: str | Path) -> Walked:
    """Find the images beneath a folder by their suffixes.

    A file without a suffix, or with a number for one, is an image if it begins as DICOM files do. Symbolic links are
    followed; a link to a folder that holds the link is not. Hidden files and folders, and those that systems make
    (`._*`, `@eaDir`, `__MACOSX`), are passed over and counted, as are images in a format that this installation does
    not read and files of other kinds.

    Args:
        folder: where to look.
    """
    passed_over: Counter[str] = Counter()
    return Walked(list(_walk(str(Path(folder)), (), passed_over)), passed_over)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden or made by a system, and no image that anybody took."""
    return name.startswith(".") or name.lower() in LITTER or name.lower() in _LITTER_FILES


def _walk(folder: str, above: tuple[tuple[int, int], ...], passed_over: Counter[str]) -> Iterator[str]:
    """The images in the order of their paths, for the entries of a folder come in the order of their names."""
    try:
        status = os.stat(folder)  # noqa: PTH116
        here = (status.st_dev, status.st_ino)
        if here in above:
            passed_over["links to a folder that holds them"] += 1
            return
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        passed_over["folders that cannot be opened"] += 1
        return
    for entry in entries:
        if is_litter(entry.name):
            passed_over["hidden or made by the system"] += 1
        elif _is_folder(entry):
            yield from _walk(entry.path, (*above, here), passed_over)
        elif (reason := _not_read(entry)) is not None:
            passed_over[reason] += 1
        else:
            yield entry.path.removeprefix(os.path.join(os.curdir, ""))  # noqa: PTH118


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _not_read(entry: os.DirEntry[str]) -> str | None:
    """Why an entry is not read as an image; None if it is."""
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
    kind = format_of_suffix(suffix)
    if kind is None and may_be_dicom(entry.name) and is_dicom(entry.path):
        kind = None if entry.name.upper() == DICOMDIR else DICOM
    if kind is None:
        return suffix or "without a suffix"
    if not is_installed(kind):
        return f"{suffix or kind.name} ({kind.remedy})"
    try:
        return None if entry.is_file() else f"{suffix} that is no file"
    except OSError:
        return f"{suffix} that cannot be opened"
