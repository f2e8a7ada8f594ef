"""Answers in Parquet shards, so that a job that was killed goes on, and several machines can share one.

    job.json                       what decides the answers (`Job`); written first, never changed
    part-00000-of-00040.parquet    the answers of the first fortieth of the sorted list of images

A shard is written whole or not at all, and depends on its images and on the job alone: not on threads, engines or on
what was done before. pyarrow, of the extra `remote`, is imported when a shard is written or read.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from dermdistill.classes import DISCLAIMER
from dermdistill.errors import DermdistillError, InputError, IntegrityError, MissingExtraError
from dermdistill.files import read_json, sha256_file
from dermdistill.predict.gate import WhenRefused
from dermdistill.predict.output import columns, row
from dermdistill.predict.pipeline import BATCH
from dermdistill.predict.predictor import REFUSED, Predictor, Result, WhenDamaged
from dermdistill.predict.runtime import RuntimeName
from dermdistill.predict.variants import Precision
from dermdistill.remote import is_url, join, read, require_writable, write_to

JOB = "job.json"
PER_SHARD = 10_000
"""Images in a shard where their number is not given: minutes of work, and some megabytes."""
FORMAT = "dermdistill-shards/1"
_LIMIT = 100_000_000
"""Bytes of a job.json or of a shard that are read from a store."""


class PausedError(DermdistillError):
    """A shard cannot be finished now; those that are finished stay."""


@dataclass(frozen=True)
class Settings:
    """How a predictor is made; everything that a worker on another machine must know of it."""

    model: str
    """The bundle's folder."""
    threshold: float
    """0 to 1."""
    fast: bool = False
    damaged: WhenDamaged = "refuse"
    runtime: RuntimeName = "onnxruntime"
    precision: Precision = "fp32"
    batch_size: int = BATCH
    """Images a forward pass."""
    gate: WhenRefused = "refuse"

    def predictor(self, threads: int | None = None) -> Predictor:
        """A predictor of these settings."""
        return Predictor(
            self.model, threshold=self.threshold, threads=threads, fast=self.fast, damaged=self.damaged,
            gate=self.gate, runtime=self.runtime, precision=self.precision,
        )  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What decides the bytes of all shards; where one value differs it is another job."""

    model: str
    """The bundle's name and version."""
    graph_sha256: str
    """Of the network's file."""
    gate_sha256: str | None
    """Of the gate's file; None where no gate is asked."""
    threshold: float
    fast: bool
    damaged: str
    gate: str
    runtime: str
    precision: str
    batch_size: int
    images: int
    """How many there are."""
    list_sha256: str
    """Of their sorted names, each followed by a line feed."""
    shards: int
    """Into how many parts the list is divided."""
    resizer: str = "pillow"
    """What shrinks images, see `Predictor.resizer`."""

    @classmethod
    def of(cls, predictor: Predictor, settings: Settings, images: Sequence[str], shards: int) -> Self:
        """The job of judging some images.

        Args:
            predictor: made from `settings`.
            settings: how answers are made.
            images: sorted paths or URLs.
            shards: how many, 1 to the number of images.
        """
        digest = hashlib.sha256()
        for name in images:
            digest.update(f"{name}\n".encode(errors="surrogateescape"))
        spec, how = predictor.bundle.spec, asdict(settings)
        del how["model"]
        return cls(
            model=f"{spec.name} {spec.version}", graph_sha256=sha256_file(predictor.graph),
            gate_sha256=None if predictor.gate is None else sha256_file(predictor.gate.graph), images=len(images),
            list_sha256=digest.hexdigest(), shards=shards, resizer=predictor.resizer, **how,
        )  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """What became of the images of a shard."""

    images: int
    failed: int
    """Images without a probability, those that the gate refuses among them."""
    damaged: int
    """Damaged images with one."""
    refused: int
    """Images that the gate refuses, with or without one."""


