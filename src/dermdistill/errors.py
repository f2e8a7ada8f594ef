"""Errors in words for users: what came, what was expected, and how to mend it."""

import errno
import os

HINTS = {
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some space, or choose another disk",
    errno.EACCES: "choose a place that you may read and write",
    errno.EPERM: "choose a place that you may read and write",
    errno.EROFS: "choose a place that you may write",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "part of the path is a file; name a folder there",
    errno.EEXIST: "part of the path is a file; name a folder there",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "the disk or device failed; choose another",
}
"""What to do about an error of the system."""


def explain_os_error(error: OSError) -> str:
    """What the system said, and what to do about it."""
    said = error.strerror or str(error) or type(error).__name__
    hint = HINTS.get(error.errno or 0)
    return f"{said}; {hint}" if hint else said


class DermdistillError(Exception):
    """The root of every error that dermdistill raises on purpose.

    The command line prints its message without a traceback and exits with `exit_code`.
    """

    exit_code = 1


class InputError(DermdistillError, ValueError):
    """Something that the caller gave does not fit: a path, a table, a recipe, an option."""

    exit_code = 2


class OutputError(InputError):
    """Something cannot be written where it was asked for."""

    def __init__(self, path: str | os.PathLike[str], error: OSError):
        super().__init__(f"cannot write {os.fspath(path)}: {explain_os_error(error)}")


class IntegrityError(DermdistillError):
    """A stored artefact does not match the hash, schema or shape that was recorded for it."""

    exit_code = 2


class MissingExtraError(DermdistillError, ImportError):
    """A stage was asked for whose optional dependencies are not installed."""

    def __init__(self, extra: str, package: str):
        super().__init__(
            f"this needs the package '{package}', which is not installed; "
            f"install it with: pip install 'dermdistill[{extra}]'"
        )
