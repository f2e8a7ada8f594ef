"""How far a format's answers are from those of the graph that it was made of, and whether that is near enough."""

import numpy as np

from dermdistill.errors import IntegrityError
from dermdistill.predict.variants import Agreement, Tolerance

ENOUGH = 20
"""Melanomas, and others, from which on a loss of AUROC counts: with fewer a single pair moves it by more."""


def compare(
    reference: np.ndarray, found: np.ndarray, melanoma: int, threshold: float, labels: np.ndarray | None
) -> Agreement:
    """Compare probabilities [N, C] of the same images.

    Args:
        reference: those of model.onnx.
        found: those of a format.
        melanoma: index of melanoma among the classes.
        threshold: at or above it an image counts as positive.
        labels: 0 or 1 for each image, whether it shows a melanoma; None if that is not known.

    Raises:
        IntegrityError: the format's answers have another shape or are no probabilities.
    """
    if found.shape != reference.shape:
        raise IntegrityError(f"it gave probabilities of shape {found.shape}, expected {reference.shape}")
    if not (np.isfinite(found).all() and found.min() >= -1e-3 and found.max() <= 1 + 1e-3):
        raise IntegrityError(f"it gave values of {found.min():.3g} to {found.max():.3g}, which are no probabilities")
    before, after = reference[:, melanoma].astype(float), found[:, melanoma].astype(float)
    reason = None
    if labels is None:
        reason = "the labels of the images are not known"
    elif len(set(labels.tolist())) < 2:
        reason = "the images are all melanomas, or none is"
    auroc = None if reason or labels is None else _auroc(labels, before)
    return Agreement(
        probabilities_max_abs_difference=min(1.0, float(np.abs(found - reference).max())),
        melanoma_mean_abs_difference=float(np.abs(after - before).mean()),
        auroc_reference=auroc,
        auroc_difference=None if auroc is None or labels is None else _auroc(labels, after) - auroc,
        auroc_undefined=reason,
        decision_flips=int(((before >= threshold) != (after >= threshold)).sum()),
        images=len(found),
    )


def _auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def misfits(agreement: Agreement, allowed: Tolerance, labels: np.ndarray | None) -> list[str]:
    """What is beyond the tolerance, in words; nothing if all is within."""
    flips = agreement.decision_flips / max(1, agreement.images)
    measured = {
        "a probability by": (agreement.probabilities_max_abs_difference, allowed.probability),
        "the probability of melanoma on average by": (agreement.melanoma_mean_abs_difference, allowed.mean),
        "the share of changed decisions is": (flips, allowed.flips),
    }
    if agreement.auroc_difference is not None and labels is not None:
        fewest = min(int((labels == 1).sum()), int((labels == 0).sum()))
        if fewest >= ENOUGH:
            measured["AUROC is lower by"] = (-agreement.auroc_difference, allowed.auroc)
    return [f"{what} {value:.4g} (allowed {most:g})" for what, (value, most) in measured.items() if not value <= most]
