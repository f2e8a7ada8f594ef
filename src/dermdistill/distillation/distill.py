"""Train a student: after a bank, after a teacher in the loop, or on the diagnoses alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning_fabric as lightning
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from dermdistill.data.splits import Splits
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.labels import BankLabels, OnlineLabels
from dermdistill.distillation.spec import SoftenSpec, StudentSpec
from dermdistill.distillation.teach import load_teacher
from dermdistill.errors import InputError
from dermdistill.files import sha256_file
from dermdistill.images.views import RENDER_VERSION
from dermdistill.networks import registry
from dermdistill.run import Run, open_run
from dermdistill.training.loop import fit
from dermdistill.training.losses import make_loss
from dermdistill.training.task import (
    ClassifierTask,
    ImageSet,
    Targets,
    class_weights,
    image_sets,
    matching_hash,
    predict,
    write_predictions,
)


def distill(
    spec: StudentSpec,
    manifest: pd.DataFrame,
    splits: Splits,
    roles: dict[str, list[str]],
    folder: Path,
    *,
    bank: Bank | None = None,
    teachers: Sequence[Path] = (),
    views: SoftenSpec,
    seed: int = 0,
    fabric: lightning.Fabric,
    cache: Path | None = None,
) -> Run:
    """Train one student, or go on with it, or return it if it is complete.

    With and without soft labels a student sees the same views in the same order, so that two runs
    that differ in `labels` and `loss` alone can be compared. Only after the last of `views` they part:
    then a student of the bank, or without soft labels, starts again with view 0, one with the teacher
    in the loop goes on to new views.

    Args:
        spec: the student.
        manifest: all images.
        splits: the frozen folds that `roles` comes from.
        roles: image ids of 'train', 'validation' and 'test'.
        folder: the run folder.
        bank: the soft labels of the teachers to learn from, for `labels = "bank"`; as many views as asked for are read.
        teachers: finished teacher runs, for `labels = "online"`.
        views: count, seed and augmentation spec of the views.
        seed: decides initial weights, order and dropout.
        fabric: launched already.
        cache: folder of decoded images, by default the user's.

    Raises:
        InputError: the bank does not fit, the student exceeds the parameter budget, or the folder holds another run.
        IntegrityError: the splits belong to another manifest.
    """
    torch.manual_seed(seed)
    size = spec.image_size or registry.spec(spec.model).image_size
    model = registry.build(
        spec.model,
        len(spec.class_names),
        image_size=size,
        weights=spec.weights,
        weights_file=spec.weights_file,
    )
    count = registry.count(model, size)
    if not spec.allow_over_budget:
        registry.check_budget(count.parameters)
    known = registry.spec(spec.model)
    bank = bank.select(views=views.views) if bank is not None and spec.labels == "bank" else None
    manifest_sha256 = matching_hash(manifest, splits)
    identity = {
        "stage": "student",
        "name": spec.name,
        "model": spec.model,
        "classes": list(spec.class_names),
        "image_size": size,
        "mean": list(known.mean),
        "std": list(known.std),
        "seed": seed,
        "recipe": {**spec.model_dump(mode="json"), "views": views.model_dump(mode="json")},
        "inputs": _inputs(spec, manifest_sha256, splits, bank, teachers),
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
    sets = image_sets(manifest, roles, size, spec.class_names, cache)
    targets, sets = _targets(spec, manifest, roles, sets, bank, teachers, views, manifest_sha256, fabric, cache)
    loss = spec.loss
    if spec.train.balance == "weights":
        train = sets["train"]
        weights = class_weights(train.labels, len(spec.class_names), train.shares(spec.train.epoch_of))
        loss = loss.model_copy(update={"class_weights": tuple(weights.tolist())})
    task = ClassifierTask(
        sets["train"], sets["validation"], spec.class_names, known.mean, known.std, views.spec, views.seed,
        spec.train.epochs if spec.labels == "online" else views.views, make_loss(loss), targets,
        balance=spec.train.balance, channels_last=spec.train.channels_last, symmetries=spec.symmetries,
        mixup=spec.train.mixup, epoch_of=spec.train.epoch_of,
    )  # fmt: skip
    progressed = fit(task, model, spec.train, seed, run, fabric)
    if fabric.is_global_zero:
        model.load_state_dict(load_file(run.model))
        wanted = {role: sets[role] for role in ("validation", "test") if len(sets[role])}
        found = {
            role: (part, predict(model, part, known.mean, known.std, fabric.device)) for role, part in wanted.items()
        }
        write_predictions(run.predictions, found, spec.class_names)
        run.finish(
            parameters=count.parameters, macs=count.macs, best_epoch=progressed.best_epoch,
            best_auroc=progressed.best, training_seconds=round(progressed.seconds, 1),
            model_sha256=sha256_file(run.model), taught_by=_taught_by(spec, bank, teachers),
        )  # fmt: skip
    fabric.barrier()
    return run


def _taught_by(spec: StudentSpec, bank: Bank | None, teachers: Sequence[Path]) -> list[dict[str, Any]]:
    """Name, model, image size and weights' hash of each teacher whose soft labels the student learned."""
    if spec.labels == "none":
        return []
    keys = ("name", "model", "image_size", "model_sha256")
    if bank is not None:
        return [{key: getattr(teacher, key) for key in keys} for teacher in bank.teachers]
    return [{key: header[key] for key in keys} for header in (Run(path).header() for path in teachers)]


