"""A run of the benchmark for people: a table, ratios, and the Pareto plot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dermdistill.bench.document import Bench, Subject, Timing
from dermdistill.errors import InputError
from dermdistill.files import atomic_path
from dermdistill.predict.variants import Certificate

AIMS = {"dsnet": 40, "resnet50": 150}
"""How many times as long these networks, at 224 px, should take as a bundle's fastest form."""


def settings(found: Bench) -> list[tuple[int, int]]:
    """Threads and batch of each setting that was measured."""
    return list(dict.fromkeys((timing.threads, timing.batch) for one in found.subjects for timing in one.timings))


def head(found: Bench) -> list[str]:
    """The columns of `rows`."""
    named = [f"{threads} thread{'s' if threads > 1 else ''}, batch {batch}" for threads, batch in settings(found)]
    return ["network", "runtime", "bytes", "MMACs", "AUROC", "flips", *named, "of peak", "start ms", "peak MiB"]


def rows(found: Bench) -> Iterator[list[str]]:
    """A line for each subject: medians and quartiles in milliseconds a call, and the ratio to the reference."""
    for one in found.subjects:
        cells = [_cell(one.timing(*setting)) for setting in settings(found)]
        yield [
            f"{one.name}@{one.size}", f"{one.runtime} {one.precision}", f"{one.bytes:,}", f"{one.macs / 1e6:.1f}",
            "" if one.auroc is None else f"{one.auroc:.3f}",
            "" if one.agreement is None else f"{one.agreement.decision_flips} of {one.agreement.images}", *cells,
            "" if one.share_of_peak is None else f"{one.share_of_peak:.2f}",
            "" if one.start is None else f"{one.start.wall_ms:.0f}",
            "" if one.start is None else f"{one.start.peak_mib:.0f}",
        ]  # fmt: skip


def _cell(timing: Timing | None) -> str:
    if timing is None:
        return ""
    return f"{timing.median_ms:.2f} ({timing.low_ms:.2f} to {timing.high_ms:.2f}), {timing.ratio:.2f}x"


def markdown(found: Bench) -> str:
    """The table, with the circumstances, as Markdown."""
    titles = head(found)
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(found)]
    ratios = times_as_fast(found)
    return "\n".join([*lines, "", *ratios, *([""] if ratios else []), *(f"- {line}" for line in notes(found)), ""])


def times_as_fast(found: Bench) -> list[str]:
    """How many times as long DSNet and ResNet-50 take as each form of a bundle, as a table in Markdown.

    One thread, one image, medians of the run; of each rival its fastest runtime counts. Empty where a rival or the
    setting was not measured.
    """
    took = {one.label: timing.median_ms for one in found.subjects if (timing := one.timing(1, 1)) is not None}
    timed = [one for one in found.subjects if one.label in took]
    rivals = {name: [took[one.label] for one in timed if one.name == name] for name in AIMS}
    if not all(rivals.values()):
        return []
    ours = sorted((one for one in timed if one.ours), key=lambda one: took[one.label])
    heads = [f"{name} takes (aim {aim}x)" for name, aim in AIMS.items()]
    lines = [f"| one thread, one image | ms | {' | '.join(heads)} | bytes |", "|" + "---|" * (3 + len(heads))]
    for one in ours:
        ratios = [f"{min(times) / took[one.label]:.1f}x" for times in rivals.values()]
        lines.append(f"| {one.label} | {took[one.label]:.2f} | {' | '.join(ratios)} | {one.bytes:,} |")
    return lines


