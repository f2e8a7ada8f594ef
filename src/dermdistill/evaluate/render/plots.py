"""The report's drawings, as inline SVG whose text stays text and whose bytes depend on the figures alone."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from dermdistill.classes import CLASSES
from dermdistill.evaluate.calibration import bins_of
from dermdistill.evaluate.metrics import Scored

_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7c3aed", "#475569", "#be185d", "#0e7490", "#a16207")
_LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
# A name may hold '$': it is not mathematics.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "dermdistill", "text.parse_math": False, "font.size": 10}

_SIDES = ("above the threshold", "below")
_TRUTH = ("melanoma", "other")
_ROC = (
    "The nearer a curve comes to the upper left corner, the better the model tells melanomas from other lesions; one "
    "that guesses follows the diagonal."
)
_PRECISION = (
    "How many of the flagged lesions are melanomas, while more and more melanomas are found; the dotted line is what "
    "guessing gives, and it depends on how frequent melanomas are among these images."
)
_RELIABILITY = (
    "On the diagonal a probability means what it says: of lesions with 20 %, one in five is a melanoma. Below it the "
    "model says too much, above it too little."
)
_CONFUSION = "Numbers on the diagonal are right; those beside it show which diagnoses the model takes for each other."
_TRAINING = "Shows whether training had settled when it ended: a curve that still moves has not."


@dataclass(frozen=True)
class Drawing:
    """One drawing of the report."""

    title: str
    svg: str
    text: str
    """What it shows, for those who do not see it."""
    meaning: str = ""
    """What it means, in a sentence for people who do not program."""


def drawings(models: dict[str, Scored], thresholds: dict[str, np.ndarray] | None = None) -> list[Drawing]:
    """ROC, precision-recall and reliability curves and confusion of models; what cannot be drawn is left out.

    Args:
        models: on the same N images.
        thresholds: by model, what an image has to reach to count as melanoma [N].
    """
    found = []
    with style():
        y = next(iter(models.values())).y
        if 0 < y.sum() < len(y):
            text = "Sensitivity against 1 - specificity for each model. Dotted: 90 % specificity and 95 % sensitivity."
            found.append(Drawing("ROC curves", _roc(models), text, _ROC))
            text = "Share of melanomas among the images above a threshold, against the share of melanomas found there."
            found.append(Drawing("Precision and recall", _precision_recall(models, float(y.mean())), text, _PRECISION))
        text = "Share of melanomas against the predicted probability, in bins of as many images each."
        found.append(Drawing("Reliability", _reliability(models), text, _RELIABILITY))
        for name, threshold in (thresholds or {}).items():
            part = models[name]
            text = "Images by what they are (rows) and on which side of the threshold of 95 % sensitivity they fall."
            svg = _matrix(confusion_matrix(part.y, part.p >= threshold, labels=(1, 0)), _SIDES, _TRUTH)
            found.append(Drawing(f"At the operating point: {name}", svg, text, _at_point(part, threshold)))
        for name, part in models.items():
            if part.predicted is not None and part.diagnosis is not None:
                text = "Images by diagnosis (rows) and prediction (columns); shade is the share of the row."
                known = part.diagnosis >= 0
                counts = confusion_matrix(part.diagnosis[known], part.predicted[known], labels=range(len(CLASSES)))
                found.append(Drawing(f"Confusion: {name}", _matrix(counts, CLASSES, CLASSES), text, _CONFUSION))
    return found


def style() -> Any:
    """How all drawings look, as a context."""
    return matplotlib.rc_context(_STYLE)


def training_curves(epochs: dict[str, list[dict[str, Any]]]) -> list[Drawing]:
    """Validation AUROC, or without validation images the training loss, against the epoch.

    Args:
        epochs: the lines of metrics.jsonl by model; models without any are left out.
    """
    known = {name: lines for name, lines in epochs.items() if lines}
    if not known:
        return []
    validated = all(line.get("auroc") is not None for lines in known.values() for line in lines)
    key, label = ("auroc", "melanoma AUROC on validation images") if validated else ("loss", "training loss")
    with style():
        drawing = Figure(figsize=(7, 3.6))
        axes = drawing.subplots()
        for index, (name, lines) in enumerate(known.items()):
            mark = _MARKS[index % len(_MARKS)]
            x, values = [line["epoch"] + 1 for line in lines], [line[key] for line in lines]
            axes.plot(x, values, marker=mark, markersize=3, label=name, **look(index))
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        text = f"{label[0].upper()}{label[1:]} after each epoch."
        return [Drawing("Training curves", svg(drawing), text, _TRAINING)]


def svg(drawing: Figure) -> str:
    """A figure as inline SVG."""
    text = io.StringIO()
    drawing.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def _square(axes: Axes, x: str, y: str) -> None:
    axes.plot([0, 1], [0, 1], color="#cbd5e1", linewidth=1, zorder=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=x, ylabel=y, aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)


def look(index: int) -> dict[str, Any]:
    """Colour and line of the model with this number, the same in every drawing."""
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _LINES[index % len(_LINES)], "linewidth": 1.6}


def legend(axes: Axes, place: Literal["lower right", "upper left", "lower left"]) -> None:
    """The models' names."""
    axes.legend(frameon=False, loc=place, handlelength=2.6)


