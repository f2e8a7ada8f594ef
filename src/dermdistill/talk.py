"""What is said to people: how much of it, in which colours, and progress bars.

A command sets the loudness; a library call leaves it at `NORMAL`. Results, warnings and errors are never held back.
"""

import os
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress


class Loudness(IntEnum):
    """How much is said."""

    QUIET = 0
    """Results, warnings and errors alone."""
    NORMAL = 1
    """What is being done, too."""
    VERBOSE = 2
    """From what and with what, too."""


_loudness = Loudness.NORMAL
YELLOW, RED = 33, 31


def set_loudness(loudness: Loudness) -> None:
    """Say more or less from now on, in this process."""
    global _loudness
    _loudness = loudness


def loudness() -> Loudness:
    """How much is said."""
    return _loudness


def say(line: str) -> None:
    """Tell on standard output what was done; not if quiet."""
    if _loudness >= Loudness.NORMAL:
        print(line, flush=True)


def note(line: str) -> None:
    """Tell on standard error what goes on; not if quiet."""
    if _loudness >= Loudness.NORMAL:
        _print(line, None)


def detail(line: str) -> None:
    """Tell on standard error from what and with what something is done; only if verbose."""
    if _loudness >= Loudness.VERBOSE:
        _print(line, None)


def warn(line: str) -> None:
    """Tell on standard error what to look at, in yellow."""
    _print(line, YELLOW)


def blame(line: str) -> None:
    """Tell on standard error what is wrong, in red."""
    _print(line, RED)


def _print(line: str, colour: int | None) -> None:
    if sys.stderr is None:  # closed by the caller
        return
    if colour is not None and is_coloured(sys.stderr):
        line = f"\033[{colour}m{line}\033[0m"
    print(line, file=sys.stderr, flush=True)


def is_coloured(stream: TextIO) -> bool:
    """Whether colours may be written: to a terminal that has them, unless the variable `NO_COLOR` is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bars(*, disable: bool = False, note: bool = False, of_bytes: bool = False) -> "Progress":
    """Progress bars with the time left, on standard error, which vanish in the end.

    They are drawn on a terminal alone; elsewhere not even an empty line is printed.

    Args:
        disable: draw none, such as in all processes but the first.
        note: each task has a field `note`, which stands behind its bar.
        of_bytes: what is counted are bytes.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"), BarColumn(), DownloadColumn() if of_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("left"),
    ]  # fmt: skip
    if note:
        columns.append(TextColumn("{task.fields[note]}"))
    console = Console(stderr=True)
    drawn = _loudness >= Loudness.NORMAL and sys.stderr is not None and sys.stderr.isatty() and console.is_interactive
    return Progress(*columns, console=console, transient=True, disable=disable or not drawn)
