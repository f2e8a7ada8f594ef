"""From the logits of several teachers to one target: out of a bank, or with the teacher in the loop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dermdistill.classes import BINARY_CLASSES, MELANOMA
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import MEND, BankIdentity
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.errors import InputError
from dermdistill.images.preprocess import PREPROCESS_VERSION
from dermdistill.images.render import apply_views
from dermdistill.images.view_spec import RENDER_VERSION, ViewSpec
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


class BankLabels:
    """A bank's logits as `dermdistill.training.task.Targets` for a student's training images.

    Args:
        bank: the teachers and views to learn from.
        images: the student's training images, in training order.
        wanted: the student's classes.
        asked: what the bank must have been made for, its classes left aside; by default any, as views are rendered now.

    Raises:
        InputError: the bank is of another manifest, other images, classes, seed or ranges, with all that differs.
    """

    def __init__(self, bank: Bank, images: ImageSet, wanted: Sequence[str], asked: BankIdentity | None = None):
        now = {"preprocess": PREPROCESS_VERSION, "render": RENDER_VERSION}
        problems = bank.identity.differences(
            asked or bank.identity.model_copy(update=now), but=("classes", "synthetic")
        )
        index = {sha256: row for row, sha256 in enumerate(bank.images)}
        missing = [sha256 for sha256 in images.sha256s if sha256 not in index]
        if missing:
            problems.append(f"it lacks {len(missing)} of the {len(images)} training images, e.g. {missing[0][:12]}")
        try:
            to_classes(torch.zeros(1, len(bank.classes)), bank.classes, wanted)
        except InputError as error:
            problems.append(str(error))
        if problems:
            raise InputError(f"the bank {bank.folder} does not fit: {'; '.join(problems)}; {MEND}")
        self.bank, self.wanted = bank, wanted
        self.index = np.array([index[sha256] for sha256 in images.sha256s], np.int64)
        self._view: tuple[int, Tensor] | None = None

    def __call__(self, rows: np.ndarray, view: int, device: torch.device) -> Tensor:
        if self._view is None or self._view[0] != view:
            logits = torch.from_numpy(self.bank.logits(view)[self.index])
            self._view = view, to_classes(ensemble(logits), self.bank.classes, self.wanted)
        return self._view[1][rows].to(device)
