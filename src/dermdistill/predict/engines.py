"""What carries out the shards of a job: this process, or the workers of a Ray cluster. Both call `make_shard`.

With Ray a worker takes whole shards: it reads, decodes, judges and writes. Decoding takes longer than the network, so
that pixels which travel between workers would cost more than they spare.
"""

import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from dermdistill.errors import InputError, MissingExtraError
from dermdistill.predict.pipeline import usable_cores
from dermdistill.predict.shards import (
    Counts,
    Job,
    PausedError,
    Settings,
    divide,
    finished,
    make_shard,
    open_job,
    part,
    shard_name,
)
from dermdistill.remote import join

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Plan:
    """Images, how they are judged, and where the shards go."""

    settings: Settings
    images: Sequence[str]
    """Sorted."""
    folder: str
    """A path or a URL."""
    shards: int
    resizer: str
    """What every worker must resize with."""

    def task(self, shard: int) -> tuple[str, Sequence[str]]:
        """Where a shard goes, and its images."""
        return join(self.folder, shard_name(shard, self.shards)), part(self.images, shard, self.shards)


def carry_out(
    settings: Settings, images: Sequence[str], folder: str, *, shards: int = 0, engine: Engine = "local",
    threads: int | None = None,
) -> Iterator[tuple[Counts, bool]]:  # fmt: skip
    """Judge images into shards; those that are finished are passed over.

    Args:
        settings: how answers are made.
        images: paths or URLs in any order. With Ray every worker must see them under these names.
        folder: where shards go, a path or a URL; a shared one with Ray.
        shards: how many; by default one for each `PER_SHARD` images.
        engine: 'local', or 'ray', which uses the cluster of RAY_ADDRESS or starts one on this machine.
        threads: of each worker; by default one for each core here, and 1 with Ray.

    Yields:
        The counts of each shard, and whether it was finished before.

    Raises:
        InputError: the folder holds another job or cannot be written.
        PausedError: images cannot be reached, or a worker fails; the same call goes on.
        MissingExtraError: pyarrow, Ray, or what reads a URL is not installed.
        IntegrityError: the model's graph fails.
    """
    names, number = divide(images, shards)
    ray = _ray() if engine == "ray" else None
    predictor = settings.predictor(threads)
    plan = Plan(settings, names, folder, number, predictor.resizer)
    open_job(folder, Job.of(predictor, settings, names, number))
    todo = []
    for shard in range(number):
        counts = finished(folder, shard, number)
        if counts is None:
            todo.append(shard)
        else:
            yield counts, True
    if ray is not None:
        found = _on_ray(ray, plan, todo, threads or 1) if todo else iter(())
    else:
        tasks = map(plan.task, todo)
        found = (make_shard(predictor, settings, images, place) for place, images in tasks)
    yield from ((counts, False) for counts in found)


class _Worker:
    """What each of Ray's actors keeps: a predictor, which must resize as the one that began the job."""

    def __init__(self, settings: Settings, threads: int, resizer: str):
        self._settings, self._predictor, self._resizer = settings, settings.predictor(threads), resizer

    def __call__(self, shard: dict[str, Any]) -> dict[str, Any]:
        if self._predictor.resizer != self._resizer:
            raise InputError(
                f"a worker resizes with {self._predictor.resizer}, the job with {self._resizer}; install the same "
                "packages on every machine, or leave out --fast"
            )
        images = shard["images"].decode(errors="surrogateescape").split("\0")
        return asdict(make_shard(self._predictor, self._settings, images, shard["place"]))


def _on_ray(ray: Any, plan: Plan, todo: Sequence[int], threads: int) -> Iterator[Counts]:
    """The counts of shards as Ray's workers finish them; a worker that is lost is replaced, and its shard made anew."""
    if not ray.is_initialized():
        # a cluster that is started here listens on this machine alone
        own = {} if os.environ.get("RAY_ADDRESS") else {"_node_ip_address": "127.0.0.1", "num_cpus": usable_cores()}
        ray.init(include_dashboard=False, logging_level="error", log_to_driver=False, **own)
    workers = max(1, min(len(todo), int(ray.cluster_resources().get("CPU", 1)) // threads))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    items = [_item(*plan.task(shard)) for shard in todo]
    made = ray.data.from_items(items, override_num_blocks=len(items)).map(
        _Worker, fn_constructor_args=(plan.settings, threads, plan.resizer), num_cpus=threads,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )  # fmt: skip
    try:
        for found in made.iter_rows():
            yield Counts(**{field.name: found[field.name] for field in fields(Counts)})
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, PausedError | InputError):
            raise cause from None
        raise PausedError(f"a worker failed ({type(error).__name__}: {error}); run the same command again") from None


def _item(place: str, images: Sequence[str]) -> dict[str, Any]:
    """A shard as Ray's tables hold it: names need not be Unicode, bytes are."""
    return {"place": place, "images": "\0".join(images).encode(errors="surrogateescape")}


def _ray() -> Any:
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError("ray", "ray") from None
