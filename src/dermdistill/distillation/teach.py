"""Fine-tune a teacher: a timm model or a network of our own, on the seven diagnoses or on melanoma alone."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.distillation.identity import Origin, in_todays_form, teacher_identity
from dermdistill.distillation.spec import TeacherSpec
from dermdistill.errors import InputError
from dermdistill.networks.load import load_network
from dermdistill.networks.registry import Wanted, network
from dermdistill.run import Run, TrainedHeader
from dermdistill.training.classifier import Sets, Training, train_classifier
from dermdistill.training.cohort import Cohort
from dermdistill.training.spec import TrainSpec
from dermdistill.training.task import ClassifierTask, ImageSet, Loss, class_weights


def teach(spec: TeacherSpec, cohort: Cohort, folder: str | Path, *, seed: int = 0) -> Run:
    """Fine-tune one teacher, or go on with it, or return it if it is complete.

    The best checkpoint by validation melanoma AUROC is kept; the test role is only predicted, at the end.

    Args:
        spec: the teacher.
        cohort: the images.
        folder: the run folder.
        seed: decides the head's initial weights, order, views and dropout.

    Raises:
        InputError: the folder holds another run, or the data do not fit the classes.
        IntegrityError: the splits belong to another manifest.
    """
    torch.manual_seed(seed)
    wanted = Wanted(
        len(spec.class_names), spec.image_size, spec.weights, spec.weights_file, spec.drop_rate, spec.drop_path_rate
    )
    built = network("teacher", spec.model, wanted)
    origin = Origin(cohort.manifest_sha256, cohort.splits.sha256, cohort.split)
    identity = teacher_identity(spec, origin, seed)

    def task(sets: Sets) -> ClassifierTask:
        criterion = _cross_entropy(sets["train"], len(spec.class_names), spec.train)
        return ClassifierTask(
            sets["train"], sets["validation"], spec.class_names, built.mean, built.std, spec.views, seed, None,
            criterion, balance=spec.train.balance, channels_last=spec.train.channels_last, mixup=spec.train.mixup,
            epoch_of=spec.train.epoch_of,
        )  # fmt: skip

    facts = {"inputs": {**identity["inputs"], "bank": None}, "split": cohort.split}
    training = Training(
        identity, facts, spec.model, built, spec.image_size, spec.class_names, spec.train, seed, task, in_todays_form
    )
    return train_classifier(training, cohort, folder)


def _cross_entropy(images: ImageSet, classes: int, spec: TrainSpec) -> Loss:
    weights = None
    if spec.balance == "weights":
        weights = torch.from_numpy(class_weights(images.labels, classes, images.shares(spec.epoch_of))).float()

    def loss(logits: Tensor, _: Tensor | None, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, None if weights is None else weights.to(logits.device))

    return loss


def load_teacher(folder: str | Path) -> tuple[FrozenTeacher, TrainedHeader]:
    """Load a finished teacher run, frozen.

    Returns:
        The teacher, taking [N, 3, S, S] images in [0, 1], and its run header.

    Raises:
        InputError: the run is not a finished teacher.
    """
    run = Run(Path(folder))
    header = run.load()
    if header.stage != "teacher" or header.status != "complete":
        raise InputError(f"{folder} is not a finished teacher: stage {header.stage}, status {header.status}")
    classes = run.trained().classes
    if classes not in (CLASSES, BINARY_CLASSES):
        raise InputError(f"{folder} has classes {classes}, expected {CLASSES} or {BINARY_CLASSES}")
    (module, mean, std), found = load_network(run)
    return FrozenTeacher(module, mean, std, found.image_size), found
