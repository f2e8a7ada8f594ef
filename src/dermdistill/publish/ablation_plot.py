"""The drawing of an ablation: what each change of the views gives, with its interval."""

import io
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "dermdistill", "text.parse_math": False, "font.size": 10}
_SURE, _UNSURE = "#0b5cad", "#64748b"


def forest(rows: dict[str, dict[str, Any]]) -> str:
    """Paired differences to the base and their 95 % intervals, over all images and within collections, as SVG.

    A difference whose interval leaves out zero is filled, any other is hollow.

    Args:
        rows: those of `dermdistill.publish.ablation.judge`, the base too, which is not drawn.
    """
    named = {name: entry for name, entry in rows.items() if entry["difference"] is not None}
    inside = {name: (entry["within"] or {}).get("difference") for name, entry in named.items()}
    panels = [("all images", {name: entry["difference"] for name, entry in named.items()})]
    if all(inside.values()):
        panels.append(("within collections", inside))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6 * len(panels), 0.9 + 0.3 * len(named)), layout="constrained")
        for axes, (title, gaps) in zip(
            figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels, strict=True
        ):
            _panel(axes, title, gaps)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _panel(axes: Axes, title: str, gaps: dict[str, Any]) -> None:
    for place, gap in enumerate(gaps.values()):
        if gap["low"] is None:
            continue
        sure = gap["low"] > 0 or gap["high"] < 0
        colour = _SURE if sure else _UNSURE
        error = [[gap["value"] - gap["low"]], [gap["high"] - gap["value"]]]
        axes.errorbar(
            gap["value"], place, xerr=error, fmt="o", ms=6, lw=1.5, color=colour, mfc=colour if sure else "white"
        )
    axes.axvline(0, color="#94a3b8", lw=1, zorder=0)
    axes.set(title=title, xlabel="melanoma AUROC minus base", yticks=range(len(gaps)), yticklabels=list(gaps))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(len(gaps) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
