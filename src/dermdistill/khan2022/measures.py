"""What is measured of a trained row: the paper's figures, and those that it lacks."""

from typing import Any

import numpy as np
import torch
from sklearn.metrics import classification_report, confusion_matrix, roc_curve
from torch import Tensor

from dermdistill.evaluate import metrics
from dermdistill.evaluate.calibration import ece
from dermdistill.evaluate.intervals import figure, in_blocks, resamples
from dermdistill.khan2022.protocol import Faults, probabilities, soft_share
from dermdistill.khan2022.task import auroc, ranking

CLASS_NAMES = ("benign", "malignant")
_REPLICATES = 1000
_SHARE_ROWS = 512
"""Training images that the share of the distillation term is measured on."""
_ROC_POINTS = 60


def figures_of(outputs: np.ndarray, labels: np.ndarray, cluster: np.ndarray, faults: Faults) -> dict[str, Any]:
    """All figures of the test images.

    Args:
        outputs: the network's logits [N, 2].
        labels: 0 or 1 [N].
        cluster: numbers of the lesions, int64 [N]; the intervals draw whole lesions.
        faults: decide what is taken for a probability.

    Returns:
        Accuracy and AUROC with 95 % intervals, calibration error, report by class, confusion matrix [true, predicted],
        range of the probabilities, and points of the ROC curve. A figure that is undefined is None, with its reason.
    """
    chance = probabilities(torch.from_numpy(outputs).double(), faults)[:, 1].numpy()
    predicted = (chance > 0.5).astype(np.int64)
    right = (predicted == labels).astype(np.float64)
    order = ranking(torch.from_numpy(outputs))
    weights = resamples(np.unique(cluster, return_inverse=True)[1], _REPLICATES, seed=0)
    scored = metrics.Scored(order, labels.astype(float), None, None)
    both = "benign and malignant test images are needed"
    return {
        "n": len(labels),
        "accuracy": vars(figure(in_blocks(lambda part: part @ right / part.sum(1), weights), both)),
        "auroc": vars(figure(in_blocks(lambda part: metrics.auroc(scored, part), weights), both)),
        "ece": ece(chance, labels),
        "report": by_class(labels, predicted),
        "confusion": confusion_matrix(labels, predicted, labels=[0, 1]).tolist(),
        "output_range": [float(chance.min()), float(chance.max())],
        "roc": _roc(labels, order),
    }


def by_class(labels: np.ndarray, predicted: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Precision, recall, F1 and support of each class; None where a denominator is zero."""
    found = classification_report(
        labels, predicted, labels=[0, 1], target_names=list(CLASS_NAMES), output_dict=True, zero_division=np.nan
    )
    return {
        name: {
            key: None if np.isnan(found[name][key]) else float(found[name][key])
            for key in ("precision", "recall", "f1-score", "support")
        }
        for name in CLASS_NAMES
    }


def _roc(labels: np.ndarray, scores: np.ndarray) -> list[list[float]] | None:
    """At most about sixty points [fall-out, sensitivity], rounded to three places."""
    if len(np.unique(labels)) < 2:
        return None
    fall_out, sensitivity, _ = roc_curve(labels, scores)
    which = np.unique(np.linspace(0, len(fall_out) - 1, _ROC_POINTS).round().astype(int))
    return [[round(float(fall_out[i]), 3), round(float(sensitivity[i]), 3)] for i in which]


def by_leak(outputs: np.ndarray, labels: np.ndarray, seen: np.ndarray, faults: Faults) -> dict[str, Any]:
    """AUROC and accuracy of the test images whose lesion was trained on, and of the others."""
    chance = probabilities(torch.from_numpy(outputs).double(), faults)
    right = chance.argmax(1).numpy() == labels
    order = ranking(torch.from_numpy(outputs))
    found = {}
    for name, rows in (("seen", seen), ("unseen", ~seen)):
        found[name] = {
            "n": int(rows.sum()), "accuracy": float(right[rows].mean()) if rows.any() else None,
            "auroc": auroc(labels[rows], order[rows]) if rows.any() else None,
        }  # fmt: skip
    return found


def target_measures(
    targets: Tensor, outputs: Tensor, labels: Tensor, *, alpha: float, temperature: float, faults: Faults
) -> dict[str, Any]:
    """What the distillation had to teach.

    Args:
        targets: soft targets of all training images [N, 2].
        outputs: the trained student's logits [M, 2] of the first M of them.
        labels: class indices of those [M].
        alpha: share of the hard term.
        temperature: T.
        faults: as in training.

    Returns:
        Soft-target mass per row (mean, least, most) and the share of the distillation term, by value and gradient.
    """
    mass = targets.double().sum(1)
    share = soft_share(
        outputs, targets[: len(outputs)], labels, alpha=alpha, temperature=temperature, faults=faults
    )  # fmt: skip
    return {
        "mass": {"mean": float(mass.mean()), "least": float(mass.min()), "most": float(mass.max())},
        "share": share._asdict(),
    }


def share_rows(count: int) -> int:
    """How many training images the share is measured on."""
    return min(count, _SHARE_ROWS)


def spread(values: list[float | None]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1), least and most over seeds; None where there are too few."""
    there = np.array([value for value in values if value is not None], float)
    if not len(there):
        return {"n": 0, "mean": None, "sd": None, "least": None, "most": None}
    return {
        "n": len(there), "mean": float(there.mean()), "sd": float(there.std(ddof=1)) if len(there) > 1 else None,
        "least": float(there.min()), "most": float(there.max()),
    }  # fmt: skip
