"""The strict base of every spec, and errors told in words. No torch, no pandas."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import read_json

Spec = TypeVar("Spec", bound=BaseModel)

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Field(pattern=NAME)
"""A name that is a folder's too."""


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse(spec: type[Spec], content: dict[str, Any], where: str) -> Spec:
    """Build a spec from plain values, telling every error in words.

    Raises:
        InputError: one line for each key that does not fit.
    """
    try:
        return spec.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where} does not fit:\n" + "\n".join(explain(error))) from None


def load_header(path: str | Path, model: type[Spec]) -> Spec:
    """Read a JSON header into its model, whose field `format` has the expected format as its default.

    Raises:
        InputError: the file does not exist.
        IntegrityError: it is of another format, or a line for each key that does not fit.
    """
    content, expected = read_json(path), model.model_fields["format"].default
    given = content.get("format") if isinstance(content, dict) else None
    if given != expected:
        raise IntegrityError(f"{path} is not a {expected} file, its format is {given!r}; make it again")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = "\n".join(explain(error))
        raise IntegrityError(f"{path} does not fit its format {expected}; make it again:\n{lines}") from None


def explain(error: ValidationError) -> list[str]:
    """Each of pydantic's findings as one line: where, what is wrong, what came."""
    lines = []
    for finding in error.errors():
        place = ".".join(str(part) for part in finding["loc"]) or "recipe"
        if finding["type"] == "extra_forbidden":
            lines.append(f"  {place}: unknown key")
        else:
            came = "" if isinstance(finding["input"], dict) else f", got {finding['input']!r}"
            lines.append(f"  {place}: {finding['msg'].removeprefix('Value error, ')}{came}")
    return lines
