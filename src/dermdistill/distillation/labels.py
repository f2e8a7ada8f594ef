"""From the logits of several teachers to one target, and the teacher in the loop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dermdistill.classes import BINARY_CLASSES, MELANOMA
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.errors import InputError
from dermdistill.images.render import apply_views
from dermdistill.images.view_spec import ViewSpec
from dermdistill.images.views import sample_views, view_seed
from dermdistill.training.task import ImageSet


def ensemble(logits: Tensor) -> Tensor:
    """One teacher out of several: the log of their averaged probabilities.

    As logits they give back exactly that average under a softmax, and a temperature applies to them as to
    any logits.

    Args:
        logits: [B, M, C], M teachers.

    Returns:
        Log-probabilities [B, C].
    """
    return torch.logsumexp(logits.log_softmax(-1), 1) - np.log(logits.shape[1])


def to_classes(log_probabilities: Tensor, classes: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Read a teacher's log-probabilities out in the student's classes.

    The same classes pass through; any set with melanoma is read out as (other, melanoma) for a binary
    student, with the rest's probability summed.

    Args:
        log_probabilities: [B, C].
        classes: the teacher's classes.
        wanted: the student's classes.

    Raises:
        InputError: the teacher's classes do not hold the student's.
    """
    if tuple(classes) == tuple(wanted):
        return log_probabilities
    if tuple(wanted) != BINARY_CLASSES or MELANOMA not in classes:
        raise InputError(f"soft labels for the classes {tuple(classes)} do not fit a student with {tuple(wanted)}")
    index = list(classes).index(MELANOMA)
    rest = [other for other in range(len(classes)) if other != index]
    return torch.stack([log_probabilities[:, rest].logsumexp(1), log_probabilities[:, index]], 1)


@torch.inference_mode()
def teacher_logits(
    teachers: Sequence[FrozenTeacher], images: Sequence[ImageSet], which: np.ndarray, parameters: np.ndarray,
    device: torch.device,
) -> Tensor:  # fmt: skip
    """Each teacher's logits for one view of some images, float32 [B, M, C].

    Args:
        teachers: M teachers.
        images: for each teacher the same images at its own size.
        which: positions of the images, int64 [B].
        parameters: their views' parameters, float32 [B, 12].
        device: where to compute.
    """
    found = []
    for teacher, part in zip(teachers, images, strict=True):
        views = apply_views(part.pixels(which).to(device), torch.from_numpy(parameters), part.size)
        found.append(teacher(views.contiguous(memory_format=torch.channels_last)).float())
    return torch.stack(found, 1)


@dataclass
class OnlineLabels:
    """The teacher in the loop: `dermdistill.training.task.Targets` without a bank, for unlimited views."""

    teachers: Sequence[FrozenTeacher]
    images: Sequence[ImageSet]
    classes: Sequence[str]
    wanted: Sequence[str]
    spec: ViewSpec
    seed: int

    def __call__(self, rows: np.ndarray, view: int, device: torch.device) -> Tensor:
        sha256s = [self.images[0].sha256s[row] for row in rows]
        parameters = sample_views(sha256s, view_seed(self.seed, view), self.spec)
        logits = teacher_logits(self.teachers, self.images, rows, parameters, device)
        return to_classes(ensemble(logits), self.classes, self.wanted).clone()
