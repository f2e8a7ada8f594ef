"""Errors in words for users: what came, what was expected, and how to mend it."""

import difflib
import errno
import os
from collections.abc import Iterable
from enum import IntEnum

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


ISSUES = "https://github.com/dermdistill/dermdistill/issues"
"""Where faults are reported."""


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    REFUSED = 2
    FAULT = 70
    STOPPED = 130


EXIT_CODES = {
    ExitCode.OK: "All went well.",
    ExitCode.FAILED: "It ran, and something is wrong: images that failed, sets that share images, a package that is "
    "missing or broken, a publisher that cannot be reached.",
    ExitCode.REFUSED: "The command, a recipe, an input or a stored file does not fit, or an output cannot be written.",
    ExitCode.FAULT: "A fault of dermdistill, or of a package that it uses; `--debug` shows where.",
    ExitCode.STOPPED: "Stopped by Ctrl-C or a signal; a training goes on with the same command.",
}
"""What each exit code of the command line means, as help and documentation say it."""


class DermdistillError(Exception):
    """The root of every error that dermdistill raises on purpose.

    The command line prints its message without a traceback and exits with `exit_code`.
    """

    exit_code = ExitCode.FAILED


class InputError(DermdistillError, ValueError):
    """Something that the caller gave does not fit: a path, a table, a recipe, an option."""

    exit_code = ExitCode.REFUSED


class OutputError(InputError):
    """Something cannot be written where it was asked for."""

    def __init__(self, path: str | os.PathLike[str], error: OSError):
        super().__init__(f"cannot write {os.fspath(path)}: {explain_os_error(error)}")


class IntegrityError(DermdistillError):
    """A stored artefact does not match the hash, schema or shape that was recorded for it."""

    exit_code = ExitCode.REFUSED


class FaultError(DermdistillError):
    """An error that nobody foresaw."""

    exit_code = ExitCode.FAULT

    def __init__(self, error: BaseException):
        said = " ".join(str(error).split())
        super().__init__(
            f"{type(error).__name__}{f': {said}' if said else ''}. This is a fault of dermdistill, or of a package "
            f"that it uses; --debug shows where it comes from. Please report it: {ISSUES}"
        )


class MissingExtraError(DermdistillError, ImportError):
    """A stage was asked for whose optional dependencies are not installed."""

    def __init__(self, extra: str, package: str):
        super().__init__(
            f"this needs the package '{package}', which is not installed; "
            f"install it with: pip install 'dermdistill[{extra}]'"
        )


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`; did you mean 'CLOSE'?` with the nearest of the known names, to end a refusal with; empty if none is near."""
    close = difflib.get_close_matches(str(name), list(known), 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def no_such(what: str, name: object, known: Iterable[str]) -> InputError:
    """The refusal of a name that nothing has, with the nearest one and all that there are.

    Args:
        what: such as 'recipe'.
        name: what was given.
        known: the names that there are.
    """
    names = list(known)
    close = did_you_mean(name, names)
    there = f"{close} There" if close else "; there"
    return InputError(f"no {what} is called '{name}'{there} are {', '.join(names) or 'none'}")
