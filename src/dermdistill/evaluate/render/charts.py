"""Drawings of what report.json says: decision curve, subgroups, and what an AUROC costs."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dermdistill.evaluate.analyses.decision import Decision
from dermdistill.evaluate.analyses.headline import Model
from dermdistill.evaluate.render.plots import Drawing, look, style, svg

_COSTS = {"parameters": ("parameters", 1.0), "macs": ("million multiply-accumulates", 1e-6),
          "milliseconds": ("milliseconds an image", 1.0)}  # fmt: skip
"""The model's fields that it costs, with what an axis calls them and their unit."""
_DECISION = (
    "A curve above both grey lines says that acting on the model does more good than acting on every lesion or on "
    "none, for whoever acts from that probability on."
)
_FOREST = (
    "Each dot is the AUROC among the images of one subgroup and each bar its 95 % interval; where bars overlap widely, "
    "the images do not show a difference between subgroups."
)
_PARETO = "Models further left cost less and models further up find more; one below and right of another is dominated."


def decision_curve(found: Decision) -> Drawing:
    """Net benefit against the probability from which one acts."""
    with style():
        drawing = Figure(figsize=(6, 4.4))
        axes = drawing.subplots()
        axes.axhline(0, color="#64748b", linewidth=1, label="act on none")
        axes.plot(found.probabilities, found.all, color="#94a3b8", linewidth=1.4, label="act on every lesion")
        for index, (name, values) in enumerate(found.models.items()):
            axes.plot(found.probabilities, values, label=name, **look(index))
        top = max(max(values) for values in [found.all, *found.models.values()])
        axes.set(xlim=(0, found.probabilities[-1]), ylim=(-0.25 * max(top, 1e-3), 1.1 * max(top, 1e-3)),
                 xlabel="probability of melanoma from which one acts", ylabel="net benefit")  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), handlelength=2.6)
        text = "Net benefit (melanomas found an image, less needless actions at their odds) for each model."
        return Drawing("Decision curve", svg(drawing), text, _DECISION)


def forest(models: Mapping[str, Model]) -> Drawing | None:
    """The AUROC of every subgroup with its interval; None if no subgroup has a figure."""
    first = next(iter(models.values()))
    names = [
        name for name in first.subgroups if any(model.subgroups[name].value is not None for model in models.values())
    ]
    if not names:
        return None
    with style():
        drawing = Figure(figsize=(7, 0.9 + len(names) * max(0.28, 0.13 * len(models))))
        axes = drawing.subplots()
        for index, (name, model) in enumerate(models.items()):
            shift = (index - (len(models) - 1) / 2) * 0.7 / len(models)
            own = {"color": look(index)["color"]}
            overall = model.metrics["auroc"].value
            if overall is not None:
                axes.axvline(overall, linewidth=0.8, linestyle=":", zorder=0, **own)
            rows = [(place, model.subgroups[group]) for place, group in enumerate(names)]
            known = [(place + shift, entry) for place, entry in rows if entry.value is not None]
            for place, entry in known:
                if entry.low is not None and entry.high is not None:
                    axes.plot([entry.low, entry.high], [place, place], linewidth=1.4, **own)
            values = [float(entry.value or 0) for _, entry in known]
            axes.plot(values, [place for place, _ in known], "o", markersize=4, label=name, **own)
        counted = {name: first.subgroups[name] for name in names}
        axes.set_yticks(range(len(names)), [f"{name} ({of.n:,}; {of.positives})" for name, of in counted.items()])
        axes.set(xlabel="melanoma AUROC, 95 % interval (dotted: all images)", ylim=(len(names) - 0.4, -0.6))
        axes.grid(axis="x", color="#e2e8f0")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        if len(models) > 1:
            axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(models), 4))
        return Drawing("Subgroups", svg(drawing), "AUROC in each subgroup (images; melanomas in it).", _FOREST)


def pareto(models: Mapping[str, Model]) -> list[Drawing]:
    """AUROC against each cost that is known of at least two models."""
    drawn = []
    for field, (label, unit) in _COSTS.items():
        known = {name: model for name, model in models.items()
                 if getattr(model, field) and model.metrics["auroc"].value is not None}  # fmt: skip
        if len(known) > 1:
            places = {name: getattr(model, field) * unit for name, model in known.items()}
            text = f"Melanoma AUROC with its 95 % interval against {label}, on a logarithmic scale."
            with style():
                plot = _against(known, places, list(models), label)
            drawn.append(Drawing(f"AUROC against {label}", plot, text, _PARETO))
    return drawn


def _against(models: Mapping[str, Model], places: dict[str, float], order: list[str], label: str) -> str:
    drawing = Figure(figsize=(5, 3.8))
    axes = drawing.subplots()
    for name, model in models.items():
        figure, colour = model.metrics["auroc"], look(order.index(name))["color"]
        if figure.low is not None and figure.high is not None:
            axes.plot([places[name]] * 2, [figure.low, figure.high], linewidth=1.2, color=colour)
        axes.plot(
            [places[name]],
            [float("nan") if figure.value is None else figure.value],
            "o",
            markersize=5,
            color=colour,
            label=name,
        )
    values = {name: float(model.metrics["auroc"].value or 0) for name, model in models.items()}
    best = best_so_far({name: (places[name], value) for name, value in values.items()})
    axes.step(*zip(*best, strict=True), where="post", color="#94a3b8", linewidth=1, zorder=0)
    axes.set_xscale("log", subs=[])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: in_short(value)))
    axes.set(xlabel=label, ylabel="melanoma AUROC")
    axes.margins(x=0.15)
    axes.grid(color="#e2e8f0")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return svg(drawing)


def best_so_far(points: Mapping[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of (cost, value) that nothing cheaper or as cheap beats, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points.values(), key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def in_short(value: float) -> str:
    """A power of ten for an axis, such as 0.1, 10, 100 k or 1 M."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
