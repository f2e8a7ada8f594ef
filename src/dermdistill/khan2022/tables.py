"""The report's contents: each row with its seeds and their spread, and the published number beside it."""

from functools import lru_cache
from typing import Any

import numpy as np

from dermdistill.classes import DISCLAIMER
from dermdistill.files import read_json
from dermdistill.khan2022 import beside, leak
from dermdistill.khan2022.measures import spread
from dermdistill.khan2022.protocol import Protocol
from dermdistill.khan2022.published import BATCH_ACCURACY, SOURCE, TABLE_2, TEMPERATURE_ACCURACY
from dermdistill.khan2022.recipe import TABLES, Row, TableName, rows_of
from dermdistill.khan2022.study import Study
from dermdistill.khan2022.systems import SYSTEMS, abstract, explained, fp32_bytes, keras_count, parameters
from dermdistill.run import git_commit, hardware, versions
from dermdistill.version import __version__

FORMAT = "dermdistill-khan2022/1"
PROTOCOLS: tuple[Protocol, ...] = ("as-published", "corrected")
_MEASURED = ("accuracy", "auroc", "ece", "mass", "value_share", "gradient_share", "lowest", "highest",
             "validation_auroc", "validation_accuracy", "training_seconds", "seen", "auroc_seen",
             "auroc_unseen")  # fmt: skip


def contents(study: Study) -> dict[str, Any]:
    """All that the report tells, of whatever is done in the study's folder under its settings."""
    pool = study.pool
    tables: dict[str, list[dict[str, Any]]] = {name: _entries(study, name) for name in TABLES}
    return {
        "format": FORMAT, "dermdistill": __version__, "disclaimer": DISCLAIMER, "source": SOURCE,
        "settings": study.settings.model_dump(mode="json"),
        "data": {
            "synthetic": pool.synthetic, "notes": list(pool.notes), "images": len(pool), "sha256": pool.sha256,
        },
        "hardware": hardware(), "device": str(study.fabric.device), "versions": versions(), "git_commit": git_commit(),
        "weights": _weights_text(tables), "systems": systems_table(), "tables": tables,
        "choices": {name: _choice(tables[name]) for name in ("temperature", "batch")},
        "timing": _kept(study, "timing.json"), "beside": _kept(study, beside.FILE), "leak": _kept(study, leak.FILE),
    }  # fmt: skip


def _kept(study: Study, name: str) -> dict[str, Any] | None:
    """What was measured beside the rows, if it was."""
    path = study.folder / name
    return read_json(path) if path.exists() else None


@lru_cache
def _system_facts(name: str) -> dict[str, Any]:
    model = abstract(name)
    published = TABLE_2.get(name)
    return {
        "name": name, "title": SYSTEMS[name].title, "timm": SYSTEMS[name].model,
        "published_parameters": published.parameters if published else None,
        "parameters": parameters(model), "keras_parameters": keras_count(name, model),
        "fp32_bytes": fp32_bytes(model), "explanation": explained(name, model),
    }  # fmt: skip


def systems_table() -> list[dict[str, Any]]:
    """Each system of Table 2 at 224 px: the published parameter count beside ours, and why they differ."""
    return [_system_facts(name) for name in TABLE_2]


def _entries(study: Study, table: TableName) -> list[dict[str, Any]]:
    entries = []
    protocols = PROTOCOLS if table != "ablation" else ("corrected",)
    for protocol in protocols:
        for row in rows_of(table, study.settings, protocol):
            entries.append(_entry(study, row, None if table == "ablation" else protocol))
    return entries


def _entry(study: Study, row: Row, protocol: Protocol | None) -> dict[str, Any]:
    found = [study.result(row, seed) for seed in range(study.settings.seeds.of(row))]
    done = [result for result in found if result is not None and "failed" not in result]
    figures = [_figures(result) for result in done]
    return {
        "name": row.name, "protocol": protocol, "system": row.system,
        "image_size": row.image_size or study.settings.image_size, "title": SYSTEMS[row.system].title,
        "distilled": row.distilled, "temperature": row.temperature, "training": row.training.model_dump(),
        "faults": row.faults.model_dump(), "published_accuracy": published_accuracy(row),
        "summary": {key: spread([figure[key] for figure in figures]) for key in _MEASURED},
        "failed": [result["failed"] for result in found if result is not None and "failed" in result],
        "to_do": sum(result is None for result in found), "seeds": done,
    }  # fmt: skip


