"""Figures and findings in words."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Protocol

from dermdistill.data.sources import source_name
from dermdistill.evaluate.analyses.subgroups import SOURCE
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.metrics import LABELS


class HasInterval(Protocol):
    """A figure or a difference."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def interval(entry: HasInterval | Mapping[str, Any], signed: bool = False) -> str:
    """A figure, or what report.json has of it, as text: value [low, high], or n/a."""
    if isinstance(entry, Mapping):
        return interval(SimpleNamespace(**entry), signed)
    if entry.value is None:
        return "n/a"
    sign = "+" if signed else ""
    text = f"{entry.value:{sign}.3f}"
    return text if entry.low is None else f"{text} [{entry.low:{sign}.3f}, {entry.high:{sign}.3f}]"


def group_name(group: str) -> str:
    """A subgroup's name for people: that of a source is readable too."""
    return SOURCE + source_name(group.removeprefix(SOURCE)) if group.startswith(SOURCE) else group


def about(report: Report) -> str:
    """What the figures are of, in a line."""
    of = report.data
    synthetic = "SYNTHETIC DATA. " if of.synthetic else ""
    more = ", ".join(f"{count} of {name}" for name, count in of.left_out.items())
    cut = f", those that all models predicted (left out: {more})" if more else ""
    return f"{synthetic}{of.n} {of.role} images, {of.positives} melanomas, {of.clusters} lesions{cut}"


def camera_alone(report: Report) -> str:
    """What the camera alone gives away; empty where there is one collection."""
    if report.within is None:
        return ""
    return f"To know the collection, and nothing of the lesion, gives an AUROC of {interval(report.within.alone)}."


def undefined_reasons(report: Report) -> list[str]:
    """What is missing in the report and why, a line each."""
    lines = []
    for name, model in report.models.items():
        reasons = {LABELS[key]: value.reason for key, value in model.metrics.items()}
        reasons |= {f"threshold {key}": value.reason for key, value in model.thresholds.items()}
        reasons |= {
            f"{rate} at threshold {key}": value.reason
            for key, rates in model.realised.items()
            for rate, value in rates.items()
        }
        lines += [f"{name}, {what}: {reason}" for what, reason in reasons.items() if reason]
    first = next(iter(report.models.values()))
    lines += [f"{group}: {value.reason}" for group, value in first.subgroups.items() if value.reason]
    return lines


def verdict(report: Report) -> list[str]:
    """What the report finds, in sentences: how well the student does, against what, and what it rests on."""
    of = report.data
    name = subject(report)
    model = report.models[name]
    auroc = model.metrics["auroc"]
    images = f"{of.n:,} {of.role} images of {of.clusters:,} lesions ({of.positives:,} melanomas)"
    if auroc.value is None:
        return [f"On {images} the melanoma AUROC of {name} is undefined: {auroc.reason}."]
    sentences = [f"On {images}, {name} tells melanoma from other lesions with an AUROC of {interval(auroc)}."]
    if name in report.differences:
        sentences.append(_against(report, name))
    if report.within is not None:
        inside = report.within.models[name].auroc
        sentences.append(
            f"Within one clinic or camera, where the camera is no clue, {name} has {interval(inside)}; "
            f"to know the camera alone gives {interval(report.within.alone)}."
        )
    for unknown, entry in report.unseen.items():
        if entry.overall is not None:
            cost = interval(entry.overall.drop, signed=True)
            sentences.append(
                f"From a known to an unknown camera the AUROC within sources changes by {cost} ({unknown})."
            )
        drops = " and ".join(
            f"{interval(of.drop, signed=True)} on {source_name(source)}" for source, of in entry.sources.items()
        )
        sentences.append(f"Where training left the source out, the AUROC changes by {drops} ({unknown}).")
    more = len(report.models) - 2
    if more > 0:
        sentences.append(f"{more} more {'model is' if more == 1 else 'models are'} compared below.")
    return sentences


def subject(report: Report) -> str:
    """The model that the verdict is of: the first student beside the baseline, else the first beside it."""
    others = [name for name in report.models if name != report.baseline]
    students = [name for name in others if report.models[name].stage == "student"]
    return (students or others or [report.baseline])[0]


def _against(report: Report, name: str) -> str:
    """Whether a model is better or worse than the baseline, as far as the images show it."""
    baseline, gap = report.baseline, report.differences[name]["auroc"]
    other = f"{baseline} has {interval(report.models[baseline].metrics['auroc'])}"
    if gap.value is None or gap.low is None or gap.high is None:
        return f"For comparison, {other}; the difference has no interval: {gap.reason}."
    found = f"{other}, the difference is {interval(gap, signed=True)}"
    if gap.low <= 0 <= gap.high:
        return f"The images do not show which of {name} and {baseline} is better: {found}."
    return f"It is {'better' if gap.value > 0 else 'worse'} than {baseline}: {found}."
