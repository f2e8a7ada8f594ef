"""A row's training as a `dermdistill.training.loop.Task`, and a network's outputs for some images."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from dermdistill.khan2022.data import Division, Pixels, Pool
from dermdistill.khan2022.protocol import Faults, loss_terms, probabilities
from dermdistill.khan2022.systems import input_normalisation


@dataclass(frozen=True)
class Entry:
    """How pixels enter a network: normalised as it expects, or raw."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw: bool
    """0 to 255, as published."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """float32 [B, 3, S, S], channels last, of uint8 [B, 3, S, S]."""
        images = pixels.float().contiguous(memory_format=torch.channels_last)
        if self.raw:
            return images
        shape = (1, 3, 1, 1)
        mean, std = images.new_tensor(self.mean).view(shape), images.new_tensor(self.std).view(shape)
        return (images / 255 - mean) / std


def entry_of(system: str, faults: Faults) -> Entry:
    """How a system's images enter under some faults."""
    return Entry(*input_normalisation(system), raw=faults.no_normalisation)


class Batch(NamedTuple):
    """One step's input."""

    images: Tensor
    labels: Tensor
    targets: Tensor | None


@dataclass
class PaperTask:
    """Train one row: on the diagnoses alone, or after soft targets as well."""

    pool: Pool
    division: Division
    entry: Entry
    faults: Faults
    targets: Tensor | None = None
    """Soft targets [N, 2] of the training images, in the order of `division.train`."""
    alpha: float = 0.1
    temperature: float = 10.0
    _right: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def size(self) -> int:
        return len(self.division.train)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """A permutation of the training images."""
        self._right = [0, 0]
        return np.random.default_rng([seed, epoch]).permutation(self.size)

    def batch(self, rows: np.ndarray, epoch: int, device: torch.device) -> Batch:
        which = self.division.train[rows]
        images = self.entry(self.pool.pixels.read(which).to(device))
        targets = None if self.targets is None else self.targets[torch.from_numpy(rows)].to(device)
        return Batch(images, torch.from_numpy(self.pool.labels[which]).to(device), targets)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The row's loss; the training accuracy is counted on the way, in training mode, as Keras does."""
        outputs = model(batch.images)
        self._right[0] += int((outputs.detach().argmax(1) == batch.labels).sum())
        self._right[1] += len(batch.labels)
        if batch.targets is None:
            return functional.cross_entropy(outputs, batch.labels)
        return loss_terms(
            outputs, batch.targets, batch.labels,
            alpha=self.alpha, temperature=self.temperature, faults=self.faults,
        ).total  # fmt: skip

    def score(self, model: nn.Module, device: torch.device) -> dict[str, float | None]:
        """Validation figures, and the training accuracy of the epoch (of its rest, if it was interrupted).

        `auroc` chooses the checkpoint: of the validation images, or of the test images under that fault.
        """
        figures = self._figures(model, self.division.validation, device)
        found = {"auroc": figures["auroc"], "accuracy": figures["accuracy"], "validation_loss": figures["loss"]}
        if self.faults.test_selection:
            found["validation_auroc"] = figures["auroc"]
            found["auroc"] = self._figures(model, self.division.test, device)["auroc"]
        return found | {"train_accuracy": self._right[0] / self._right[1] if self._right[1] else None}

    def _figures(self, model: nn.Module, rows: np.ndarray, device: torch.device) -> dict[str, float | None]:
        outputs, labels = torch.from_numpy(predict(model, self.pool.pixels, rows, self.entry, device)), self.pool.labels
        chance = probabilities(outputs, self.faults)
        truth = torch.from_numpy(labels[rows])
        return {
            "auroc": auroc(labels[rows], ranking(outputs)),
            "accuracy": float((chance.argmax(1) == truth).float().mean()),
            "loss": float(functional.nll_loss(chance.clamp_min(1e-12).log(), truth)),
        }


def ranking(outputs: Tensor) -> np.ndarray:
    """A score that orders images as their probability does, without its ties by rounding; float64 [N]."""
    return (outputs[:, 1].double() - outputs[:, 0].double()).cpu().numpy()


def auroc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve; None if one class is missing."""
    return float(roc_auc_score(labels, scores)) if 0 < labels.sum() < len(labels) else None


@torch.inference_mode()
def predict(
    model: nn.Module, pixels: Pixels, rows: np.ndarray, entry: Entry, device: torch.device, batch_size: int = 64
) -> np.ndarray:
    """The network's logits of some images in evaluation mode, float32 [N, 2]; its mode is put back."""
    was_training = model.training
    model.eval()
    found = []
    for start in range(0, len(rows), batch_size):
        images = entry(pixels.read(rows[start : start + batch_size]).to(device))
        found.append(model(images).float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(found)