def _inputs(
    spec: StudentSpec, manifest_sha256: str, splits: Splits, bank: Bank | None, teachers: Sequence[Path]
) -> dict[str, Any]:
    if spec.labels == "bank" and bank is None:
        raise InputError(f"student '{spec.name}' has labels = 'bank' and no bank was given; run `dermdistill soften`")
    if spec.labels == "online" and not teachers:
        raise InputError(f"student '{spec.name}' has labels = 'online' and no teacher was given")
    return {
        "manifest": manifest_sha256,
        "splits": splits.sha256,
        "bank": bank.sha256 if bank is not None else None,
        "teachers": [Run(path).header()["model_sha256"] for path in teachers] if spec.labels == "online" else [],
    }


def _targets(
    spec: StudentSpec, manifest: pd.DataFrame, roles: dict[str, list[str]], sets: dict[str, ImageSet],
    bank: Bank | None, teachers: Sequence[Path], views: SoftenSpec, manifest_sha256: str,
    fabric: lightning.Fabric, cache: Path | None,
) -> tuple[Targets | None, dict[str, ImageSet]]:  # fmt: skip
    if spec.labels == "none":
        return None, sets
    if spec.labels == "bank":
        if bank is None:
            raise InputError("no bank was given")
        asked = BankIdentity(
            manifest_sha256=manifest_sha256, classes=bank.classes, seed=views.seed, spec=views.spec
        )  # fmt: skip
        return BankLabels(bank, sets["train"], spec.class_names, asked), sets
    loaded = [load_teacher(path) for path in teachers]
    parts = [
        image_sets(manifest, roles, header["image_size"], tuple(header["classes"]), cache)["train"]
        for _, header in loaded
    ]
    if any(part.sha256s != sets["train"].sha256s for part in parts):
        raise InputError("teacher and student could not read the same images; run `dermdistill data check` first")
    frozen = [teacher.to(fabric.device) for teacher, _ in loaded]
    return OnlineLabels(frozen, parts, loaded[0][1]["classes"], spec.class_names, views.spec, views.seed), sets


def load_student(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a finished student run: its best weights in evaluation mode, and its header."""
    run = Run(Path(folder))
    header = run.header()
    if header["stage"] != "student" or header["status"] != "complete":
        raise InputError(f"{folder} is not a finished student: stage {header['stage']}, status {header['status']}")
    model = registry.build(header["model"], len(header["classes"]), image_size=header["image_size"], weights="none")
    model.load_state_dict(load_file(run.weights()))
    return model.eval(), header
