"""The evidence: every model on the same images, calibrated and thresholded on validation, with intervals."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape

from dermdistill.classes import CLASSES, DISCLAIMER, MELANOMA
from dermdistill.data.manifest import manifest_hash
from dermdistill.errors import InputError
from dermdistill.evaluate import plots
from dermdistill.evaluate.calibration import fit_temperature, softmax
from dermdistill.evaluate.intervals import all_figures, clusters, difference, figure, resamples
from dermdistill.evaluate.metrics import LABELS, Scored
from dermdistill.evaluate.sources import ModelPredictions
from dermdistill.evaluate.subgroups import subgroups
from dermdistill.evaluate.thresholds import operating_points, realised
from dermdistill.files import write_json, write_text

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "dermdistill-report/1"
_SEVEN = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class _Judged:
    temperature: float
    thresholds: dict[str, Any]
    scored: Scored


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

    Temperature and thresholds come from each model's validation rows; everything else from the rows of `role`.

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
    judged = {name: _judge(name, model, manifest, table) for name, model in models.items()}
    weights = resamples(clusters(table), replicates, seed)
    figures = {name: all_figures(part.scored, weights) for name, part in judged.items()}
    report: dict[str, Any] = {
        "format": FORMAT,
        "disclaimer": DISCLAIMER,
        "data": {
            "manifest_sha256": manifest_hash(manifest), "role": role, "n": len(table),
            "positives": int(table["melanoma"].sum()), "clusters": int(clusters(table).max()) + 1,
            "sources": sorted(table["source"].unique()), "synthetic": bool((table["source"] == "synthetic").any()),
        },
        "bootstrap": {"kind": "lesion-clustered percentile", "replicates": replicates, "seed": seed, "level": 0.95},
        "baseline": baseline,
        "models": {
            name: _model_entry(models[name], part, figures[name], table, weights) for name, part in judged.items()
        },
        "differences": {
            name: {key: asdict(difference(figures[name][key], figures[baseline][key])) for key in LABELS}
            for name in models if name != baseline
        },
    }  # fmt: skip
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "report.html", _html(report, judged))
    write_text(out / "table.md", markdown(report))
    write_json(out / "report.json", report)
    return report


def _same_images(manifest: pd.DataFrame, models: dict[str, ModelPredictions], role: str) -> pd.DataFrame:
    sets = {name: model.ids(role) for name, model in models.items()}
    first, ids = next(iter(sets.items()))
    if not ids:
        raise InputError(f"'{first}' has no predictions with the role '{role}'")
    for name, others in sets.items():
        if others != ids:
            gap = sorted(set(ids) ^ set(others))
            raise InputError(
                f"'{first}' and '{name}' were not predicted on the same images: {len(gap)} differ, e.g. {gap[:3]}"
            )
    unknown = sorted(set(ids) - set(manifest["image_id"]))
    if unknown:
        raise InputError(f"{len(unknown)} predicted images are not in the manifest, e.g. {unknown[:3]}")
    return manifest.set_index("image_id", drop=False).loc[ids].reset_index(drop=True)


def _judge(name: str, model: ModelPredictions, manifest: pd.DataFrame, table: pd.DataFrame) -> _Judged:
    melanoma = model.classes.index(MELANOMA)
    ids = model.ids("validation")
    if not ids:
        raise InputError(f"'{name}' has no validation predictions; temperature and thresholds are chosen on them")
    chosen = manifest.set_index("image_id").loc[ids].reset_index()
    validation = model.logits(chosen["image_id"])
    truth = _labels(chosen, model.classes)
    if truth is None:  # only melanoma is known: calibrate melanoma against the rest
        rest = np.delete(validation, melanoma, axis=1)
        validation = np.stack([np.logaddexp.reduce(rest, axis=1), validation[:, melanoma]], 1)
        temperature = fit_temperature(validation, chosen["melanoma"].to_numpy(int))
        p = softmax(validation, temperature)[:, 1]
    else:
        temperature = fit_temperature(validation, truth)
        p = softmax(validation, temperature)[:, melanoma]
    points = operating_points(p, chosen["melanoma"].to_numpy(int))
    probabilities = softmax(model.logits(table["image_id"]), temperature)
    seven = model.classes == CLASSES
    scored = Scored(
        probabilities[:, melanoma], table["melanoma"].to_numpy(float),
        probabilities.argmax(1) if seven else None, _labels(table, CLASSES) if seven else None,
    )  # fmt: skip
    return _Judged(temperature, {key: asdict(point) for key, point in points.items()}, scored)


def _labels(table: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray | None:
    if classes != CLASSES:
        return table["melanoma"].to_numpy(int)
    if table["diagnosis"].isna().any():
        return None
    return table["diagnosis"].map({name: index for index, name in enumerate(classes)}).to_numpy(int)


def _model_entry(
    model: ModelPredictions,
    judged: _Judged,
    figures: dict[str, np.ndarray],
    table: pd.DataFrame,
    weights: np.ndarray,
) -> dict[str, Any]:
    scored = judged.scored
    one_class = "needs melanomas and others among the images"
    seven = "the model has not got the seven classes, or not every diagnosis is known"
    header = model.header
    return {
        "stage": header.get("stage"),
        "model": header.get("model"),
        "parameters": header.get("parameters"),
        "macs": header.get("macs"),
        "seed": header.get("seed"),
        "classes": list(model.classes),
        "temperature": judged.temperature,
        "thresholds": judged.thresholds,
        "realised": {
            name: realised(scored.p, scored.y, point["value"])
            for name, point in judged.thresholds.items()
            if point["value"] is not None
        },
        "metrics": {key: asdict(figure(figures[key], seven if key in _SEVEN else one_class)) for key in LABELS},
        "subgroups": subgroups(table, scored, weights),
    }


def _html(report: dict[str, Any], judged: dict[str, _Judged]) -> str:
    scored = {name: part.scored for name, part in judged.items()}
    drawings = {
        "ROC curves": plots.roc(scored),
        "Reliability": plots.reliability(scored),
        "Confusion": plots.confusion(scored),
    }
    environment = Environment(
        loader=PackageLoader("dermdistill.evaluate"), autoescape=select_autoescape(["html", "j2"])
    )
    environment.filters["interval"] = interval
    template = environment.get_template("report.html.j2")
    return template.render(report=report, labels=LABELS, drawings=drawings)


def interval(entry: dict[str, Any], signed: bool = False) -> str:
    """A figure as text: value [low, high], or why there is none."""
    if entry["value"] is None:
        return "n/a"
    sign = "+" if signed else ""
    text = f"{entry['value']:{sign}.3f}"
    return text if entry["low"] is None else f"{text} [{entry['low']:{sign}.3f}, {entry['high']:{sign}.3f}]"


def markdown(report: dict[str, Any]) -> str:
    """The key figures as a Markdown table."""
    shown = ("auroc", "average_precision", "sensitivity_at_specificity_90", "ece")
    head = [
        "model",
        "parameters",
        "million MACs",
        *(LABELS[key] for key in shown),
        f"AUROC minus {report['baseline']}",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, entry in report["models"].items():
        gap = report["differences"].get(name)
        cells = [
            name,
            "" if entry["parameters"] is None else f"{entry['parameters']:,}",
            "" if entry["macs"] is None else f"{entry['macs'] / 1e6:.1f}",
            *(interval(entry["metrics"][key]) for key in shown),
            "" if gap is None else interval(gap["auroc"], signed=True),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def key_figures(report: dict[str, Any]) -> "Table":
    """The key figures for a terminal."""
    from rich.table import Table

    of = report["data"]
    table = Table(title=f"{of['n']} held-out images, {of['positives']} melanomas; 95 % intervals")
    for column in (
        "model",
        "parameters",
        "AUROC",
        "average precision",
        "ECE",
        f"AUROC minus {report['baseline']}",
    ):
        table.add_column(column)
    for name, entry in report["models"].items():
        gap = report["differences"].get(name)
        metrics = entry["metrics"]
        table.add_row(
            name, "" if entry["parameters"] is None else f"{entry['parameters']:,}",
            *(interval(metrics[key]) for key in ("auroc", "average_precision", "ece")),
            "" if gap is None else interval(gap["auroc"], signed=True),
        )  # fmt: skip
    return table
