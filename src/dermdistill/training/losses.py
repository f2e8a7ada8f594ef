"""Losses of a student: on the diagnoses, and after a teacher's logits.

Every loss has the same signature: (student logits [N, C], teacher logits [N, C] or None, labels) to a scalar,
where labels are class indices int64 [N] or class probabilities float32 [N, C].
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from dermdistill.training.spec import LossSpec

Loss = Callable[[Tensor, Tensor | None, Tensor], Tensor]


def make_loss(spec: LossSpec) -> Loss:
    """The loss that a spec describes.

    The result raises ValueError if a distillation loss gets no teacher logits or other shapes.
    """
    soft = _SOFT.get(spec.kind)

    def loss(student: Tensor, teacher: Tensor | None, labels: Tensor) -> Tensor:
        if soft is None:
            return cross_entropy(student, labels, spec.class_weights)
        if teacher is None or teacher.shape != student.shape:
            got = None if teacher is None else tuple(teacher.shape)
            raise ValueError(f"loss '{spec.kind}' needs teacher logits {tuple(student.shape)}, got {got}")
        learned = soft(student, teacher.detach(), labels, spec)
        if spec.alpha == 0:
            return learned
        return spec.alpha * cross_entropy(student, labels, spec.class_weights) + (1 - spec.alpha) * learned

    return loss


def cross_entropy(student: Tensor, labels: Tensor, class_weights: tuple[float, ...] | None = None) -> Tensor:
    """Cross-entropy on the diagnoses, averaged over the batch."""
    weights = student.new_tensor(class_weights) if class_weights is not None else None
    return functional.cross_entropy(student, labels, weight=weights)


def kl_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) of the softened probabilities, averaged over the batch.

    Source: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", arXiv:1503.02531, section
    2; the factor T² keeps the gradient's scale while T changes.
    """
    ours = (student / temperature).log_softmax(1)
    theirs = (teacher / temperature).log_softmax(1)
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def logit_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the logits, each row's mean taken off first.

    A softmax does not see the mean of the logits, so that neither does this loss; an ensemble's logits are
    known only up to it. Sources: Ba, Caruana, "Do deep nets really need to be deep?", NeurIPS 2014, eq. 1;
    Kim et al., "Comparing Kullback-Leibler divergence and mean squared error loss in knowledge distillation",
    IJCAI 2021.
    """
    difference = student - teacher
    return (difference - difference.mean(1, keepdim=True)).square().mean()


def decoupled(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, target: float, other: float
) -> Tensor:
    """DKD: target · TCKD + other · NCKD, with T², averaged over the batch.

    TCKD compares the binary probabilities (target, rest); NCKD the probabilities among the other classes.
    Source: Zhao et al., "Decoupled knowledge distillation", CVPR 2022, eq. 7.

    Raises:
        ValueError: labels are not class indices, or there are only two classes (then NCKD is empty).
    """
    if labels.ndim != 1:
        raise ValueError(f"DKD needs class indices [N], got labels of shape {tuple(labels.shape)}")
    if student.shape[1] < 3:
        raise ValueError("DKD needs at least three classes: with two, nothing is left beside the target")
    mask = functional.one_hot(labels, student.shape[1]).bool()
    ours, theirs = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)

    def binary(values: Tensor) -> Tensor:
        rest = values.masked_fill(mask, -torch.inf).logsumexp(1)
        return torch.stack([values[mask], rest], 1)

    def among_others(values: Tensor) -> Tensor:
        return values[~mask].view(len(values), -1).log_softmax(1)

    def kl(a: Tensor, b: Tensor) -> Tensor:
        return functional.kl_div(a, b, reduction="batchmean", log_target=True)

    targets = kl(binary(ours), binary(theirs))
    others = kl(among_others(ours), among_others(theirs))
    return (target * targets + other * others) * temperature**2


def dist(student: Tensor, teacher: Tensor, temperature: float, inter: float, intra: float) -> Tensor:
    """DIST: one minus Pearson's correlation, within images over classes and within classes over images.

    Source: Huang et al., "Knowledge distillation from a stronger teacher", NeurIPS 2022, eqs. 6-10, with T² as
    in the authors' code. A correlation does not shrink as T grows, so that the gradient grows with T².
    """
    ours, theirs = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
    between = 1 - _pearson(ours, theirs).mean()
    within = 1 - _pearson(ours.T, theirs.T).mean()
    return (inter * between + intra * within) * temperature**2


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of each row of a with that of b, [rows]; 0 where a row is constant."""
    return functional.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1)


def standardise(logits: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Z-score of each row of logits.

    Source: Sun et al., "Logit standardization in knowledge distillation", CVPR 2024, algorithm 1.
    """
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True, correction=0) + epsilon)


def _kd(student: Tensor, teacher: Tensor, labels: Tensor, spec: LossSpec) -> Tensor:
    if spec.standardise:
        student, teacher = standardise(student), standardise(teacher)
    return kl_divergence(student, teacher, spec.temperature)


def _mse(student: Tensor, teacher: Tensor, labels: Tensor, spec: LossSpec) -> Tensor:
    return logit_mse(student, teacher)


def _dkd(student: Tensor, teacher: Tensor, labels: Tensor, spec: LossSpec) -> Tensor:
    if spec.standardise:
        student, teacher = standardise(student), standardise(teacher)
    return decoupled(student, teacher, labels, spec.temperature, spec.target_weight, spec.other_weight)


def _dist(student: Tensor, teacher: Tensor, labels: Tensor, spec: LossSpec) -> Tensor:
    return dist(student, teacher, spec.temperature, spec.inter_weight, spec.intra_weight)


_SOFT: dict[str, Callable[[Tensor, Tensor, Tensor, LossSpec], Tensor]] = {
    "kd": _kd, "mse": _mse, "dkd": _dkd, "dist": _dist,
}  # fmt: skip
