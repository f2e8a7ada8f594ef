"""The evidence: every model on the same images, calibrated and thresholded on validation, with intervals."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape

from dermdistill import __version__
from dermdistill.classes import CLASSES, DISCLAIMER, MELANOMA
from dermdistill.data.manifest import manifest_hash
from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.seeds import over_seeds
from dermdistill.evaluate.analyses.subgroups import Drawn, by_source, draw, subgroups, within
from dermdistill.evaluate.calibration import ece_if_calibrated
from dermdistill.evaluate.intervals import all_figures, clusters, difference, figure, resamples
from dermdistill.evaluate.metrics import LABELS, SEVEN_CLASS, Scored, auroc
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.evaluate.render import plots
from dermdistill.evaluate.thresholds import Chosen, apply_chosen, choose, cross_fit, diagnosis_codes, realised_weighted
from dermdistill.files import write_json, write_text

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "dermdistill-report/1"
CROSS_FITTED = "cross-fitted"
"""Each group of judged images has temperature and thresholds chosen by the others."""
SHORT = {
    "auroc": "AUROC",
    "average_precision": "avg. precision",
    "sensitivity_at_specificity_90": "sens. at 90 % spec.",
    "specificity_at_sensitivity_95": "spec. at 95 % sens.",
    "balanced_accuracy": "7-class bal. acc.",
    "ece": "ECE",
}
"""The figures of the README's and the terminal's table."""


@dataclass(frozen=True)
class _Judged:
    chosen: Chosen
    """By the validation images; without any, by all judged images, for use on others."""
    scored: Scored
    thresholds: dict[str, np.ndarray]
    """The threshold of each judged image [N], by operating point."""


def evaluate(
    manifest: pd.DataFrame,
    models: dict[str, ModelPredictions],
    out: str | Path,
    *,
    baseline: str | None = None,
    replicates: int = 2000,
    seed: int = 0,
    role: str = "test",
) -> dict[str, Any]:
    """Judge models side by side and write report.json, report.html and table.md.

    Temperature and thresholds come from each model's validation rows; everything else from the rows of `role`. Where
    no model has validation rows, as after cross-validation, the judged images are divided in groups and those of the
    other groups choose for each (`cross_fit`).

    Args:
        manifest: all images.
        models: predictions by name.
        out: the report's folder.
        baseline: the model that the others are compared with, by default the first.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        role: the rows that are judged.

    Returns:
        The contents of report.json.

    Raises:
        InputError: no models, an unknown baseline, models on different images, images that the manifest lacks.
    """
    if not models:
        raise InputError("no models to evaluate; name at least one")
    baseline = baseline or next(iter(models))
    if baseline not in models:
        raise InputError(f"the baseline '{baseline}' is none of the models: {', '.join(models)}")
    table = _same_images(manifest, models, role)
    cluster = clusters(table)
    judged = {name: _judge(model, manifest, table, cluster, seed) for name, model in models.items()}
    weights = resamples(cluster, replicates, seed)
    figures = {name: all_figures(part.scored, weights) for name, part in judged.items()}
    drawn = {name: draw(table, part.scored, weights) for name, part in judged.items()}
    report: dict[str, Any] = {
        "format": FORMAT,
        "dermdistill": __version__,
        "disclaimer": DISCLAIMER,
        "data": {
            "manifest_sha256": manifest_hash(manifest), "role": role, "n": len(table),
            "positives": int(table["melanoma"].sum()), "clusters": int(cluster.max()) + 1,
            "sources": {name: int(count) for name, count in table["source"].value_counts().items()},
            "diagnoses": {name: int(count) for name, count in table["diagnosis"].value_counts().items()},
            "synthetic": bool((table["source"] == "synthetic").any()),
        },
        "chosen_on": "validation" if next(iter(models.values())).ids("validation") else CROSS_FITTED,
        "bootstrap": {"kind": "lesion-clustered percentile", "replicates": replicates, "seed": seed, "level": 0.95},
        "baseline": baseline,
        "models": {
            name: _model_entry(models[name], part, figures[name], drawn[name], table, weights)
            for name, part in judged.items()
        },
        "differences": {
            name: {key: asdict(difference(figures[name][key], figures[baseline][key])) for key in LABELS}
            for name in models if name != baseline
        },
        "over_seeds": over_seeds(models, figures, baseline),
        "by_source": by_source(drawn, baseline),
        "within": within(table, {name: part.scored for name, part in judged.items()}, weights, baseline),
    }  # fmt: skip
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "report.html", _html(report, judged))
    write_text(out / "table.md", markdown(report))
    write_json(out / "report.json", report)
    return report


def _same_images(manifest: pd.DataFrame, models: dict[str, ModelPredictions], role: str) -> pd.DataFrame:
    """The manifest's rows that all models are judged on."""
    known = set(manifest["image_id"])
    sets = {name: set(model.ids(role)) for name, model in models.items()}
    problems = []
    first, ids = next(iter(sets.items()))
    chosen_elsewhere = any(model.ids("validation") for model in models.values())
    for name, model in models.items():
        for part in dict.fromkeys((role, "validation") if chosen_elsewhere else (role,)):
            if not model.ids(part):
                problems.append(f"'{name}' has no predictions with the role '{part}'")
        if not sets[name] or not ids:
            continue
        if unknown := (sets[name] | set(model.ids("validation"))) - known:
            problems.append(f"'{name}': {_some(unknown)} not in the manifest")
        if lacking := ids - sets[name]:
            problems.append(f"'{name}' lacks {_some(lacking)} that '{first}' was tested on")
        if more := sets[name] - ids:
            problems.append(f"'{first}' lacks {_some(more)} that '{name}' was tested on")
    if problems:
        raise InputError("these models cannot be compared on the same images:\n  " + "\n  ".join(problems))
    return manifest.set_index("image_id", drop=False).loc[sorted(ids)].reset_index(drop=True)


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"{len(names)} images ({shown}{', …' if len(names) > 3 else ''})"


