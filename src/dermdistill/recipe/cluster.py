"""Soft labels by the workers of a Ray cluster: each computes parts of a bank, as `dermdistill soften --part` does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dermdistill.distillation.share import Share
from dermdistill.errors import DermdistillError
from dermdistill.predict.engines import connect, import_ray

_RETRIES = 3
"""How often a part is begun anew whose worker was lost; it goes on after the views that are there."""


@dataclass(frozen=True)
class Place:
    """A recipe and its folders, under absolute paths that every worker sees."""

    recipe: Path
    folder: Path
    data: Path | None
    cache: Path | None


def soften_parts(place: Place, parts: int | None, accelerator: str, tell: Callable[[str], None]) -> None:
    """Have Ray's workers compute all parts of a recipe's banks; `dermdistill soften` joins them afterwards.

    Data, splits and teachers must be there. Parts that are whole are passed over.

    Args:
        place: the recipe and its folders.
        parts: how many; by default one for each GPU of the cluster, or each processor where it has no GPU.
        accelerator: auto, cpu or gpu.
        tell: gets a line about each part that is done.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: there are more parts than batches, or what a part needs is missing.
        DermdistillError: a worker was lost again and again.
    """
    ray = import_ray()
    connect(ray)
    there = ray.cluster_resources()
    gpus = 0 if accelerator == "cpu" else int(there.get("GPU", 0))
    count = parts or max(1, gpus or int(there.get("CPU", 1)))
    task = ray.remote(num_cpus=1, num_gpus=min(1, gpus), max_retries=_RETRIES)(soften_part)
    waiting = [task.remote(place, Share(number, count), accelerator) for number in range(1, count + 1)]
    while waiting:
        (done,), waiting = ray.wait(waiting)
        try:
            tell(ray.get(done))
        except ray.exceptions.RayError as error:
            for other in waiting:
                ray.cancel(other, force=True)
            cause = getattr(error, "cause", None)
            if isinstance(cause, DermdistillError):
                raise cause from None
            raise DermdistillError(
                f"a worker failed ({type(error).__name__}: {error}); run the same command again: it goes on with the "
                "views that are missing"
            ) from None


def soften_part(place: Place, share: Share, accelerator: str) -> str:
    """Compute a part of each of a recipe's banks in this process; what became of it, in words."""
    from dermdistill.recipe.run import of_kind, run_recipe
    from dermdistill.recipe.spec import load_recipe
    from dermdistill.recipe.work import Work
    from dermdistill.training.loop import make_fabric

    work, said = Work(load_recipe(place.recipe), place.folder, place.data, place.cache), list[str]()
    fabric = make_fabric(accelerator, 1, work.recipe.precision)
    fabric.launch()
    run_recipe(work, fabric, said.append, only=of_kind("soften", None), share=share)
    return "; ".join(said)
