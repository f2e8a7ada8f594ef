"""Drawings of spoiled images and of risk against coverage."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dermdistill.evaluate.document import Report
from dermdistill.evaluate.render.plots import Drawing
from dermdistill.images.corruptions import SEVERITIES

_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7c3aed", "#475569", "#be185d")
_MARKS = ("o", "s", "^", "D", "v", "P")
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "dermdistill", "text.parse_math": False, "font.size": 9}
_COLUMNS = 4


def draw_corruptions(report: Report) -> Drawing:
    """The AUROC against severity, a drawing for each corruption."""
    text = "AUROC at severities 1 to 5 of each corruption, with its 95 % interval; dotted: the images as they are."
    with matplotlib.rc_context(_STYLE):
        meaning = "A curve that falls steeply shows what a photographer must avoid."
        return Drawing("Corruptions", _corruptions(report), text, meaning)


def draw_risk(report: Report) -> Drawing:
    """The share of wrong decisions against the share of images that is decided."""
    text = "Share of wrong decisions among the most certain images, against the share that is decided."
    with matplotlib.rc_context(_STYLE):
        meaning = "The curve of a model that knows when it is wrong stays near zero until most images are decided."
        return Drawing("Risk and coverage", _risk(report), text, meaning)


def _corruptions(report: Report) -> str:
    names = list(next(iter(report.corruptions.values())).corruptions)
    rows = -(-len(names) // _COLUMNS)
    drawing = Figure(figsize=(9.5, 2.1 * rows))
    grid = drawing.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    for name, axes in zip(names, grid.flat, strict=False):
        for index, (model, of) in enumerate(report.corruptions.items()):
            look: dict[str, Any] = {"color": _COLOURS[index % len(_COLOURS)], "linewidth": 1.4}
            if of.clean.value is not None:
                axes.axhline(of.clean.value, linestyle=":", zorder=0, **look)
            levels = [level.auroc for level in of.corruptions[name]]
            axes.plot(
                SEVERITIES, _numbers([level.value for level in levels]), label=model,
                marker=_MARKS[index % len(_MARKS)], markersize=3, **look,
            )  # fmt: skip
            low, high = (_numbers([getattr(level, end) for level in levels]) for end in ("low", "high"))
            axes.fill_between(SEVERITIES, low, high, color=look["color"], alpha=0.12, linewidth=0)
        axes.set_title(name, fontsize=9)
        axes.set_xticks(SEVERITIES)
        _plain(axes)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    grid.flat[0].legend(frameon=False, fontsize=8, loc="lower left")
    drawing.supxlabel("severity", fontsize=9)
    drawing.supylabel("AUROC", fontsize=9)
    drawing.tight_layout()
    return _svg(drawing)


def _risk(report: Report) -> str:
    drawing = Figure(figsize=(5, 3.6))
    axes = drawing.subplots()
    for index, (model, of) in enumerate(report.selective.items()):
        coverage, risk = np.array(of.curve).T
        axes.plot(coverage, risk, label=model, color=_COLOURS[index % len(_COLOURS)], linewidth=1.4)
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="share of images decided", ylabel="share of decisions wrong")
    _plain(axes)
    axes.legend(frameon=False)
    return _svg(drawing)


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values])


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _svg(drawing: Figure) -> str:
    text = io.StringIO()
    drawing.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
