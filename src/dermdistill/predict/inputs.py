"""What people give to `predict`: files, folders, globs and lists, in the order given."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dermdistill.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})


def expand(arguments: Iterable[str], listed: Iterable[str] = ()) -> list[Path]:
    """The image files that arguments stand for.

    A folder stands for the images beneath it, sorted; a pattern for what matches it, sorted; '-' for the lines of
    `listed`; anything else for itself, so that a missing file is reported in its own row.

    Args:
        arguments: what was given, in order.
        listed: lines with one path each, read when '-' is among the arguments.

    Raises:
        InputError: nothing was given, or a folder or pattern holds no image.
    """
    found = [path for argument in arguments for path in _one(argument, listed)]
    if not found:
        raise InputError("no images given: name files, folders or patterns, or - to read a list from standard input")
    return found


def _one(argument: str, listed: Iterable[str]) -> Iterator[Path]:
    if argument == "-":
        yield from (Path(line.rstrip("\r\n")) for line in listed if line.strip())
        return
    path = Path(argument)
    if os.path.isdir(argument):  # noqa: PTH112  Path.is_dir raises where a name is too long
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not inside:
            raise InputError(f"the folder {path} holds no images ({', '.join(sorted(SUFFIXES))})")
        yield from inside
    elif glob.has_magic(argument) and not os.path.exists(argument):  # noqa: PTH110
        matches = sorted(Path(name) for name in glob.glob(argument, recursive=True))  # noqa: PTH207
        if not matches:
            raise InputError(f"the pattern {argument} matches nothing")
        yield from (match for match in matches if match.is_file())
    else:
        yield path