def _roc(models: dict[str, Scored]) -> str:
    drawing = Figure(figsize=(5, 5))
    axes = drawing.subplots()
    for index, (name, scored) in enumerate(models.items()):
        fall_out, sensitivity, _ = roc_curve(scored.y, scored.p)
        axes.plot(fall_out, sensitivity, label=name, **look(index))
    axes.axvline(0.1, color="#94a3b8", linewidth=0.8, linestyle=":", zorder=0)
    axes.axhline(0.95, color="#94a3b8", linewidth=0.8, linestyle=":", zorder=0)
    _square(axes, "1 - specificity", "sensitivity")
    legend(axes, "lower right")
    return svg(drawing)


def _precision_recall(models: dict[str, Scored], share: float) -> str:
    drawing = Figure(figsize=(5, 5))
    axes = drawing.subplots()
    for index, (name, scored) in enumerate(models.items()):
        precision, recall, _ = precision_recall_curve(scored.y, scored.p)
        axes.plot(recall, precision, label=name, drawstyle="steps-post", **look(index))
    axes.axhline(share, color="#94a3b8", linewidth=0.8, linestyle=":", zorder=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall (sensitivity)", ylabel="precision (PPV)", aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    legend(axes, "lower left")
    return svg(drawing)


def reliability_points(scored: Scored, bins: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability and share of melanomas in bins of as many images each, [bins] both; ties share a bin."""
    order, starts = bins_of(scored.p, bins)
    parts = np.split(order, starts[1:])
    return np.array([scored.p[part].mean() for part in parts]), np.array([scored.y[part].mean() for part in parts])


def _reliability(models: dict[str, Scored]) -> str:
    drawing = Figure(figsize=(5, 5))
    axes = drawing.subplots()
    for index, (name, scored) in enumerate(models.items()):
        mark = _MARKS[index % len(_MARKS)]
        axes.plot(*reliability_points(scored), marker=mark, markersize=5, label=name, **look(index))
    _square(axes, "predicted melanoma probability", "share of melanomas")
    legend(axes, "upper left")
    return svg(drawing)


def _matrix(counts: np.ndarray, columns: Sequence[str], rows: Sequence[str]) -> str:
    """Counts [R, C] in cells whose shade is the share of the row."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    drawing = Figure(figsize=(4.6, 4.6 * len(rows) / len(columns)))
    axes = drawing.subplots()
    # cells as rectangles: an image would be a bitmap inside the SVG
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.55 else "#0f172a"
        axes.text(column + 0.5, row + 0.5, str(count), ha="center", va="center", fontsize=9, color=ink)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="diagnosis", aspect="equal")
    axes.invert_yaxis()
    return svg(drawing)


def _at_point(scored: Scored, threshold: np.ndarray) -> str:
    """The four counts in a sentence."""
    positive, y = scored.p >= threshold, scored.y.astype(bool)
    return (
        f"Of {int(y.sum()):,} melanomas {int((positive & y).sum()):,} are flagged and {int((~positive & y).sum()):,} "
        f"are missed; of {int((~y).sum()):,} other lesions {int((positive & ~y).sum()):,} are flagged without need."
    )