def _judge(
    model: ModelPredictions, manifest: pd.DataFrame, table: pd.DataFrame, cluster: np.ndarray, seed: int
) -> _Judged:
    validation = manifest.set_index("image_id", drop=False).loc[model.ids("validation")]
    logits = model.logits(table["image_id"])
    if len(validation):
        chosen = choose(model.logits(validation["image_id"]), model.classes, validation)
        applied = apply_chosen(chosen, logits)
    else:
        chosen = choose(logits, model.classes, table)
        applied = cross_fit(logits, model.classes, table, cluster, seed)
    probabilities = applied.probabilities
    melanoma = probabilities[:, model.classes.index(MELANOMA)]
    diagnosis = diagnosis_codes(table)
    return _Judged(
        chosen,
        Scored(
            melanoma,
            table["melanoma"].to_numpy(float),
            probabilities.argmax(1) if model.classes == CLASSES else None,
            diagnosis if (diagnosis >= 0).any() else None,
        ),
        applied.thresholds,
    )


def _model_entry(
    model: ModelPredictions,
    judged: _Judged,
    figures: dict[str, np.ndarray],
    drawn: dict[str, Drawn],
    table: pd.DataFrame,
    weights: np.ndarray,
) -> dict[str, Any]:
    scored, chosen = judged.scored, judged.chosen
    facts = ("stage", "model", "parameters", "macs", "image_size", "seed", "git_commit", "hardware")
    return {
        **{key: model.header.get(key) for key in facts},
        "trained_on_manifest_sha256": model.header.get("inputs", {}).get("manifest"),
        "classes": list(model.classes),
        "temperature": chosen.temperature,
        "temperature_fitted_on": chosen.fitted_on,
        "thresholds": {name: asdict(point) for name, point in chosen.thresholds.items()},
        "realised": {
            name: _realised(scored, judged.thresholds[name], weights)
            for name, point in chosen.thresholds.items()
            if point.value is not None and name in judged.thresholds
        },
        "metrics": {key: _metric(key, figures[key], scored, model.classes) for key in LABELS},
        "ece_if_calibrated": ece_if_calibrated(scored.p),
        "parts": _parts(model, table, scored),
        "subgroups": subgroups(drawn),
    }