def forms(certificate: Certificate) -> str:
    """The table of a certificate's forms, as Markdown: bytes, and how each agrees with model.onnx."""
    lines = [
        "| form | bytes | a probability, at most | of melanoma, on average | AUROC | changed decisions |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in certificate.variants.items():
        if (of := one.agreement) is None:
            lines.append(f"| `{name}` | {one.bytes:,} | not compared | | | |")
            continue
        auroc = "not known" if of.auroc_difference is None else f"{of.auroc_difference:+.4f}"
        lines.append(
            f"| `{name}` | {one.bytes:,} | {of.probabilities_max_abs_difference:.2g} | "
            f"{of.melanoma_mean_abs_difference:.2g} | {auroc} | {of.decision_flips} of {of.images} |"
        )
    return "\n".join([*lines, ""])


def notes(found: Bench) -> list[str]:
    """The circumstances, the advice, and what was not measured."""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    lines = [
        f"{found.hardware}; {versions}",
        "milliseconds a call: median (quartiles), and the ratio to the same setting of " + found.reference,
        "flips: decisions at the default threshold that differ from model.onnx in ONNX Runtime, as parity.json tells",
        "networks of the literature have random weights, which take the same time as trained ones",
        f"of peak: multiply-accumulates a second, in those of a product of large matrices ({found.matmul_gmacs:.0f} G)",
    ]
    if found.load is not None:
        most = max(threads for threads, _ in settings(found))
        busy = f"; others wanted the {most} cores too, so that these figures are DOUBTFUL" if found.load > most else ""
        lines.append(f"load before the run {found.load:.1f}{busy}{'' if found.pinned else '; threads were not pinned'}")
    for one in found.advice:
        line = f"{one.bundle}: fastest here `predict {one.fastest}`, {one.gain:.2f} times ONNX Runtime's fp32"
        same = f"; with the answers of fp32 `predict {one.same_answers}`" if one.same_answers != one.fastest else ""
        lines.append(line + same)
    for gate in found.gates:
        lines.append(
            f"{gate.bundle}: its gate takes {gate.median_ms:.2f} ms an image on one thread beside the other times, "
            f"{gate.ratio:.2f} (quartiles {gate.low:.2f} to {gate.high:.2f}) of its model.onnx in the same turns"
        )
    lines += [f"not measured: {name}: {reason}" for name, reason in found.skipped.items()]
    return [*lines, f"made by `{found.command}`"]


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, gain) that no other beats in both, by rising cost."""
    kept: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or gain > kept[-1][1]:
            kept.append((cost, gain))
    return kept


_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7c3aed", "#475569", "#be185d", "#0e7490", "#a16207")
_MARKS = {"fp32": "o", "fp16": "s", "int8": "^"}


def plot(found: Bench, path: Path) -> None:
    """Draw AUROC against milliseconds (one thread, batch 1), bytes and multiply-accumulates, with the Pareto front.

    Raises:
        InputError: no subject has an AUROC.
    """
    known = [one for one in found.subjects if one.auroc is not None]
    if not known:
        raise InputError("there is nothing to plot: no bundle has a figure of its AUROC beside it (figures.json)")
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dermdistill", "text.parse_math": False}):
        figure = Figure(figsize=(13, 4), layout="constrained")
        for axes, (title, cost) in zip(figure.subplots(1, 3, sharey=True), _costs(found).items(), strict=True):
            _panel(axes, [(cost(one), one) for one in known if cost(one) is not None])
            axes.set_xlabel(title)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            if axes.get_xlim()[1] >= 1000:
                axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        figure.axes[0].set_ylabel("melanoma AUROC: out of fold,\nand what the form changed in comparison")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix.lstrip(".") or "svg")


def _costs(found: Bench) -> dict[str, Any]:
    first = settings(found)[0]

    def time(one: Subject) -> float | None:
        timing = one.timing(*first)
        return timing.median_ms if timing is not None else None

    return {
        f"ms an image ({first[0]} thread, batch {first[1]})": time,
        "bytes": lambda one: one.bytes,
        "multiply-accumulates": lambda one: one.macs,
    }


def _panel(axes: Any, points: list[tuple[float, Subject]]) -> None:
    line = front([(cost, one.auroc or 0.0) for cost, one in points])
    axes.step(*zip(*line, strict=True), where="post", color="#475569", linewidth=1)
    kinds = list(dict.fromkeys((one.name, one.runtime) for _, one in points))
    for cost, one in points:
        colour = _COLOURS[kinds.index((one.name, one.runtime)) % len(_COLOURS)]
        label = f"{one.name} {one.runtime} {one.precision}"
        axes.plot(cost, one.auroc, _MARKS.get(one.precision, "D"), color=colour, alpha=0.8, label=label)
    axes.margins(x=0.15)
