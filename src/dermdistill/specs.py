"""The strict base of every spec, headers of stored files, and errors in words. No torch, no pandas."""

import codecs
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dermdistill.errors import InputError, IntegrityError, did_you_mean
from dermdistill.files import read_json

Spec = TypeVar("Spec", bound=BaseModel)
Place = tuple[int | str, ...]
"""Keys and positions that lead to a value, as pydantic names them."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Field(pattern=NAME)
"""A name that is a folder's too."""
MAX_TEXT = 2**20
"""Bytes of a recipe."""
MAX_PARTS = 32
"""Of a dotted key in a recipe; the time for reading one grows with their square."""


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Header(BaseModel):
    """A frozen model of a stored JSON file; keys of later versions are kept and left alone.

    Subclasses add `format: Literal["dermdistill-…/1"]`, which names the kind of file and its version.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    def plain(self) -> dict[str, Any]:
        """The keys and values of the file, those of other versions too."""
        return self.model_dump(mode="json", exclude_unset=True)


def parse(
    spec: type[Spec], content: dict[str, Any], where: str, line_of: Callable[[Place], int | None] = lambda _: None
) -> Spec:
    """Build a spec from plain values; every error is one line of words.

    Args:
        spec: the model.
        content: plain values.
        where: what the values come from, for messages.
        line_of: the line of a value in its file, if it comes from one.

    Raises:
        InputError: one line for each key that does not fit.
    """
    try:
        return spec.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where} does not fit:\n" + "\n".join(explain(error, spec, line_of))) from None


def explain(
    error: ValidationError, spec: type[BaseModel] | None = None, line_of: Callable[[Place], int | None] = lambda _: None
) -> list[str]:
    """Each of pydantic's findings as one line: where, what is wrong, what came.

    Args:
        error: the findings.
        spec: the model, for suggestions where a key is unknown.
        line_of: the line of a value in its file.
    """
    findings = error.errors()
    lines = []
    for finding in findings:
        loc = finding["loc"]
        if finding["type"] == "too_short" and any(_is_inside(other["loc"], loc) for other in findings):
            continue  # pydantic leaves out the items that do not fit, and then finds too few
        place = ".".join(str(part) for part in loc) or "recipe"
        line = line_of(loc)
        if line is not None:
            place += f" (line {line})"
        if finding["type"] == "extra_forbidden":
            lines.append(f"  {place}: unknown key" + _suggestion(spec, loc))
        else:
            came = "" if isinstance(finding["input"], dict) else f", got {finding['input']!r}"
            lines.append(f"  {place}: {finding['msg'].removeprefix('Value error, ')}{came}{_meant(finding)}")
    return lines


def _is_inside(loc: Place, outer: Place) -> bool:
    return len(loc) > len(outer) and loc[: len(outer)] == outer


def _suggestion(spec: type[BaseModel] | None, loc: Place) -> str:
    known = _keys_at(spec, loc[:-1]) if spec is not None else []
    return did_you_mean(loc[-1], known)


def _meant(finding: Mapping[str, Any]) -> str:
    """The nearest of the words that are allowed, where others are not."""
    return did_you_mean(finding["input"], re.findall("'([^']*)'", finding.get("ctx", {}).get("expected", "")))


def _keys_at(spec: type[BaseModel], loc: Place) -> list[str]:
    """The keys that are known at a place."""
    models = [spec]
    for part in loc:
        if isinstance(part, str):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [found for field in fields for found in _models_in(field.annotation)]
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def load_header(path: str | Path, model: type[Spec]) -> Spec:
    """Read the header of a stored file: run.json, bank.json, bundle.json and the like.

    Args:
        path: the JSON file.
        model: what it must fit; its field `format`, if it has one, names the kind of file.

    Raises:
        InputError: no such file.
        IntegrityError: not JSON, another kind of file or another version, or keys that are missing or do not fit.
    """
    content = read_json(path)
    known = get_args(model.model_fields["format"].annotation) if "format" in model.model_fields else ()
    found = content.get("format") if isinstance(content, dict) else None
    if known and found not in known:
        raise IntegrityError(f"{path} is not a {' or '.join(known)} file, its format is {found!r}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise IntegrityError(f"{path} is damaged:\n" + "\n".join(explain(error)) + "\nmake it again") from None


def load_toml(path: str | Path, spec: type[Spec]) -> Spec:
    """Read a TOML file into a spec.

    Raises:
        InputError: no such file, not UTF-8, not TOML, or a list of every key that does not fit, with its line.
    """
    path = Path(path)
    text = _read_text(path)
    if _DEEP.search(text):
        raise InputError(f"{path} is no recipe: it has a key of more than {MAX_PARTS} parts")
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, a number of thousands of digits, or nested too deep
        raise InputError(f"{path} is not TOML: {error}") from None
    return parse(spec, content, str(path), lambda place: line_of(text, place))


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_TEXT + 1)
    except FileNotFoundError:
        raise InputError(f"no such recipe: {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_TEXT:
        raise InputError(f"{path} has more than the {MAX_TEXT:,} bytes that are read of a recipe")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:200]:
        raise InputError(f"{path} is encoded as UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


_DEEP = re.compile(rf"(?<![\w-])(?:(?:[\w-]+|\"[^\"\n]*\"|'[^'\n]*')\s*\.\s*){{{MAX_PARTS}}}")
_TABLE = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*=")


def line_of(text: str, place: Place) -> int | None:
    """The line of a key in a TOML text, counted from 1; of a key inside an inline value, where its name stands.

    Args:
        text: TOML.
        place: keys and positions that lead to the key.
    """
    lines = text.splitlines()
    places = list(_places(lines))
    for length in range(len(place), 0, -1):
        found = [line for where, line in places if where == place[:length]]
        if not found:
            continue
        last = str(place[-1])
        after = [line for _, line in places if line > found[0]]
        for number in range(found[0], min(after, default=len(lines) + 1)):
            if length < len(place) and re.search(rf"(?<![\w-]){re.escape(last)}(?![\w-])\s*=", lines[number - 1]):
                return number
        return found[0]
    return None


def _places(lines: list[str]) -> Iterator[tuple[Place, int]]:
    """The place of each table and each key that starts a line, with its line."""
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in enumerate(lines, 1):
        if header := _TABLE.match(line):
            table = ()
            parts = _split(header[2])
            for index, part in enumerate(parts):
                table = (*table, part)
                if header[1] == "[[" and index == len(parts) - 1:
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = (*table, counts[table])
            yield table, number
        elif key := _KEY.match(line):
            yield (*table, *_split(key[1])), number


def _split(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