def _parts(model: ModelPredictions, table: pd.DataFrame, scored: Scored) -> dict[str, float | None]:
    """The AUROC of each part of a cross-validation alone: how much one training differs from the next."""
    if "part" not in model.table:
        return {}
    part = model.table.set_index("image_id")["part"].loc[table["image_id"]].to_numpy()
    found = {}
    for name in sorted(set(part)):
        of = part == name
        value = float(auroc(Scored(scored.p[of], scored.y[of], None, None), np.ones((1, int(of.sum()))))[0])
        found[name] = value if np.isfinite(value) else None
    return found


def _metric(key: str, values: np.ndarray, scored: Scored, classes: tuple[str, ...]) -> dict[str, Any]:
    """A figure with the number of images and melanomas that it is of."""
    of = np.ones(len(scored.y), bool)
    reason = f"needs melanomas and others among the images, got {int(scored.y.sum())} of {len(scored.y)}"
    if key in SEVEN_CLASS:
        of = scored.diagnosis >= 0 if scored.diagnosis is not None else ~of
        reason = "no image has a known diagnosis"
        if scored.predicted is None:
            reason = f"the model tells {', '.join(classes)} apart, not the seven classes"
    return {**asdict(figure(values, reason)), "n": int(of.sum()), "positives": int(scored.y[of].sum())}


