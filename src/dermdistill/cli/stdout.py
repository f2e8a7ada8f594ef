"""Standard output that may be full, closed, or whose reader may have left."""

import contextlib
import os
import sys
from collections.abc import Iterator

from dermdistill.errors import OutputError


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """What the block prints is out when it ends.

    A reader that has left, such as `head`, ends the block quietly.

    Raises:
        OutputError: standard output cannot be written.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
    except OSError as error:
        if error.filename is not None:
            raise  # of something else
        raise OutputError("standard output", error) from None


def abandon_stdout() -> None:
    """Drop what standard output still holds; else the interpreter tries once more to write it, and complains."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
