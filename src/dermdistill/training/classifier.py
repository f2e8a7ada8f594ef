"""Train one classifier from its run folder to its predictions: what a teacher's and a student's training share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from dermdistill.data.licensing import known_licences
from dermdistill.data.training_keys import NAME as TRAINING_KEYS
from dermdistill.data.training_keys import write_training_keys
from dermdistill.files import sha256_file
from dermdistill.networks.cost import count
from dermdistill.networks.registry import Network
from dermdistill.run import Run, RunHeader, open_run
from dermdistill.training.cohort import Cohort
from dermdistill.training.loop import fit
from dermdistill.training.spec import TrainSpec
from dermdistill.training.task import ClassifierTask, ImageSet, predict, write_predictions

Sets = dict[str, ImageSet]


@dataclass(frozen=True)
class Training:
    """One training, ready to begin."""

    identity: dict[str, Any]
    """What decides its result."""
    facts: dict[str, Any]
    """What else its header records."""
    model: str
    """The network's name."""
    network: Network
    """As initialised."""
    image_size: int
    classes: tuple[str, ...]
    train: TrainSpec
    seed: int
    make_task: Callable[[Sets], ClassifierTask]
    """The task of the images of each role."""
    older: Callable[[RunHeader], dict[str, Any]] = RunHeader.plain
    """The values of a run header, one of an earlier version in today's form."""


def train_classifier(training: Training, cohort: Cohort, folder: str | Path) -> Run:
    """Train, or go on with it, or return the run if it is complete.

    The best checkpoint by validation melanoma AUROC is kept, without validation images the last. Validation and test
    images are predicted in the end.

    Args:
        training: the network and its task.
        cohort: the images.
        folder: the run folder.

    Raises:
        InputError: the folder holds another run, or the images do not fit the classes.
        IntegrityError: the splits belong to another manifest.
    """
    fabric, module = cohort.fabric, training.network.module
    if fabric.is_global_zero:
        open_run(folder, training.identity, _facts(training, cohort), older=training.older)
    fabric.barrier()
    run = Run(Path(folder))
    if run.is_complete():
        return run
    if fabric.is_global_zero:
        seen = cohort.manifest[cohort.manifest["image_id"].isin(cohort.roles["train"])]
        write_training_keys(seen, run.folder / TRAINING_KEYS)
    sets = cohort.images(training.image_size, training.classes)
    done = fit(training.make_task(sets), module, training.train, training.seed, run, fabric)
    if fabric.is_global_zero:
        module.load_state_dict(load_file(run.model))
        _predict(run, training, sets, cohort)
        cost = count(module, training.image_size)
        run.finish(
            parameters=cost.parameters, macs=cost.macs, best_epoch=done.best_epoch, best_auroc=done.best,
            training_seconds=round(done.seconds, 1), model_sha256=sha256_file(run.model),
        )  # fmt: skip
    fabric.barrier()
    return run


def _facts(training: Training, cohort: Cohort) -> dict[str, Any]:
    return {
        "model": training.model,
        "classes": list(training.classes),
        "image_size": training.image_size,
        "mean": list(training.network.mean),
        "std": list(training.network.std),
        "roles": {role: len(ids) for role, ids in cohort.roles.items()},
        "data_sources": sorted(cohort.manifest["source"].unique()),
        "data_licences": known_licences(cohort.manifest),
        **training.facts,
    }


def _predict(run: Run, training: Training, sets: Sets, cohort: Cohort) -> None:
    _, mean, std = training.network
    found = {
        role: (sets[role], predict(training.network.module, sets[role], mean, std, cohort.fabric.device))
        for role in ("validation", "test")
        if len(sets[role])
    }
    write_predictions(run.predictions, found, training.classes)
