"""Small line drawings as SVG text: ROC curves, curves of accuracy and loss, sweeps of both protocols side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7c3aed", "#475569", "#be185d", "#0e7490", "#a16207")
_DASHES = ("", "6 3", "2 2", "8 3 2 3")
_SIDE, _PAD, _TOP = 180, 34, 6
_APART = 3
"""How many times as large a loss is that is not drawn on the scale of another."""


@dataclass(frozen=True)
class Line:
    """One line of a drawing."""

    label: str
    points: list[tuple[float, float]]


def curves(history: list[dict[str, Any]], title: str) -> str:
    """Accuracy and loss by epoch, of training and validation images, side by side.

    The training loss of a distilled row holds the soft term, up to T² times as large; it then has a panel of its own.
    """
    training, validation = (("training", "loss"), ("validation", "validation_loss"))
    panels: list[tuple[str, tuple[tuple[str, str], ...]]]
    panels = [("accuracy", (("training", "train_accuracy"), ("validation", "accuracy")))]
    if _most(history, "loss") > _APART * _most(history, "validation_loss"):
        panels += [("loss, with the soft term", (training,)), ("loss", (("training", ""), validation))]
    else:
        panels.append(("loss", (training, validation)))
    drawn = []
    for what, series in panels:
        lines = [
            Line(label, [(float(e["epoch"] + 1), float(e[key])) for e in history if e.get(key) is not None])
            for label, key in series
        ]
        drawn.append(panel(lines, "epoch", what))
    return _svg(drawn, f"{title}: accuracy and loss by epoch")


def _most(history: list[dict[str, Any]], key: str) -> float:
    return max((float(epoch[key]) for epoch in history if epoch.get(key) is not None), default=0.0)


def roc(named: dict[str, list[list[float]]], title: str) -> str:
    """ROC curves of several rows."""
    lines = [Line(name, [(x, y) for x, y in points]) for name, points in named.items()]
    return _svg([panel(lines, "1 - specificity", "sensitivity", (0, 1, 0, 1))], f"{title}: ROC curves", legend=lines)


def sweep(entries: list[dict[str, Any]], values: list[float], what: str) -> str:
    """A sweep as published and corrected, side by side on one scale, with the published accuracies in the first.

    Args:
        entries: the rows of both protocols in the order of the values; those not run have no points.
        values: what is swept over; they stand at equal distances.
        what: its name under the axis.
    """
    panels, every = [], []
    for protocol in ("as-published", "corrected"):
        mine = [entry for entry in entries if entry["protocol"] == protocol]
        lines = [
            Line(f"{name}, ours", _points([entry["summary"][key]["mean"] for entry in mine]))
            for name, key in (("accuracy", "accuracy"), ("AUROC", "auroc"))
        ]
        if protocol == "as-published":
            lines.append(Line("accuracy that was published", _points([entry["published_accuracy"] for entry in mine])))
        panels.append((protocol, lines))
        every += [y for line in lines for _, y in line.points]
    limits = (0.0, len(values) - 1.0, _floor(min(every, default=0.5)), 1.0)
    names = [f"{value:g}" for value in values]
    drawn = [panel(lines, what, title, limits, names) for title, lines in panels]
    return _svg(drawn, f"{what}: both protocols", legend=panels[0][1])


def _points(values: list[float | None]) -> list[tuple[float, float]]:
    return [(float(place), value) for place, value in enumerate(values) if value is not None]


def _floor(value: float) -> float:
    """The tenth below."""
    return int(value * 10) / 10


def standalone(svg: str) -> str:
    """A drawing as a file of its own, dark on white."""
    _, _, rest = svg.partition("<svg ")
    head, _, body = rest.partition(">")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {head.replace("currentColor", "#0f172a")}>'
        f'<rect width="100%" height="100%" fill="#fff"/>{body}\n'
    )


def panel(
    lines: list[Line], x: str, y: str, limits: tuple[float, float, float, float] | None = None,
    labels: list[str] | None = None,
) -> str:  # fmt: skip
    """One pair of axes with lines; without limits they are those of the points.

    Args:
        lines: what is drawn.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        limits: left, right, low, high.
        labels: of the whole numbers from 0 on along the horizontal axis; points are then marked, and the vertical axis
            has a line at each tenth. Without them the axis has its limits alone.
    """
    points = [point for line in lines for point in line.points] or [(0.0, 0.0)]
    if limits is None:
        xs, ys = [a for a, _ in points], [b for _, b in points]
        limits = (min(xs), max(xs), min(ys), max(ys))
    left, right, low, high = limits
    width, height = right - left or 1.0, high - low or 1.0
    parts = [
        f'<path d="M{_PAD} 6V{_PAD + _SIDE - 28}H{_PAD + _SIDE}" fill="none" stroke="#94a3b8"/>',
        f'<text x="{_PAD + _SIDE / 2}" y="{_SIDE + (36 if labels else 26)}" text-anchor="middle">{escape(x)}</text>',
        f'<text x="{_PAD + 6}" y="14">{escape(y)}</text>',
        f'<text x="{_PAD - 4}" y="14" text-anchor="end">{high:.2g}</text>',
        f'<text x="{_PAD - 4}" y="{_SIDE + 4}" text-anchor="end">{low:.2g}</text>',
    ]
    if labels is None:
        parts += [
            f'<text x="{_PAD}" y="{_SIDE + 26}">{left:g}</text>',
            f'<text x="{_PAD + _SIDE}" y="{_SIDE + 26}" text-anchor="end">{right:g}</text>',
        ]

    def place(a: float, b: float) -> tuple[float, float]:
        return _PAD + (a - left) / width * _SIDE, _TOP + (1 - (b - low) / height) * _SIDE

    if labels is not None:
        parts += _ticks(labels, place, low, high)
    for index, line in enumerate(lines):
        if not line.points:
            continue
        places = [place(*point) for point in line.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(
            f'<polyline points="{path}" fill="none" {_look(index)}><title>{escape(line.label)}</title></polyline>'
        )
        if labels is not None:
            colour = _COLOURS[index % len(_COLOURS)]
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in places]
    return "".join(parts)


def _ticks(
    labels: list[str], place: Callable[[float, float], tuple[float, float]], low: float, high: float
) -> list[str]:
    """The names along the horizontal axis, and a line at each tenth of the vertical one."""
    parts = []
    for number, label in enumerate(labels):
        x = place(number, low)[0]
        parts.append(f'<text x="{x:.1f}" y="{_SIDE + 21}" text-anchor="middle">{escape(label)}</text>')
    for tenth in range(round(low * 10) + 1, round(high * 10)):
        y = place(0, tenth / 10)[1]
        parts.append(f'<path d="M{_PAD} {y:.1f}h{_SIDE}" stroke="#cbd5e1" stroke-width=".6"/>')
        parts.append(f'<text x="{_PAD - 4}" y="{y + 3:.1f}" text-anchor="end">{tenth / 10:g}</text>')
    return parts


def _look(index: int) -> str:
    dash = _DASHES[index // len(_COLOURS) % len(_DASHES)] if index >= len(_COLOURS) else _DASHES[index % 2]
    return f'stroke="{_COLOURS[index % len(_COLOURS)]}" stroke-width="1.6" stroke-dasharray="{dash}"'


def _svg(panels: list[str], title: str, legend: list[Line] | None = None) -> str:
    step = _PAD + _SIDE + 16
    width, height = step * len(panels), _SIDE + 42
    body = "".join(f'<g transform="translate({index * step} 0)">{part}</g>' for index, part in enumerate(panels))
    names = legend or [Line("training", []), Line("validation", [])]
    for index, line in enumerate(names):
        at = 18 + 14 * index
        body += f'<path d="M{width + 4} {at - 4}h18" {_look(index)}/>'
        body += f'<text x="{width + 27}" y="{at}">{escape(line.label)}</text>'
    height = max(height, 24 + 14 * len(names))
    return (
        f'<svg viewBox="0 0 {width + 190} {height}" width="{width + 190}" height="{height}" role="img" font-size="10" '
        f'font-family="sans-serif" fill="currentColor"><title>{escape(title)}</title>{body}</svg>'
    )
