"""Train a student: after a bank, after a teacher in the loop, or on the diagnoses alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.identity import Origin, in_todays_form, student_identity
from dermdistill.distillation.labels import BankLabels, OnlineLabels
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
    """The soft labels of the teachers to learn from, for `labels = "bank"`; as many views as asked for are read."""
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
    bank = _bank(spec, lessons)
    taught_by = _taught_by(spec, lessons, bank)
    origin = Origin(cohort.manifest_sha256, cohort.splits.sha256, cohort.split)
    identity = student_identity(spec, lessons.views, origin, seed, [teacher.model_sha256 for teacher in taught_by])

    def task(sets: Sets) -> ClassifierTask:
        train, views = sets["train"], lessons.views
        return ClassifierTask(
            train, sets["validation"], spec.class_names, built.mean, built.std, views.spec, views.seed,
            spec.train.epochs if spec.labels == "online" else views.views, make_loss(_weighted(spec, train)),
            _targets(spec, cohort, train, lessons, bank), balance=spec.train.balance,
            channels_last=spec.train.channels_last, symmetries=spec.symmetries, mixup=spec.train.mixup,
            epoch_of=spec.train.epoch_of,
        )  # fmt: skip

    facts: dict[str, Any] = {
        "inputs": {**identity["inputs"], "bank": None if bank is None else bank.sha256},
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


def _bank(spec: StudentSpec, lessons: Lessons) -> Bank | None:
    """The bank with as many views as the student asks for."""
    if spec.labels != "bank":
        return None
    if lessons.bank is None:
        raise InputError(f"student '{spec.name}' has labels = 'bank' and no bank was given; run `dermdistill soften`")
    return lessons.bank.select(views=lessons.views.views)


def _taught_by(spec: StudentSpec, lessons: Lessons, bank: Bank | None) -> list[Taught]:
    """Each teacher whose soft labels the student learns."""
    if spec.labels == "none":
        return []
    if spec.labels == "online" and not lessons.teachers:
        raise InputError(f"student '{spec.name}' has labels = 'online' and no teacher was given")
    keys = ("name", "model", "image_size", "model_sha256")
    if bank is not None:
        return [Taught(**{key: getattr(of, key) for key in keys}, licences=of.licences) for of in bank.teachers]
    teachers = [Run(path).trained() for path in lessons.teachers]
    return [Taught(**{key: getattr(of, key) for key in keys}, licences=of.data_licences) for of in teachers]


def _targets(
    spec: StudentSpec, cohort: Cohort, train: ImageSet, lessons: Lessons, bank: Bank | None
) -> Targets | None:  # fmt: skip
    views = lessons.views
    if spec.labels == "none":
        return None
    if bank is not None:
        asked = BankIdentity(
            manifest_sha256=cohort.manifest_sha256, classes=bank.classes, seed=views.seed, spec=views.spec,
            turns=views.turns,
        )  # fmt: skip
        return BankLabels(bank, train, spec.class_names, asked)
    loaded = [load_teacher(path) for path in lessons.teachers]
    parts = [cohort.images(header.image_size, header.classes)["train"] for _, header in loaded]
    if any(part.sha256s != train.sha256s for part in parts):
        raise InputError("teacher and student could not read the same images; run `dermdistill data check` first")
    frozen = [teacher.to(cohort.fabric.device) for teacher, _ in loaded]
    return OnlineLabels(frozen, parts, loaded[0][1].classes, spec.class_names, views.spec, views.seed)


def load_student(folder: str | Path) -> tuple[nn.Module, TrainedHeader]:
    """Load a finished student run: its best weights in evaluation mode, and its header."""
    run = Run(Path(folder))
    header = run.load()
    if header.stage != "student" or header.status != "complete":
        raise InputError(f"{folder} is not a finished student: stage {header.stage}, status {header.status}")
    (module, _, _), found = load_network(run)
    return module, found
