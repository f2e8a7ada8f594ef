"""The report's key figures as rows of text, and as a Markdown table."""

from dermdistill.data.sources import source_name
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.render.text import about, camera_alone, interval

SHORT = {
    "auroc": "AUROC",
    "average_precision": "avg. precision",
    "sensitivity_at_specificity_90": "sens. at 90 % spec.",
    "specificity_at_sensitivity_95": "spec. at 95 % sens.",
    "balanced_accuracy": "7-class bal. acc.",
    "ece": "ECE",
}
"""The figures of the key table."""
Rows = tuple[list[str], list[list[str]]]
"""Head and rows of a table, as text."""


def key_rows(report: Report) -> Rows:
    """The key figures, a row a model."""
    head = ["model", "parameters", "million MACs", *SHORT.values(), f"AUROC minus {report.baseline}"]
    rows = []
    for name, model in report.models.items():
        gap = report.differences.get(name)
        rows.append([
            name,
            "" if model.parameters is None else f"{model.parameters:,}",
            "" if model.macs is None else f"{model.macs / 1e6:.1f}",
            *(interval(model.metrics[key]) for key in SHORT),
            "" if gap is None else interval(gap["auroc"], signed=True),
        ])  # fmt: skip
    return head, rows


def seed_rows(report: Report) -> Rows:
    """What several seeds of one recipe have in common."""
    head = ["mean of the seeds", "seeds", "AUROC", "SD over seeds", f"AUROC minus {report.baseline}"]
    rows = []
    for name, entry in report.over_seeds.items():
        auroc = entry.metrics["auroc"]
        rows.append([
            name,
            ", ".join(map(str, entry.seeds)),
            interval(auroc.mean),
            "n/a" if auroc.sd is None else f"{auroc.sd:.3f}",
            "" if auroc.difference is None else interval(auroc.difference, signed=True),
        ])  # fmt: skip
    return head, rows


def gap_rows(report: Report) -> Rows:
    """What the means over the seeds of two recipes differ by."""
    head = ["mean of the seeds", "minus the mean of", "AUROC", "AUROC within collections"]
    rows = []
    for name, entry in report.over_seeds.items():
        for other, gap in entry.gaps.items():
            inside = "n/a" if gap.within is None else interval(gap.within, signed=True)
            rows.append([name, other, interval(gap.auroc, signed=True), inside])
    return head, rows


def source_rows(report: Report) -> Rows:
    """The AUROC on each source and within collections."""
    head, compared = ["by source"], []
    for source, entry in report.by_source.items():
        of = f"{source_name(source)}, {entry.n:,} images ({entry.positives} melanomas)"
        head += [f"AUROC on {of}", f"minus {report.baseline}"]
        compared.append(entry.models)
    if report.within is not None:
        head += [f"AUROC within {report.within.collections} collections", f"minus {report.baseline}"]
        compared.append(report.within.models)
    rows = []
    for name in report.models:
        row = [name]
        for models in compared:
            gap = models[name].difference
            row += [interval(models[name].auroc), "" if gap is None else interval(gap, signed=True)]
        rows.append(row)
    return head, rows


def markdown(report: Report) -> str:
    """The key figures as a Markdown table, with what they are of."""
    lines = _table(*key_rows(report))
    if report.over_seeds:
        lines += ["", *_table(*seed_rows(report))]
        if any(entry.gaps for entry in report.over_seeds.values()):
            lines += ["", *_table(*gap_rows(report)), "", "The intervals of this table draw lesions and seeds."]
    if report.by_source or report.within is not None:
        lines += ["", *_table(*source_rows(report))]
    if report.within is not None:
        lines += [
            "",
            "Within collections a melanoma is compared only with others of its clinic or camera. "
            + camera_alone(report),
        ]
    bootstrap = report.bootstrap
    lines += [
        "",
        f"{about(report)}. In brackets 95 % intervals: {bootstrap.replicates} lesion-clustered bootstrap replicates, "
        f"seed {bootstrap.seed}. Manifest `{report.data.manifest_sha256[:16]}`.",
    ]
    return "\n".join(lines) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [head, *rows]]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]
