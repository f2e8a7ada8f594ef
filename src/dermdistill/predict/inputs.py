"""What people give to `predict`: files, folders, globs, lists and URLs of any of them, in the order given."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from dermdistill.errors import InputError, MissingExtraError
from dermdistill.images.dicom.files import DICOMDIR, expand_frames, is_dicom, list_dicomdir
from dermdistill.images.dicom.header import Refused
from dermdistill.images.formats import DICOM, format_of_suffix, is_installed
from dermdistill.images.walk import Walked, is_litter, walk_images
from dermdistill.remote import WEB, UnreachableError, is_folder, is_url, list_files, scheme


class Files(Sequence[Path | str]):
    """Paths of local files, and URLs as text, in order. They are kept as text, which takes less memory."""

    def __init__(self, texts: Iterable[str] = ()):
        self._texts = list(texts)

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> Path | str: ...
    @overload
    def __getitem__(self, index: slice) -> "Files": ...
    def __getitem__(self, index: int | slice) -> "Path | str | Files":
        if isinstance(index, slice):
            return Files(self._texts[index])
        text = self._texts[index]
        return text if is_url(text) else Path(text)

    @property
    def any_url(self) -> bool:
        """Whether any of them is behind a URL."""
        return any(map(is_url, self._texts))

    def extend(self, files: Iterable[Path | str]) -> None:
        """Add files at the end."""
        self._texts.extend(map(str, files))


@dataclass
class Inputs:
    """The image files that arguments stand for, and what was passed over in folders."""

    files: Files = field(default_factory=Files)
    passed_over: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """What was passed over, such as '3 .txt, 1 .mp4'; empty if nothing was."""
        return Walked([], self.passed_over).summary()


def expand(arguments: Iterable[str], listed: Iterable[str] = ()) -> Inputs:
    """The image files that arguments stand for.

    A folder stands for the images beneath it, sorted; a pattern for what matches it, sorted; '-' for the lines of
    `listed`; a DICOMDIR for the images that it lists; anything else for itself, so that a missing file is reported in
    its own row. A DICOM object of several frames stands for its frames. A URL may name a file, a folder or a pattern;
    on web servers a folder ends with a slash and is listed where the server shows its files as links. Frames and
    DICOMDIRs are not looked for behind URLs.

    Args:
        arguments: what was given, in order.
        listed: lines with one path each, read when '-' is among the arguments.

    Raises:
        InputError: nothing was given, a folder, pattern or DICOMDIR holds no image, or a URL has a scheme that is not
            read.
        MissingExtraError: a DICOMDIR was given, and the extra `dicom` is not installed, or a URL without `remote`.
    """
    found = Inputs()
    for argument in arguments:
        for path in _one(argument, listed, found.passed_over):
            found.files.extend([path] if isinstance(path, str) else expand_frames(path))
    if not found.files:
        raise InputError("no images given: name files, folders or patterns, or - to read a list from standard input")
    return found


def _one(argument: str, listed: Iterable[str], passed_over: Counter[str]) -> Iterator[Path | str]:
    if argument == "-":
        yield from (_listed(line.rstrip("\r\n")) for line in listed if line.strip())
    elif is_url(argument):
        yield from _of_url(argument, passed_over)
    elif os.path.isdir(argument):  # noqa: PTH112  Path.is_dir raises where a name is too long
        inside = walk_images(argument)
        if not inside.images:
            there = inside.summary() or "it is empty"
            raise InputError(f"the folder {argument} holds no images that are read here; found instead: {there}")
        passed_over.update(inside.passed_over)
        yield from map(Path, inside.images)
    elif glob.has_magic(argument) and not os.path.exists(argument):  # noqa: PTH110
        matches = sorted(Path(name) for name in glob.glob(argument, recursive=True))  # noqa: PTH207
        if not matches:
            raise InputError(f"the pattern {argument} matches nothing")
        yield from (match for match in matches if match.is_file())
    elif os.path.basename(argument).upper() == DICOMDIR and is_dicom(argument):  # noqa: PTH119
        yield from _of_dicomdir(argument)
    else:
        yield Path(argument)


def _listed(line: str) -> Path | str:
    """A line of a list, which always names one file."""
    if not is_url(line):
        return Path(line)
    scheme(line)  # refuses one that is not read
    return line


def _of_url(argument: str, passed_over: Counter[str]) -> list[str]:
    """The images that a URL stands for: those beneath a folder, the matches of a pattern, or itself."""
    pattern = "*" in argument and scheme(argument) not in WEB
    if not pattern and not is_folder(argument):
        return [argument]
    try:
        inside = list_files(argument)
    except UnreachableError:
        raise
    except OSError as error:
        raise InputError(f"{argument} cannot be listed ({error}); check the address and your rights there") from None
    if pattern:
        if not inside:
            raise InputError(f"the pattern {argument} matches nothing")
        return inside
    reasons = {url: _not_read(url.removeprefix(argument)) for url in inside}
    passed = Counter(reason for reason in reasons.values() if reason is not None)
    images = [url for url, reason in reasons.items() if reason is None]
    if not images:
        there = Walked([], passed).summary() or "it is empty"
        raise InputError(f"the folder {argument} holds no images that are read here; found instead: {there}")
    passed_over.update(passed)
    return images


def _not_read(name: str) -> str | None:
    """Why a file beneath a folder in a store is not read as an image, from its path there; None if it is."""
    parts = name.strip("/").split("/")
    if any(map(is_litter, parts)):
        return "hidden or made by the system"
    suffix = os.path.splitext(parts[-1])[1].lower()  # noqa: PTH122
    kind = format_of_suffix(suffix)
    if kind is None:
        return suffix or "without a suffix"
    return None if is_installed(kind) else f"{suffix} ({kind.remedy})"


def _of_dicomdir(argument: str) -> list[Path]:
    if not is_installed(DICOM):
        raise MissingExtraError("dicom", DICOM.plugin)
    try:
        found = list_dicomdir(argument)
    except Refused as error:
        raise InputError(f"{argument}: {error}") from None
    if not found:
        raise InputError(f"{argument} lists no images")
    return found
