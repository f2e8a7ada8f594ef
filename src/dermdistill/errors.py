"""Errors that are told to people: what came, what was expected, and how to mend it."""


class DermdistillError(Exception):
    """The root of every error that dermdistill raises on purpose.

    The command line prints its message without a traceback and exits with `exit_code`.
    """

    exit_code = 1


class InputError(DermdistillError, ValueError):
    """Something that the caller gave does not fit: a path, a table, a recipe, an option."""

    exit_code = 2


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