def _realised(scored: Scored, value: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    reasons = {
        "sensitivity": "no melanoma among the images", "specificity": "only melanomas among the images",
        "ppv": "no image reaches the threshold", "npv": "all images reach the threshold",
    }  # fmt: skip
    rates = realised_weighted(scored.p, scored.y, value, weights)
    return {name: asdict(figure(rate, reasons[name])) for name, rate in rates.items()}


def _html(report: dict[str, Any], judged: dict[str, _Judged]) -> str:
    environment = Environment(
        loader=PackageLoader("dermdistill.evaluate.render"), autoescape=select_autoescape(["html", "j2"])
    )
    environment.filters["interval"] = interval
    template = environment.get_template("report.html.j2")
    drawings = plots.drawings({name: part.scored for name, part in judged.items()})
    missing = undefined_reasons(report)
    crossed = report["chosen_on"] == CROSS_FITTED
    return template.render(
        report=report,
        labels=LABELS,
        drawings=drawings,
        missing=missing,
        crossed=crossed,
        alone=_alone(report) if report["within"] else "",
    )


def interval(entry: dict[str, Any], signed: bool = False) -> str:
    """A figure as text: value [low, high], or why there is none."""
    if entry["value"] is None:
        return "n/a"
    sign = "+" if signed else ""
    text = f"{entry['value']:{sign}.3f}"
    return text if entry["low"] is None else f"{text} [{entry['low']:{sign}.3f}, {entry['high']:{sign}.3f}]"


def undefined_reasons(report: dict[str, Any]) -> list[str]:
    """What is missing in the report and why, a line each."""
    lines = []
    for name, entry in report["models"].items():
        parts = {LABELS[key]: value for key, value in entry["metrics"].items()}
        parts |= {f"threshold {key}": value for key, value in entry["thresholds"].items()}
        parts |= {
            f"{part} at threshold {key}": value for key, got in entry["realised"].items() for part, value in got.items()
        }
        lines += [f"{name}, {what}: {value['reason']}" for what, value in parts.items() if value["reason"]]
    first = next(iter(report["models"].values()))
    lines += [f"{group}: {value['reason']}" for group, value in first["subgroups"].items() if value["reason"]]
    return lines


def _key_rows(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the key figures, as text."""
    head = ["model", "parameters", "million MACs", *SHORT.values(), f"AUROC minus {report['baseline']}"]
    rows = []
    for name, entry in report["models"].items():
        gap = report["differences"].get(name)
        rows.append([
            name,
            "" if entry["parameters"] is None else f"{entry['parameters']:,}",
            "" if entry["macs"] is None else f"{entry['macs'] / 1e6:.1f}",
            *(interval(entry["metrics"][key]) for key in SHORT),
            "" if gap is None else interval(gap["auroc"], signed=True),
        ])  # fmt: skip
    return head, rows


def _of(report: dict[str, Any]) -> str:
    of = report["data"]
    synthetic = "SYNTHETIC DATA. " if of["synthetic"] else ""
    return f"{synthetic}{of['n']} {of['role']} images, {of['positives']} melanomas, {of['clusters']} lesions"


def _seed_rows(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what several seeds of one recipe have in common, as text."""
    head = ["mean of the seeds", "seeds", "AUROC", "SD over seeds", f"AUROC minus {report['baseline']}"]
    rows = []
    for name, entry in report["over_seeds"].items():
        auroc = entry["metrics"]["auroc"]
        rows.append([
            name,
            ", ".join(map(str, entry["seeds"])),
            interval(auroc["mean"]),
            "n/a" if auroc["sd"] is None else f"{auroc['sd']:.3f}",
            "" if auroc["difference"] is None else interval(auroc["difference"], signed=True),
        ])  # fmt: skip
    return head, rows


def _source_rows(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the AUROC on each source and within collections, as text."""
    head, sources, within = ["by source"], report["by_source"], report["within"]
    for source, entry in sources.items():
        of = f"{source}, {entry['n']:,} images ({entry['positives']} melanomas)"
        head += [f"AUROC on {of}", f"minus {report['baseline']}"]
    if within:
        head += [f"AUROC within {within['collections']} collections", f"minus {report['baseline']}"]
    rows = []
    for name in report["models"]:
        found = [entry["models"][name] for entry in [*sources.values(), *([within] if within else [])]]
        cells = [(interval(of["auroc"]), of["difference"]) for of in found]
        rows.append([name, *(text for of, gap in cells for text in (of, "" if gap is None else interval(gap, True)))])
    return head, rows


def _alone(report: dict[str, Any]) -> str:
    return (
        f"To know the collection, and nothing of the lesion, gives an AUROC of {interval(report['within']['alone'])}."
    )


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [head, *rows]]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def markdown(report: dict[str, Any]) -> str:
    """The key figures as a Markdown table, with what they are of."""
    head, rows = _key_rows(report)
    lines = _table(head, rows)
    if report["over_seeds"]:
        lines += ["", *_table(*_seed_rows(report))]
    if report["by_source"] or report["within"]:
        lines += ["", *_table(*_source_rows(report))]
    if report["within"]:
        lines += [
            "",
            f"Within collections a melanoma is compared only with others of its clinic or camera. {_alone(report)}",
        ]
    bootstrap = report["bootstrap"]
    lines += [
        "",
        f"{_of(report)}. In brackets 95 % intervals: {bootstrap['replicates']} lesion-clustered bootstrap replicates, "
        f"seed {bootstrap['seed']}. Manifest `{report['data']['manifest_sha256'][:16]}`.",
    ]
    return "\n".join(lines) + "\n"


def key_figures(report: dict[str, Any]) -> "Table":
    """The key figures for a terminal: a column a model, the interval beneath its value, to fit 80 characters."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    head, rows = _key_rows(report)
    table = Table(title=f"{_of(report)}; 95 % intervals in brackets", box=box.SIMPLE_HEAD)
    for index, name in enumerate([head[0], *(row[0] for row in rows)]):
        table.add_column(escape(name), overflow="fold", justify="right" if index else "left")
    for what, *values in zip(head[1:], *(row[1:] for row in rows), strict=True):
        table.add_row(escape(what), *(escape(value.replace(" [", "\n[")) for value in values))
    return table