def divide(images: Iterable[str], shards: int) -> tuple[list[str], int]:
    """The sorted list, and into how many parts it is divided: at most as many as there are images.

    Args:
        images: paths or URLs in any order.
        shards: how many are asked for; 0 for one for each `PER_SHARD` images.
    """
    found = sorted(images)
    return found, min(len(found), shards or -(-len(found) // PER_SHARD))


def part(images: Sequence[str], shard: int, shards: int) -> Sequence[str]:
    """The images of one shard: neighbours in the list, as many as in every other one, or one more.

    Args:
        images: the sorted list.
        shard: 0 to `shards` - 1.
        shards: how many there are.
    """
    return images[shard * len(images) // shards : (shard + 1) * len(images) // shards]


def shard_name(shard: int, shards: int) -> str:
    """The name of a shard's file."""
    return f"part-{shard:05d}-of-{shards:05d}.parquet"


def open_job(folder: str, job: Job) -> None:
    """Write `job.json` into a folder, or make sure that the one there is of the same job.

    Args:
        folder: a path or a URL.
        job: what is asked for.

    Raises:
        InputError: the folder holds another job, or cannot be written.
        IntegrityError: the `job.json` that is there is damaged.
    """
    place, wanted = join(folder, JOB), {"format": FORMAT, "disclaimer": DISCLAIMER, **asdict(job)}
    if is_url(folder):
        require_writable(folder)
    there = _job_there(place)
    if there is None:
        write_to(place, (json.dumps(wanted, indent=2, ensure_ascii=False) + "\n").encode())
        return
    there = {"resizer": Job.resizer, **there}  # jobs of earlier versions do not name it
    keys = ["format", *(field.name for field in fields(Job))]
    different = [
        f"{key} is {there.get(key)} there, {wanted[key]} is asked for" for key in keys if there.get(key) != wanted[key]
    ]
    if different:
        raise InputError(f"{folder} holds the answers of another job: {'; '.join(different)}; choose another folder")


def _job_there(place: str) -> dict[str, Any] | None:
    if not is_url(place):
        if not Path(place).exists():
            return None
        found = read_json(place)
    else:
        try:
            found = json.loads(read(place, _LIMIT))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise IntegrityError(f"{place} is not readable JSON ({error}); choose another folder") from None
        except OSError as error:
            raise InputError(f"{place} cannot be read ({error}); check your rights there") from None
    if not isinstance(found, dict):
        raise IntegrityError(f"{place} holds no job; choose another folder")
    return found


def finished(folder: str, shard: int, shards: int) -> Counts | None:
    """The counts of a shard that is there and whole; None of one that is to be made.

    Raises:
        MissingExtraError: pyarrow is not installed.
        UnreachableError: the store does not answer.
    """
    parquet = _pyarrow().parquet
    place = join(folder, shard_name(shard, shards))
    try:
        source: Any = io.BytesIO(read(place, _LIMIT)) if is_url(place) else place
        told = parquet.read_metadata(source).metadata or {}
        return Counts(**json.loads(told[b"dermdistill.counts"]))
    except (OSError, ValueError, KeyError, TypeError):  # ArrowInvalid is a ValueError
        return None


def make_shard(predictor: Predictor, settings: Settings, images: Sequence[str], place: str) -> Counts:
    """Judge the images of a shard and write their answers, whole or not at all.

    Args:
        predictor: made from `settings`.
        settings: how answers are made.
        images: paths or URLs.
        place: the path or the URL of the shard.

    Raises:
        PausedError: a store does not answer; the shard is not written.
        OutputError, InputError: it cannot be written.
        IntegrityError: the model's graph fails.
    """
    # from an iterator, so that the batches, and with them the last bits, do not depend on the number of threads
    results = list(predictor.predict(iter(images), settings.batch_size))
    lost = [result for result in results if result.status == "unreachable"]
    if lost:
        raise PausedError(
            f"{len(lost)} of {len(results)} images of {place} cannot be reached now, the first: {lost[0].message}. "
            "Run the same command again: it goes on with the shards that are missing"
        )
    counts = count(results)
    write_to(place, _encode(results, predictor, counts))
    return counts


def count(results: Iterable[Result]) -> Counts:
    """How many results there are, and how many of them have no probability, or are of damaged or refused images."""
    states = [(result.probabilities is not None, result.status) for result in results]
    failed = sum(not judged for judged, _ in states)
    odd = sum(judged and status not in ("ok", REFUSED) for judged, status in states)
    return Counts(len(states), failed, odd, sum(status == REFUSED for _, status in states))


def _encode(results: Sequence[Result], predictor: Predictor, counts: Counts) -> bytes:
    """A Parquet file with the rows of `dermdistill predict`; its metadata say what they are."""
    pyarrow = _pyarrow()
    names, spec = columns(predictor.classes), predictor.bundle.spec
    text, number = pyarrow.string(), pyarrow.float64()
    kinds = [(name, number if name.startswith("p_") else text) for name in names]
    about = {
        "disclaimer": DISCLAIMER,
        "model": spec.name,
        "model_version": spec.version,
        "threshold": repr(predictor.threshold),
        "counts": json.dumps(asdict(counts)),
    }
    schema = pyarrow.schema(kinds, {f"dermdistill.{key}": value for key, value in about.items()})
    rows = [_printable(row(result, predictor.classes)) for result in results]
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def _printable(found: dict[str, Any]) -> dict[str, Any]:
    """File names need not be Unicode; Parquet's text is."""
    return {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in found.items()
    }


def read_shards(folder: str | Path, shards: int) -> Iterator[Any]:
    """The tables of all shards in their order.

    Args:
        folder: a path or a URL.
        shards: how many there are.
    """
    parquet = _pyarrow().parquet
    for shard in range(shards):
        place = join(str(folder), shard_name(shard, shards))
        yield parquet.read_table(io.BytesIO(read(place, _LIMIT)) if is_url(place) else place)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("remote", "pyarrow") from None
    return pyarrow
