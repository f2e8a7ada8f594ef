"""The report's drawings, as inline SVG."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, roc_curve

from dermdistill.classes import CLASSES
from dermdistill.evaluate.metrics import Scored

_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7c3aed", "#475569", "#be185d", "#0e7490", "#a16207")


def _svg(drawing: Figure) -> str:
    text = io.StringIO()
    drawing.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _square(axes: Axes, x: str, y: str) -> None:
    axes.plot([0, 1], [0, 1], color="#cbd5e1", linewidth=1, zorder=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=x, ylabel=y, aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)


def roc(models: dict[str, Scored]) -> str:
    """ROC curves of melanoma against the rest."""
    drawing = Figure(figsize=(5, 5))
    axes = drawing.subplots()
    for colour, (name, scored) in zip(_cycle(len(models)), models.items(), strict=True):
        if 0 < scored.y.sum() < len(scored.y):
            fall_out, sensitivity, _ = roc_curve(scored.y, scored.p)
            axes.plot(fall_out, sensitivity, color=colour, label=name, linewidth=1.6)
    _square(axes, "1 - specificity", "sensitivity")
    axes.legend(frameon=False, loc="lower right")
    return _svg(drawing)


def reliability(models: dict[str, Scored], bins: int = 10) -> str:
    """Observed share of melanomas against the predicted probability, bins of equal mass."""
    drawing = Figure(figsize=(5, 5))
    axes = drawing.subplots()
    for colour, (name, scored) in zip(_cycle(len(models)), models.items(), strict=True):
        parts = np.array_split(np.argsort(scored.p, kind="stable"), min(bins, len(scored.p)))
        axes.plot(
            [scored.p[part].mean() for part in parts], [scored.y[part].mean() for part in parts],
            "o-", color=colour, label=name, markersize=4, linewidth=1.2,
        )  # fmt: skip
    _square(axes, "predicted melanoma probability", "share of melanomas")
    axes.legend(frameon=False, loc="lower right")
    return _svg(drawing)


def confusion(models: dict[str, Scored]) -> str:
    """Row-normalised confusion matrices of the seven-class models; empty without any."""
    known = {name: part for name, part in models.items() if part.predicted is not None and part.diagnosis is not None}
    if not known:
        return ""
    columns = min(3, len(known))
    rows = -(-len(known) // columns)
    drawing = Figure(figsize=(4.2 * columns, 4.2 * rows))
    every = drawing.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, part) in zip(every, known.items(), strict=False):
        matrix = confusion_matrix(part.diagnosis, part.predicted, labels=range(len(CLASSES)))
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            ink = "white" if shares[row, column] > 0.55 else "#0f172a"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=ink)
        axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=45)
        axes.set_yticks(range(len(CLASSES)), CLASSES)
        axes.set(title=name, xlabel="predicted", ylabel="diagnosis")
    for axes in every[len(known) :]:
        axes.set_axis_off()
    drawing.tight_layout()
    return _svg(drawing)


def _cycle(count: int) -> list[str]:
    return [_COLOURS[index % len(_COLOURS)] for index in range(count)]
