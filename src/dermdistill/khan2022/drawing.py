"""Small line drawings as SVG text: ROC curves and the curves of accuracy and loss."""

from dataclasses import dataclass
from html import escape
from typing import Any

_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7c3aed", "#475569", "#be185d", "#0e7490", "#a16207")
_DASHES = ("", "6 3", "2 2", "8 3 2 3")
_SIDE, _PAD = 180, 34


@dataclass(frozen=True)
class Line:
    """One line of a drawing."""

    label: str
    points: list[tuple[float, float]]


def curves(history: list[dict[str, Any]], title: str) -> str:
    """Accuracy and loss by epoch, of training and validation images, side by side."""
    panels = (
        ("accuracy", (("training", "train_accuracy"), ("validation", "accuracy"))),
        ("loss", (("training", "loss"), ("validation", "validation_loss"))),
    )
    drawn = []
    for what, series in panels:
        lines = [
            Line(label, [(float(e["epoch"] + 1), float(e[key])) for e in history if e.get(key) is not None])
            for label, key in series
        ]
        drawn.append(panel([line for line in lines if line.points], "epoch", what))
    return _svg(drawn, f"{title}: accuracy and loss by epoch")


def roc(named: dict[str, list[list[float]]], title: str) -> str:
    """ROC curves of several rows."""
    lines = [Line(name, [(x, y) for x, y in points]) for name, points in named.items()]
    return _svg([panel(lines, "1 - specificity", "sensitivity", (0, 1, 0, 1))], f"{title}: ROC curves", legend=lines)


def panel(lines: list[Line], x: str, y: str, limits: tuple[float, float, float, float] | None = None) -> str:
    """One pair of axes with lines; without limits they are those of the points."""
    points = [point for line in lines for point in line.points] or [(0.0, 0.0)]
    if limits is None:
        xs, ys = [a for a, _ in points], [b for _, b in points]
        limits = (min(xs), max(xs), min(ys), max(ys))
    left, right, low, high = limits
    width, height = right - left or 1.0, high - low or 1.0
    parts = [
        f'<path d="M{_PAD} 6V{_PAD + _SIDE - 28}H{_PAD + _SIDE}" fill="none" stroke="#94a3b8"/>',
        f'<text x="{_PAD + _SIDE / 2}" y="{_SIDE + 26}" text-anchor="middle">{escape(x)}</text>',
        f'<text x="{_PAD}" y="{_SIDE + 26}">{left:g}</text>',
        f'<text x="{_PAD + _SIDE}" y="{_SIDE + 26}" text-anchor="end">{right:g}</text>',
        f'<text x="{_PAD + 6}" y="14">{escape(y)}</text>',
        f'<text x="{_PAD - 4}" y="14" text-anchor="end">{high:.2g}</text>',
        f'<text x="{_PAD - 4}" y="{_SIDE + 4}" text-anchor="end">{low:.2g}</text>',
    ]
    for index, line in enumerate(lines):
        path = " ".join(
            f"{_PAD + (a - left) / width * _SIDE:.1f},{6 + (1 - (b - low) / height) * _SIDE:.1f}"
            for a, b in line.points
        )
        parts.append(
            f'<polyline points="{path}" fill="none" {_look(index)}><title>{escape(line.label)}</title></polyline>'
        )
    return "".join(parts)


def _look(index: int) -> str:
    dash = _DASHES[index // len(_COLOURS) % len(_DASHES)] if index >= len(_COLOURS) else _DASHES[index % 2]
    return f'stroke="{_COLOURS[index % len(_COLOURS)]}" stroke-width="1.6" stroke-dasharray="{dash}"'


def _svg(panels: list[str], title: str, legend: list[Line] | None = None) -> str:
    step = _PAD + _SIDE + 16
    width, height = step * len(panels), _SIDE + 34
    body = "".join(f'<g transform="translate({index * step} 0)">{part}</g>' for index, part in enumerate(panels))
    names = legend or [Line("training", []), Line("validation", [])]
    for index, line in enumerate(names):
        at = 18 + 14 * index
        body += f'<path d="M{width + 4} {at - 4}h18" {_look(index)}/>'
        body += f'<text x="{width + 27}" y="{at}">{escape(line.label)}</text>'
    height = max(height, 24 + 14 * len(names))
    return (
        f'<svg viewBox="0 0 {width + 190} {height}" width="{width + 190}" role="img" font-size="10" '
        f'font-family="sans-serif" fill="currentColor"><title>{escape(title)}</title>{body}</svg>'
    )
