"""What people give to `predict`: files, folders, globs and lists, in the order given."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dermdistill.errors import InputError
from dermdistill.images.walk import Walked, walk_images


@dataclass
class Inputs:
    """The image files that arguments stand for, and what was passed over in folders."""

    files: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """What was passed over, such as '3 .txt, 1 .dcm'; empty if nothing was."""
        return Walked([], self.passed_over).summary()


def expand(arguments: Iterable[str], listed: Iterable[str] = ()) -> Inputs:
    """The image files that arguments stand for.

    A folder stands for the images beneath it, sorted; a pattern for what matches it, sorted; '-' for the lines of
    `listed`; anything else for itself, so that a missing file is reported in its own row.

    Args:
        arguments: what was given, in order.
        listed: lines with one path each, read when '-' is among the arguments.

    Raises:
        InputError: nothing was given, or a folder or pattern holds no image.
    """
    found = Inputs()
    for argument in arguments:
        found.files.extend(_one(argument, listed, found.passed_over))
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
    else:
        yield Path(argument)
