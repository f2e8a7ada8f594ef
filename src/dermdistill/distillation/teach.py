"""Fine-tune a teacher: a timm model or a student of our own, on the seven diagnoses or on melanoma alone."""

from pathlib import Path

import lightning_fabric as lightning
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.data.splits import Splits
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.distillation.spec import TeacherSpec
from dermdistill.errors import InputError
from dermdistill.files import sha256_file
from dermdistill.images.views import RENDER_VERSION
from dermdistill.networks.cost import count
from dermdistill.networks.teachers import teacher_network
from dermdistill.run import Run, open_run
from dermdistill.training.loop import fit
from dermdistill.training.spec import TrainSpec
from dermdistill.training.task import (
    ClassifierTask,
    ImageSet,
    Loss,
    class_weights,
    image_sets,
    matching_hash,
    predict,
    write_predictions,
)


def teach(
    spec: TeacherSpec,
    manifest: pd.DataFrame,
    splits: Splits,
    roles: dict[str, list[str]],
    folder: Path,
    *,
    seed: int = 0,
    fabric: lightning.Fabric,
    cache: Path | None = None,
) -> Run:
    """Fine-tune one teacher, or go on with it, or return it if it is complete.

    The best checkpoint by validation melanoma AUROC is kept; the test role is only predicted, at the end.

    Args:
        spec: the teacher.
        manifest: all images.
        splits: the frozen folds that `roles` comes from.
        roles: image ids of 'train', 'validation' and 'test'.
        folder: the run folder.
        seed: decides the head's initial weights, order, views and dropout.
        fabric: launched already.
        cache: folder of decoded images, by default the user's.

    Raises:
        InputError: the folder holds another run, or the data do not fit the classes.
        IntegrityError: the splits belong to another manifest.
    """
    torch.manual_seed(seed)
    model, mean, std = teacher_network(
        spec.model, len(spec.class_names), weights=spec.weights, weights_file=spec.weights_file,
        image_size=spec.image_size,
        drop_rate=spec.drop_rate, drop_path_rate=spec.drop_path_rate,
    )  # fmt: skip
    inputs = {"manifest": matching_hash(manifest, splits), "splits": splits.sha256, "bank": None}
    if spec.weights == "file" and spec.weights_file is not None:
        inputs["weights"] = sha256_file(spec.weights_file)
    identity = {
        "stage": "teacher",
        "name": spec.name,
        "model": spec.model,
        "classes": list(spec.class_names),
        "image_size": spec.image_size,
        "mean": list(mean),
        "std": list(std),
        "seed": seed,
        "recipe": spec.model_dump(mode="json"),
        "inputs": inputs,
        "roles": {role: len(ids) for role, ids in roles.items()},
        "render": RENDER_VERSION,
        "data_sources": sorted(manifest["source"].unique()),
    }
    if fabric.is_global_zero:
        open_run(folder, identity)
    fabric.barrier()
    run = Run(Path(folder))
    if run.is_complete():
        return run
    sets = image_sets(manifest, roles, spec.image_size, spec.class_names, cache)
    criterion = _cross_entropy(sets["train"], len(spec.class_names), spec.train)
    task = ClassifierTask(
        sets["train"], sets["validation"], spec.class_names, mean, std, spec.views, seed, None, criterion,
        balance=spec.train.balance, channels_last=spec.train.channels_last, mixup=spec.train.mixup,
        epoch_of=spec.train.epoch_of,
    )  # fmt: skip
    progressed = fit(task, model, spec.train, seed, run, fabric)
    if fabric.is_global_zero:
        model.load_state_dict(load_file(run.model))
        wanted = {role: sets[role] for role in ("validation", "test") if len(sets[role])}
        found = {role: (part, predict(model, part, mean, std, fabric.device)) for role, part in wanted.items()}
        write_predictions(run.predictions, found, spec.class_names)
        cost = count(model, spec.image_size)
        run.finish(
            parameters=cost.parameters, macs=cost.macs,
            best_epoch=progressed.best_epoch, best_auroc=progressed.best,
            training_seconds=round(progressed.seconds, 1), model_sha256=sha256_file(run.model),
        )  # fmt: skip
    fabric.barrier()
    return run


def _cross_entropy(images: ImageSet, classes: int, spec: TrainSpec) -> Loss:
    weights = None
    if spec.balance == "weights":
        weights = torch.from_numpy(class_weights(images.labels, classes, images.shares(spec.epoch_of))).float()

    def loss(logits: Tensor, _: Tensor | None, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, None if weights is None else weights.to(logits.device))

    return loss


def load_teacher(folder: str | Path) -> tuple[FrozenTeacher, dict]:
    """Load a finished teacher run, frozen.

    Returns:
        The teacher, taking [N, 3, S, S] images in [0, 1], and its run header.

    Raises:
        InputError: the run is not a finished teacher.
    """
    run = Run(Path(folder))
    header = run.header()
    if header["stage"] != "teacher" or header["status"] != "complete":
        raise InputError(f"{folder} is not a finished teacher: stage {header['stage']}, status {header['status']}")
    if tuple(header["classes"]) not in (CLASSES, BINARY_CLASSES):
        raise InputError(f"{folder} has classes {header['classes']}, expected {CLASSES} or {BINARY_CLASSES}")
    size = header["image_size"]
    model, *_ = teacher_network(header["model"], len(header["classes"]), weights="none", image_size=size)
    model.load_state_dict(load_file(run.weights()))
    return FrozenTeacher(model, header["mean"], header["std"], size), header
