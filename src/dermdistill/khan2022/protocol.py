"""The protocol as published and corrected: each fault of the published code is a switch of its own.

The losses here are those of the published notebooks, exactly, with each fault where it stands there. Without faults
the gradient is that of Hinton's distillation (`dermdistill.training.losses.kl_divergence` with T²); the value differs
by the entropy of the soft targets, since the notebooks use the cross-entropy and not the divergence.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor
from torch.nn import functional

Protocol = Literal["as-published", "corrected"]


class Faults(BaseModel):
    """What is done as in the published code; all False is the corrected protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    random_split: bool = False
    """Images are divided at random, so that one lesion's photographs stand on both sides."""
    no_normalisation: bool = False
    """Pixels enter as 0 to 255, without the mean and scale that the network expects."""
    whole_array_softmax: bool = False
    """The softmax of the soft targets runs over all training rows at once, not over each row."""
    probabilities_as_logits: bool = False
    """The teacher's probabilities are divided by T and put through a softmax as if they were logits."""
    softmax_twice: bool = False
    """The student's softmax is not removed before another one follows, in training and in prediction."""
    no_t2: bool = False
    """The soft term is not multiplied by T², so that its gradient shrinks with 1/T²."""
    small_step: bool = False
    """Adadelta's step is 0.001, the default of Keras 2, not the 1.0 that the method was published with."""
    last_epoch: bool = False
    """No checkpoint is chosen: the callbacks watch a name that does not exist. The last epoch's weights are kept."""
    test_selection: bool = False
    """The checkpoint is chosen on the test images."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.last_epoch and self.test_selection:
            raise ValueError("last_epoch chooses no checkpoint, test_selection chooses one: only one can be on")
        return self


AS_PUBLISHED = Faults(
    random_split=True, no_normalisation=True, whole_array_softmax=True, probabilities_as_logits=True,
    softmax_twice=True, no_t2=True, small_step=True, last_epoch=True,
)  # fmt: skip
"""The notebooks keep the last epoch's weights. Their choice among temperatures and batch sizes was made on the test
images; the report shows for our sweeps what such a choice is worth."""

CORRECTED = Faults()

DISTILLATION = ("whole_array_softmax", "probabilities_as_logits", "softmax_twice", "no_t2")
"""Faults that only a distilled student can have."""


def of_protocol(name: Protocol) -> Faults:
    """The faults of a protocol."""
    return AS_PUBLISHED if name == "as-published" else CORRECTED


def single_faults() -> Iterator[tuple[str, Faults]]:
    """Each fault turned on alone, by name with hyphens."""
    for name in Faults.model_fields:
        yield name.replace("_", "-"), Faults(**{name: True})


def relevant(faults: Faults, *, distilled: bool, optimizer: str) -> Faults:
    """The faults that can touch a run: those of distillation only if there is one, the step only with Adadelta."""
    off = [] if distilled else list(DISTILLATION)
    if optimizer != "adadelta":
        off.append("small_step")
    return faults.model_copy(update=dict.fromkeys(off, False))


def teacher_faults(faults: Faults) -> Faults:
    """The faults that a student's teacher has too: its images and how they enter."""
    return Faults(random_split=faults.random_split, no_normalisation=faults.no_normalisation)


def soft_targets(teacher: Tensor, temperature: float, faults: Faults) -> Tensor:
    """What the student shall match, [N, C]; each row sums to 1 unless the softmax runs over the whole array.

    Args:
        teacher: the teacher's logits [N, C] of all training images.
        temperature: T.
        faults: `probabilities_as_logits` and `whole_array_softmax` act here.
    """
    values = teacher.softmax(1) if faults.probabilities_as_logits else teacher
    values = values / temperature
    return values.flatten().softmax(0).view_as(values) if faults.whole_array_softmax else values.softmax(1)


def student_values(outputs: Tensor, faults: Faults) -> Tensor:
    """What the published code takes for the student's logits, [N, C]: those, or already their softmax."""
    return outputs.softmax(1) if faults.softmax_twice else outputs


def probabilities(outputs: Tensor, faults: Faults) -> Tensor:
    """The student's class probabilities [N, C]; with a second softmax over two classes within 0.269 to 0.731."""
    return student_values(outputs, faults).softmax(1)


class Terms(NamedTuple):
    """The two terms of the loss, weighted as they enter it; scalars."""

    hard: Tensor
    soft: Tensor

    @property
    def total(self) -> Tensor:
        return self.hard + self.soft


def loss_terms(
    outputs: Tensor, targets: Tensor, labels: Tensor, *, alpha: float, temperature: float, faults: Faults
) -> Terms:
    """alpha · CE(labels) and (1 - alpha) · T² · CE(soft targets), averaged over the batch.

    Args:
        outputs: the student's logits [B, C].
        targets: rows of `soft_targets` [B, C].
        labels: class indices [B].
        alpha: share of the hard term.
        temperature: T.
        faults: `softmax_twice` and `no_t2` act here.
    """
    values = student_values(outputs, faults)
    hard = functional.cross_entropy(values, labels)
    soft = -(targets * (values / temperature).log_softmax(1)).sum(1).mean()
    weight = 1.0 if faults.no_t2 else temperature**2
    return Terms(alpha * hard, (1 - alpha) * weight * soft)


class Share(NamedTuple):
    """How much of the loss the distillation term is, 0 to 1."""

    value: float
    """Of the value. A cross-entropy holds its targets' entropy, so that this is large even where nothing is learned."""
    gradient: float
    """Of the gradient at the student's logits, by the norm of each term's: what the term can teach."""


def soft_share(
    outputs: Tensor, targets: Tensor, labels: Tensor, *, alpha: float, temperature: float, faults: Faults
) -> Share:
    """The share of the distillation term in the loss and in its gradient; arguments as for `loss_terms`."""
    leaf = outputs.detach().double().requires_grad_()
    terms = loss_terms(leaf, targets.double(), labels, alpha=alpha, temperature=temperature, faults=faults)
    norms = [float(torch.autograd.grad(term, leaf, retain_graph=True)[0].norm()) for term in terms]
    soft, total, length = float(terms.soft.detach()), float(terms.total.detach()), sum(norms)
    return Share(soft / total if total else 0.0, norms[1] / length if length else 0.0)
