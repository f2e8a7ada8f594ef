"""What people give to `predict`: files, folders, globs and lists, in the order given."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dermdistill.errors import InputError, MissingExtraError
from dermdistill.images.dicom.files import DICOMDIR, expand_frames, is_dicom, list_dicomdir
from dermdistill.images.dicom.header import Refused
from dermdistill.images.formats import DICOM, is_installed
from dermdistill.images.walk import Walked, walk_images


@dataclass
class Inputs:
    """The image files that arguments stand for, and what was passed over in folders."""

    files: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """What was passed over, such as '3 .txt, 1 .mp4'; empty if nothing was."""
        return Walked([], self.passed_over).summary()


def expand(arguments: Iterable[str], listed: Iterable[str] = ()) -> Inputs:
    """The image files that arguments stand for.

    A folder stands for the images beneath it, sorted; a pattern for what matches it, sorted; '-' for the lines of
    `listed`; a DICOMDIR for the images that it lists; anything else for itself, so that a missing file is reported in
    its own row. A DICOM object of several frames stands for its frames.

    Args:
        arguments: what was given, in order.
        listed: lines with one path each, read when '-' is among the arguments.

    Raises:
        InputError: nothing was given, or a folder, pattern or DICOMDIR holds no image.
        MissingExtraError: a DICOMDIR was given, and the extra `dicom` is not installed.
    """
    found = Inputs()
    for argument in arguments:
        for path in _one(argument, listed, found.passed_over):
            found.files.extend(expand_frames(path))
    if not found.files:
        raise InputError("no images given: name files, folders or patterns, or - to read a list from standard input")
    return found


def _one(argument: str, listed: Iterable[str], passed_over: Counter[str]) -> Iterator[Path]:
    if argument == "-":
        yield from (Path(line.rstrip("\r\n")) for line in listed if line.strip())
    elif os.path.isdir(argument):  # noqa: PTH112  Path.is_dir raises where a name is too long
        inside = walk_images(argument)
        if not inside.images:
            there = inside.summary() or "it is empty"
            raise InputError(f"the folder {argument} holds no images that are read here; found instead: {there}")
        passed_over.update(inside.passed_over)
        yield from inside.images
    elif glob.has_magic(argument) and not os.path.exists(argument):  # noqa: PTH110
        matches = sorted(Path(name) for name in glob.glob(argument, recursive=True))  # noqa: PTH207
        if not matches:
            raise InputError(f"the pattern {argument} matches nothing")
        yield from (match for match in matches if match.is_file())
    elif os.path.basename(argument).upper() == DICOMDIR and is_dicom(argument):  # noqa: PTH119
        yield from _of_dicomdir(argument)
    else:
        yield Path(argument)


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
