"""The report's drawings, as inline SVG whose text stays text and whose bytes depend on the figures alone."""

import io
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import confusion_matrix, roc_curve

from dermdistill.classes import CLASSES
from dermdistill.evaluate.calibration import bins_of
from dermdistill.evaluate.metrics import Scored

_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7c3aed", "#475569", "#be185d", "#0e7490", "#a16207")
_LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
# A name may hold '$': it is not mathematics.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "dermdistill", "text.parse_math": False, "font.size": 10}


@dataclass(frozen=True)
class Drawing:
    """One drawing of the report."""

    title: str
    svg: str
    text: str
    """What it shows, for those who do not see it."""
    meaning: str = ""
    """What it means, in a sentence for people who do not program."""


def drawings(models: dict[str, Scored]) -> list[Drawing]:
    """ROC curves, reliability and confusion of models on the same images; what cannot be drawn is left out."""
    found = []
    with matplotlib.rc_context(_STYLE):
        y = next(iter(models.values())).y
        if 0 < y.sum() < len(y):
            text = "Sensitivity against 1 - specificity for each model. Dotted: 90 % specificity and 95 % sensitivity."
            found.append(Drawing("ROC curves", _roc(models), text))
        text = "Share of melanomas against the predicted probability, in bins of as many images each."
        found.append(Drawing("Reliability", _reliability(models), text))
        for name, part in models.items():
            if part.predicted is not None and part.diagnosis is not None:
                text = "Images by diagnosis (rows) and prediction (columns); shade is the share of the row."
                found.append(Drawing(f"Confusion: {name}", _confusion(part.predicted, part.diagnosis), text))
    return found


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
    with matplotlib.rc_context(_STYLE):
        drawing = Figure(figsize=(7, 3.6))
        axes = drawing.subplots()
        for index, (name, lines) in enumerate(known.items()):
            mark = _MARKS[index % len(_MARKS)]
            x, values = [line["epoch"] + 1 for line in lines], [line[key] for line in lines]
            axes.plot(x, values, marker=mark, markersize=3, label=name, **_look(index))
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return [Drawing("Training curves", _svg(drawing), f"{label[0].upper()}{label[1:]} after each epoch.")]


def _svg(drawing: Figure) -> str:
    text = io.StringIO()
    drawing.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _square(axes: Axes, x: str, y: str) -> None:
    axes.plot([0, 1], [0, 1], color="#cbd5e1", linewidth=1, zorder=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=x, ylabel=y, aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)


def _look(index: int) -> dict[str, Any]:
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _LINES[index % len(_LINES)], "linewidth": 1.6}


def _legend(axes: Axes, place: Literal["lower right", "upper left"]) -> None:
    axes.legend(frameon=False, loc=place, handlelength=2.6)


def _roc(models: dict[str, Scored]) -> str:
    drawing = Figure(figsize=(5, 5))
    axes = drawing.subplots()
    for index, (name, scored) in enumerate(models.items()):
        fall_out, sensitivity, _ = roc_curve(scored.y, scored.p)
        axes.plot(fall_out, sensitivity, label=name, **_look(index))
    axes.axvline(0.1, color="#94a3b8", linewidth=0.8, linestyle=":", zorder=0)
    axes.axhline(0.95, color="#94a3b8", linewidth=0.8, linestyle=":", zorder=0)
    _square(axes, "1 - specificity", "sensitivity")
    _legend(axes, "lower right")
    return _svg(drawing)


def _reliability(models: dict[str, Scored], bins: int = 10) -> str:
    drawing = Figure(figsize=(5, 5))
    axes = drawing.subplots()
    for index, (name, scored) in enumerate(models.items()):
        order, starts = bins_of(scored.p, bins)
        parts = np.split(order, starts[1:])
        axes.plot(
            [scored.p[part].mean() for part in parts], [scored.y[part].mean() for part in parts],
            marker=_MARKS[index % len(_MARKS)], markersize=5, label=name, **_look(index),
        )  # fmt: skip
    _square(axes, "predicted melanoma probability", "share of melanomas")
    _legend(axes, "upper left")
    return _svg(drawing)


def _confusion(predicted: np.ndarray, diagnosis: np.ndarray) -> str:
    known = diagnosis >= 0
    matrix = confusion_matrix(diagnosis[known], predicted[known], labels=range(len(CLASSES)))
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    drawing = Figure(figsize=(4.6, 4.6))
    axes = drawing.subplots()
    # cells as rectangles: an image would be a bitmap inside the SVG
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    for (row, column), count in np.ndenumerate(matrix):
        ink = "white" if shares[row, column] > 0.55 else "#0f172a"
        axes.text(column + 0.5, row + 0.5, str(count), ha="center", va="center", fontsize=9, color=ink)
    middle = np.arange(len(CLASSES)) + 0.5
    axes.set_xticks(middle, CLASSES)
    axes.set_yticks(middle, CLASSES)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="diagnosis", aspect="equal")
    axes.invert_yaxis()
    return _svg(drawing)
