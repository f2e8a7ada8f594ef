"""Train a student: after a bank, after a teacher in the loop, or on the diagnoses alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dermdistill.distillation.bank import Bank, BankLabels
from dermdistill.distillation.identity import Origin, in_todays_form, student_identity
from dermdistill.distillation.labels import OnlineLabels
from dermdistill.distillation.spec import SoftenSpec, StudentSpec
from dermdistill.distillation.teach import load_teacher
from dermdistill.errors import InputError
from dermdistill.networks.cost import count
from dermdistill.networks.load import load_network
from dermdistill.networks.registry import Wanted, check_budget, network
from dermdistill.networks.registry import spec as facts_of
from dermdistill.run import Run, Taught, TrainedHeader
from dermdistill.training.classifier import Sets, Training, train_classifier
from dermdistill.training.cohort import Cohort
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec
from dermdistill.training.task import ClassifierTask, ImageSet, Targets, class_weights


@dataclass(frozen=True)
class Lessons:
    """What students learn from: views, and the soft labels of some of them."""

    views: SoftenSpec = field(default_factory=SoftenSpec)
    """Count, seed and augmentation spec of the views."""
    bank: Bank | None = None
    """The soft labels, for `labels = "bank"`."""
    teachers: Sequence[Path] = ()
    """Finished teacher runs, for `labels = "online"`."""


def distill(spec: StudentSpec, cohort: Cohort, folder: str | Path, lessons: Lessons, *, seed: int = 0) -> Run:
    """Train one student, or go on with it, or return it if it is complete.

    With and without soft labels a student sees the same views in the same order, so that two runs
    that differ in `labels` and `loss` alone can be compared. Only after the last of `views` they part:
    then a student of the bank, or without soft labels, starts again with view 0, one with the teacher
    in the loop goes on to new views.

    Args:
        spec: the student.
        cohort: the images.
        folder: the run folder.
        lessons: the views and their soft labels.
        seed: decides initial weights, order and dropout.

    Raises:
        InputError: the bank does not fit, the student exceeds the parameter budget, or the folder holds another run.
        IntegrityError: the splits belong to another manifest.
    """
    torch.manual_seed(seed)
    size = spec.image_size or facts_of(spec.model).image_size
    wanted = Wanted(len(spec.class_names), size, spec.weights, spec.weights_file)
    built = network("student", spec.model, wanted)
    if not spec.allow_over_budget:
        check_budget(count(built.module, size).parameters)
    taught_by = _taught_by(spec, lessons)
    origin = Origin(cohort.manifest_sha256, cohort.splits.sha256, cohort.split)
    identity = student_identity(spec, lessons.views, origin, seed, [teacher.model_sha256 for teacher in taught_by])

    def task(sets: Sets) -> ClassifierTask:
        train, views = sets["train"], lessons.views
        return ClassifierTask(
            train, sets["validation"], spec.class_names, built.mean, built.std, views.spec, views.seed,
            spec.train.epochs if spec.labels == "online" else views.views, make_loss(_weighted(spec, train)),
            _targets(spec, cohort, train, lessons), balance=spec.train.balance,
            channels_last=spec.train.channels_last, symmetries=spec.symmetries, mixup=spec.train.mixup,
            epoch_of=spec.train.epoch_of,
        )  # fmt: skip

    bank = lessons.bank.sha256 if lessons.bank is not None and spec.labels == "bank" else None
    facts: dict[str, Any] = {
        "inputs": {**identity["inputs"], "bank": bank},
        "split": cohort.split,
        "taught_by": [teacher.model_dump(mode="json") for teacher in taught_by],
    }
    training = Training(
        identity, facts, spec.model, built, size, spec.class_names, spec.train, seed, task, in_todays_form
    )
    return train_classifier(training, cohort, folder)


def _weighted(spec: StudentSpec, train: ImageSet) -> LossSpec:
    if spec.train.balance != "weights":
        return spec.loss
    weights = class_weights(train.labels, len(spec.class_names), train.shares(spec.train.epoch_of))
    return spec.loss.model_copy(update={"class_weights": tuple(weights.tolist())})


def _taught_by(spec: StudentSpec, lessons: Lessons) -> list[Taught]:
    """Each teacher whose soft labels the student learns."""
    if spec.labels == "none":
        return []
    if spec.labels == "bank":
        if lessons.bank is None:
            raise InputError(
                f"student '{spec.name}' has labels = 'bank' and no bank was given; run `dermdistill soften`"
            )
        return bank_teachers(lessons.bank)
    if not lessons.teachers:
        raise InputError(f"student '{spec.name}' has labels = 'online' and no teacher was given")
    headers = [Run(path).trained() for path in lessons.teachers]
    return [
        Taught(name=of.name, model=of.model, image_size=of.image_size, model_sha256=of.model_sha256) for of in headers
    ]


def bank_teachers(bank: Bank) -> list[Taught]:
    """The teachers whose logits a bank holds."""
    return [
        Taught(**{key: teacher[key] for key in ("name", "model", "image_size", "model_sha256")})
        for teacher in bank.header["teachers"]
    ]


def _targets(spec: StudentSpec, cohort: Cohort, train: ImageSet, lessons: Lessons) -> Targets | None:
    if spec.labels == "none":
        return None
    if spec.labels == "bank" and lessons.bank is not None:
        bank, views = lessons.bank, lessons.views
        if (views.seed, views.views) != (bank.seed, min(views.views, bank.views)):
            raise InputError(
                f"the bank {bank.folder} holds {bank.views} views of seed {bank.seed}, "
                f"the recipe asks for {views.views} of seed {views.seed}"
            )
        return BankLabels(bank, train, spec.class_names, cohort.manifest_sha256, views.spec)
    loaded = [load_teacher(path) for path in lessons.teachers]
    parts = [cohort.images(header.image_size, header.classes)["train"] for _, header in loaded]
    if any(part.sha256s != train.sha256s for part in parts):
        raise InputError("teacher and student could not read the same images; run `dermdistill data check` first")
    frozen = [teacher.to(cohort.fabric.device) for teacher, _ in loaded]
    return OnlineLabels(
        frozen, parts, loaded[0][1].classes, spec.class_names, lessons.views.spec, lessons.views.seed
    )  # fmt: skip


def load_student(folder: str | Path) -> tuple[nn.Module, TrainedHeader]:
    """Load a finished student run: its best weights in evaluation mode, and its header."""
    run = Run(Path(folder))
    header = run.load()
    if header.stage != "student" or header.status != "complete":
        raise InputError(f"{folder} is not a finished student: stage {header.stage}, status {header.status}")
    (module, _, _), found = load_network(run)
    return module, found
