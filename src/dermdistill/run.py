"""The run folder: what was asked, from what, with what, and what came out.

run.json          recipe, seed, versions, git commit, hashes of all inputs, hardware, status
metrics.jsonl     one line an epoch
checkpoints/      last.safetensors (exact resume)
model.safetensors the best weights by validation melanoma AUROC
predictions.parquet  logits of validation and test images
"""

import json
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import read_json, sha256_file, write_json, write_text

FORMAT = "dermdistill-run/1"
_PACKAGES = ("dermdistill", "numpy", "torch", "timm", "lightning-fabric", "safetensors", "pandas", "pillow")


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
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.parquet"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def header(self) -> dict[str, Any]:
        """The contents of run.json."""
        header = read_json(self.header_path)
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise IntegrityError(f"{self.header_path} is not a {FORMAT} file")
        return header

    def is_complete(self) -> bool:
        """Whether the run has ended well."""
        return self.header_path.exists() and self.header()["status"] == "complete"

    def weights(self) -> Path:
        """The file of the best weights of a finished run.

        Raises:
            IntegrityError: it is not the one that the run ended with.
        """
        if not self.model.exists() or sha256_file(self.model) != self.header()["model_sha256"]:
            raise IntegrityError(f"{self.model} is missing, or was changed after the run had ended; train it again")
        return self.model

    def finish(self, **facts: Any) -> None:
        """Mark the run as complete and add what is known only now."""
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.header_path, {**self.header(), **facts, "status": "complete", "finished": finished})

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


def open_run(folder: str | Path, identity: dict[str, Any]) -> Run:
    """Make a run folder, or open the one that is there if it is the same run, or has not yet learned anything.

    Args:
        folder: where the run lives.
        identity: everything that decides the result (stage, recipe, seed, input hashes).

    Raises:
        InputError: the folder holds another run; the differing keys are named.
    """
    run = Run(Path(folder))
    if run.header_path.exists():
        header = run.header()
        different = differing(header, identity)
        if not different:
            return run
        if run.checkpoint.exists() or run.is_complete():
            raise InputError(
                f"{run.folder} holds another run: {', '.join(different)} differ from what is asked for; "
                "choose another folder or remove this one"
            )
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(
        run.header_path,
        {
            "format": FORMAT,
            **identity,
            "versions": versions(),
            "git_commit": git_commit(),
            "hardware": hardware(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "running",
        },
    )
    return run


def differing(header: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    """The keys in which a run is another one; a recipe's keys that it lacks, being older, count as their defaults."""
    asked = json.loads(json.dumps(identity))
    return [key for key in asked if _compared(header, key, header.get(key)) != _compared(header, key, asked[key])]


def _compared(header: dict[str, Any], key: str, value: Any) -> Any:
    from dermdistill.distillation.spec import complete

    return complete(header.get("stage", ""), value) if key == "recipe" and isinstance(value, dict) else value


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