def published_accuracy(row: Row) -> float | None:
    """The accuracy that the paper or its notebooks tell of a row, where one is known."""
    match row.table:
        case "2":
            return TABLE_2[row.system].accuracy if row.system in TABLE_2 else None
        case "temperature":
            return TEMPERATURE_ACCURACY.get(row.temperature)
        case "batch":
            return BATCH_ACCURACY.get(row.training.batch_size)
    return 0.917 if row.name == "as-published" else None


def _figures(result: dict[str, Any]) -> dict[str, float | None]:
    """One seed's figures, flat."""
    taught = result.get("distillation")
    return {
        "accuracy": result["test"]["accuracy"]["value"], "auroc": result["test"]["auroc"]["value"],
        "ece": result["test"]["ece"], "lowest": result["test"]["output_range"][0],
        "highest": result["test"]["output_range"][1],
        "mass": taught["mass"]["mean"] if taught else None,
        "value_share": taught["share"]["value"] if taught else None,
        "gradient_share": taught["share"]["gradient"] if taught else None,
        "validation_auroc": result["validation"]["auroc"], "validation_accuracy": result["validation"]["accuracy"],
        "training_seconds": result["training_seconds"],
        "seen": result["images"]["test_seen_in_training"] / result["test"]["n"],
        "auroc_seen": result["by_leak"]["seen"]["auroc"], "auroc_unseen": result["by_leak"]["unseen"]["auroc"],
    }  # fmt: skip


def differences(entries: list[dict[str, Any]], key: str = "accuracy") -> dict[str, dict[str, Any]]:
    """For each row of the ablation, its difference to 'corrected' seed by seed, with its spread."""
    base = next((entry for entry in entries if entry["name"] == "corrected"), None)
    if base is None:
        return {}
    reference = {result["seed"]: result["test"][key] for result in base["seeds"]}
    found = {}
    for entry in entries:
        pairs = [(_value(result["test"][key]), _value(reference[result["seed"]])) for result in entry["seeds"]
                 if result["seed"] in reference]  # fmt: skip
        gaps = [one - other for one, other in pairs if one is not None and other is not None]
        found[entry["name"]] = spread(list(gaps))
    return found


def _value(figure: Any) -> float | None:
    return figure["value"] if isinstance(figure, dict) else figure


def _choice(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """What choosing a row on the test images is worth, by protocol; None until every row is there."""
    found: dict[str, dict[str, Any] | None] = {}
    for protocol in PROTOCOLS:
        there = [entry for entry in entries if entry["protocol"] == protocol]
        accuracies = [entry["summary"]["accuracy"]["mean"] for entry in there]
        checked = [entry["summary"]["validation_accuracy"]["mean"] for entry in there]
        if not there or any(value is None for value in (*accuracies, *checked)):
            found[protocol] = None
            continue
        by_test, by_validation = int(np.argmax(accuracies)), int(np.argmax(checked))
        found[protocol] = {
            "on_test": there[by_test]["name"], "accuracy_on_test": accuracies[by_test],
            "on_validation": there[by_validation]["name"], "accuracy_on_validation": accuracies[by_validation],
            "gain": accuracies[by_test] - accuracies[by_validation],
        }  # fmt: skip
    return found


def _weights_text(tables: dict[str, list[dict[str, Any]]]) -> str:
    """Which rows began from ImageNet weights, in words."""
    begun: dict[str, set[str]] = {}
    for entries in tables.values():
        for entry in entries:
            for result in entry["seeds"]:
                begun.setdefault(result["initial_weights"], set()).add(entry["title"])
    if not begun:
        return "no row has been run yet"
    scratch = sorted(begun.get("none", set()))
    texts = []
    if others := sorted(name for names in begun.values() for name in names if name not in scratch and name != "DSNet"):
        texts.append(f"from ImageNet weights: {', '.join(others)}")
    if missing := [name for name in scratch if name != "DSNet"]:
        texts.append(f"from scratch, for want of hub weights, unlike the paper: {', '.join(missing)}")
    if "DSNet" in scratch:
        texts.append("from scratch, as in the paper: DSNet")
    return "; ".join(texts)
