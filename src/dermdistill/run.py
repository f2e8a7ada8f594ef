"""The run folder: what was asked, from what, with what, and what came out.

run.json          recipe, seed, versions, git commit, hashes of all inputs, hardware, status
metrics.jsonl     one line an epoch
checkpoints/      last.safetensors (exact resume) and previous.safetensors, should the last be damaged
model.safetensors the best weights by validation melanoma AUROC
predictions.parquet  logits of validation and test images
training-keys.npz hashes of what the training images are, by which an overlap with other images is found
"""

import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import sha256_file, write_json, write_text
from dermdistill.specs import Header, load_header

FORMAT = "dermdistill-run/1"
TABLE = "table"
"""The `model` of a teacher whose logits came as a table."""
_PACKAGES = ("dermdistill", "numpy", "torch", "timm", "lightning-fabric", "safetensors", "pandas", "pillow")


class Taught(Header):
    """A teacher whose soft labels a student learned."""

    name: str
    model: str
    image_size: int | None
    """None for logits that came as a table."""
    model_sha256: str
    licences: tuple[str, ...] | None = None
    """Of the images that it learned from; None where its run does not say."""


class AnyInputs(Header):
    """The hashes of what any run started from."""

    manifest: str | None = None


class Inputs(AnyInputs):
    """The SHA-256 of what a teacher or student was trained on."""

    manifest: str
    splits: str
    bank: str | None = None
    teachers: tuple[str, ...] = ()
    """The weights of the teachers; runs of banks that were made before this was recorded have it in `taught_by`."""
    weights: str | None = None
    """The file of pretrained weights."""


class RunHeader(Header):
    """run.json of any run: of a network in training, of one that is finished, of a benchmark."""

    format: Literal["dermdistill-run/1"]
    stage: str = ""
    status: Literal["running", "complete"]
    recipe: dict[str, Any] = Field(default_factory=dict)
    taught_by: tuple[Taught, ...] = ()
    model: str | None = None
    image_size: int | None = None
    seed: int | None = None
    inputs: AnyInputs | None = None
    parameters: int | None = None
    macs: int | None = None
    model_sha256: str | None = None
    """Of the best weights."""
    rounded: str | None = None
    """The type to which the weights were rounded after training, such as `float16`."""
    git_commit: str | None = None
    hardware: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    """Of Python and of the packages that the result depends on."""


class FinishedHeader(RunHeader):
    """run.json of a finished teacher or student, or of a teacher whose logits came as a table."""

    stage: Literal["teacher", "student"]
    status: Literal["complete"]
    name: str
    model: str
    """The network; of logits that came as a table `table`."""
    classes: tuple[str, ...]
    seed: int
    inputs: Inputs
    roles: dict[str, int]
    data_sources: tuple[str, ...] = ()
    data_licences: tuple[str, ...] | None = None
    """Of the images that it learned from; None where that is not known."""
    best_auroc: float | None
    model_sha256: str


class TrainedHeader(FinishedHeader):
    """run.json of a finished teacher or student that is a network."""

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameters: int
    macs: int
    best_epoch: int
    training_seconds: float


