"""The ledger of a test: one line each time that somebody looks at it, beside the file of its split.

A test that was opened often has taken part in choosing what was tested, so that its figures are too good. The ledger
only ever grows: it is JSON lines, written at its end under a lock.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict

from dermdistill.errors import IntegrityError, OutputError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

USER = "DERMDISTILL_USER"
"""The variable that names who opens a test."""
SUFFIX = ".ledger.jsonl"


@dataclass(frozen=True)
class DeclaredTest:
    """A test that is declared one, and who opens it with what."""

    ledger: Path
    """The file that each opening is written to."""
    command: str
    """What opens it."""


class Opening(BaseModel):
    """One line of a ledger; keys that a later version adds are ignored."""

    model_config = ConfigDict(frozen=True)
    format: Literal["dermdistill-test-ledger/1"] = "dermdistill-test-ledger/1"
    time: str
    """UTC, to the second."""
    who: str
    data_sha256: str
    """Of the judged images, their labels and groups."""
    models: dict[str, str]
    """By name the SHA-256 of the model's weights, or of its predictions where its weights are not known."""
    command: str


def ledger_of(manifest: Path) -> Path:
    """Where the ledger of a manifest's test lies: beside the split if there is one, else beside the manifest."""
    for split in (manifest.with_name(f"{manifest.stem}.splits.json"), manifest.with_name("splits.json")):
        if split.is_file():
            return split.with_name(split.stem + SUFFIX)
    return manifest.with_name(manifest.stem + SUFFIX)


def who() -> str:
    """Who opens a test: $DERMDISTILL_USER, else git's user.name, else 'unknown'. Never the machine."""
    if named := os.environ.get(USER, "").strip():
        return named
    try:
        done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def record(test: DeclaredTest, data_sha256: str, models: dict[str, str]) -> list[Opening]:
    """Write that a test is opened now, and give every opening of the same images, this one last.

    Raises:
        OutputError: the ledger cannot be written; a test is not opened without it.
        IntegrityError: a line of it is damaged.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    opening = Opening(time=now, who=who(), data_sha256=data_sha256, models=models, command=test.command)
    line = json.dumps(opening.model_dump(mode="json"), ensure_ascii=False) + "\n"
    try:
        test.ledger.parent.mkdir(parents=True, exist_ok=True)
        with test.ledger.open("ab+") as stream, _locked(stream):
            stream.seek(0)
            known = [one for one in _parsed(stream.read(), test.ledger) if one.data_sha256 == data_sha256]
            stream.write(line.encode())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutputError(test.ledger, error) from None
    return [*known, opening]


def read_ledger(path: Path) -> list[Opening]:
    """Every opening in a ledger; nothing if there is none.

    Raises:
        IntegrityError: a line is damaged.
    """
    return list(_parsed(path.read_bytes(), path)) if path.is_file() else []


def _parsed(content: bytes, path: Path) -> Iterator[Opening]:
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                yield Opening.model_validate_json(line)
            except ValueError:
                raise IntegrityError(
                    f"line {number} of the test ledger {path} is damaged; mend it by hand from a copy, for nobody "
                    "knows otherwise how often the test was opened"
                ) from None


@contextmanager
def _locked(stream: IO[bytes]) -> Iterator[None]:
    """Keep other writers out, in this process and in others; where the system has no such lock, appending must do."""
    if fcntl is not None:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX)  # ends with the file
    yield