@dataclass(frozen=True)
class Run:
    """A run folder on disk."""

    folder: Path

    @property
    def header_path(self) -> Path:
        return self.folder / "run.json"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.safetensors"

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint before the last one."""
        return self.folder / "checkpoints" / "previous.safetensors"

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.parquet"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def load(self) -> RunHeader:
        """The header of any run.

        Raises:
            InputError: no run here.
            IntegrityError: run.json is damaged, or is another kind of file.
        """
        return load_header(self.header_path, RunHeader)

    def finished(self) -> FinishedHeader:
        """The header of a finished teacher or student, a network or not.

        Raises:
            InputError: no run here, one that is not finished, or another kind of run.
        """
        header = self.load()
        if header.stage not in ("teacher", "student"):
            raise InputError(f"{self.folder} is not a teacher or student, its stage is '{header.stage}'")
        if header.status != "complete":
            raise InputError(f"{self.folder} is not finished; train it to the end first")
        return load_header(self.header_path, FinishedHeader if header.model == TABLE else TrainedHeader)

    def trained(self) -> TrainedHeader:
        """The header of a finished teacher or student that is a network.

        Raises:
            InputError: no run here, one that is not finished, or one that is no network.
        """
        header = self.finished()
        if not isinstance(header, TrainedHeader):
            raise InputError(f"{self.folder} is a table of logits and no network; it can teach, and nothing else")
        return header

    def is_complete(self) -> bool:
        """Whether the run has ended well."""
        return self.header_path.exists() and self.load().status == "complete"

    def has_learned(self) -> bool:
        """Whether something would be lost if the run was replaced."""
        return self.checkpoint.exists() or self.previous_checkpoint.exists() or self.is_complete()

    def weights(self) -> Path:
        """The file of the best weights of a finished run.

        Raises:
            IntegrityError: it is not the one that the run ended with.
        """
        if not self.model.exists() or sha256_file(self.model) != self.load().model_sha256:
            raise IntegrityError(f"{self.model} is missing, or was changed after the run had ended; train it again")
        return self.model

    def finish(self, **facts: Any) -> None:
        """Mark the run as complete and add what is known only now."""
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.header_path, {**self.load().plain(), **facts, "status": "complete", "finished": finished})

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with self.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, allow_nan=False) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All whole lines of metrics.jsonl; a last line torn by a kill is left out."""
        if not self.metrics.exists():
            return []
        lines = []
        for text in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines

    def keep_metrics(self, epochs: int) -> None:
        """Drop the metrics of epochs that a resumed run will do again."""
        kept = [line for line in self.read_metrics() if line["epoch"] < epochs]
        write_text(self.metrics, "".join(json.dumps(line) + "\n" for line in kept))


class Change(NamedTuple):
    """A key of an identity whose value is another one than before."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key} was {_shown(self.old)} and is {_shown(self.new)} now"


class _Special:
    """A value that is no value."""

    def __init__(self, words: str):
        self.words = words

    def __repr__(self) -> str:
        return self.words


UNKNOWN = _Special("not known yet")
"""The value in an identity of what an earlier stage has yet to make, or of no importance; it equals everything."""
ABSENT = _Special("not set")
"""The value of a key that is not there."""


def _shown(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:56]}…'" if isinstance(value, str) else f"{text[:57]}…"


def changes(old: Any, new: Any, key: str = "") -> Iterator[Change]:
    """The keys in which two identities differ, nested ones with dots.

    Args:
        old: as it was recorded, plain values; at the top it may have other keys besides, which are not compared.
        new: as it is asked for.
        key: where the two stand.
    """
    if old is UNKNOWN or new is UNKNOWN:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*new, *(name for name in old if key and name not in new)]:
            place = f"{key}.{name}" if key else str(name)
            yield from changes(old.get(name, ABSENT), new.get(name, ABSENT), place)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        if any(True for pair in zip(old, new, strict=True) for _ in changes(*pair)):
            yield Change(key, old, new)
    elif _value(old) != _value(new):
        yield Change(key, old, new)


def _value(value: Any) -> Any:
    return None if value is ABSENT else value


def open_run(
    folder: str | Path,
    identity: dict[str, Any],
    facts: dict[str, Any] | None = None,
    *,
    older: Callable[[RunHeader], dict[str, Any]] = RunHeader.plain,
) -> Run:
    """Make a run folder, or open the one that is there if it is the same run, or has not yet learned anything.

    Args:
        folder: where the run lives.
        identity: everything that decides the result (stage, recipe, seed, input hashes).
        facts: what follows from the identity, and is recorded beside it, or in place of what is not compared.
        older: the values of a header, one of an earlier version in today's form.

    Raises:
        InputError: the folder holds another run; the keys that changed are named.
    """
    run = Run(Path(folder))
    if run.header_path.exists():
        different = list(changes(older(run.load()), identity))
        if not different:
            return run
        if run.has_learned():
            raise InputError(f"{run.folder} holds another run: {'; '.join(map(str, different))}; choose another folder")
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(
        run.header_path,
        {
            "format": FORMAT,
            **identity,
            **(facts or {}),
            "versions": versions(),
            "git_commit": git_commit(),
            "hardware": hardware(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "running",
        },
    )
    return run


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the source tree that this package runs from, with '+changes' if it is dirty."""
    folder = Path(__file__).parent
    command = [
        "git",
        "-C",
        str(folder),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty=+changes",
        "--exclude=*",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def hardware() -> str:
    """The machine in words: processor, cores, accelerator."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    words = [f"{processor}, {os.cpu_count()} cores"]
    try:
        import torch
    except ModuleNotFoundError:
        return words[0]
    if torch.cuda.is_available():
        words += [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(words)
