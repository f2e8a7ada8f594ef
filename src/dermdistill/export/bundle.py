"""From a finished run to a bundle: graph, thresholds, licence, card; written only after it was verified."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from dermdistill.classes import DISCLAIMER, MELANOMA
from dermdistill.data.licensing import known_licences
from dermdistill.data.manifest import manifest_hash
from dermdistill.data.training_keys import NAME as TRAINING_KEYS
from dermdistill.data.training_keys import write_training_keys
from dermdistill.errors import InputError
from dermdistill.evaluate.predictions import ModelPredictions, read_model
from dermdistill.evaluate.thresholds import Chosen, choose_calibrated
from dermdistill.export.card import model_card, weights_licence
from dermdistill.export.formats.calibrated import calibrated
from dermdistill.export.formats.onnx import Deployed, write_onnx
from dermdistill.export.formats.pixels import write_pixels
from dermdistill.export.parity import Photographs, check_parity
from dermdistill.export.place import check_place, swap
from dermdistill.export.vectors import make_vectors
from dermdistill.files import sha256_file, write_json
from dermdistill.licences import UNKNOWN, binding
from dermdistill.networks.cost import count, fuse
from dermdistill.networks.load import load_network
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.header import (
    FORMAT,
    FORMAT_1,
    GRAPH,
    PIXELS_GRAPH,
    BundleHeader,
    InputSpec,
    PixelsSpec,
    ThresholdSpec,
)
from dermdistill.predict.vectors import verify
from dermdistill.probabilities import Method
from dermdistill.run import Run, TrainedHeader
from dermdistill.version import __version__

DEFAULT_THRESHOLD = "sensitivity_95"
_PHOTOGRAPHS = 400
"""On how many, at most, the graphs are compared with the network."""


def export_bundle(
    run_folder: str | Path,
    out: str | Path,
    manifest: pd.DataFrame,
    *,
    name: str | None = None,
    report: str | Path | None = None,
    force: bool = False,
    out_of_fold: ModelPredictions | None = None,
    calibration: Method = "temperature",
) -> Path:
    """Export a finished run as a bundle.

    BatchNorm is folded; the calibration is fitted and the thresholds are chosen on the run's validation images, or on
    images that other trainings of the same model did not see, both on the same ones; both graphs are compared with
    PyTorch on generated and on such images, and the bundle's own test vectors are run, before anything is written to
    `out`.

    `model.onnx` says that it is of format 1, for its bytes do not depend on which format it travels in: figures that
    were scored for its SHA-256 stay true.

    Args:
        run_folder: a finished teacher or student.
        out: the bundle's folder.
        manifest: the manifest that the run was trained on.
        name: the bundle's name, by default the run's.
        report: a report.json whose figures go into the card.
        force: replace a bundle that is there; anything else is never replaced.
        out_of_fold: for a run without validation images, what cross-validation predicted.
        calibration: the method.

    Raises:
        InputError: the run is not finished, the manifest is another one, `out` exists, or there is no such report.
        IntegrityError: a graph does not agree with PyTorch.
    """
    out = Path(out)
    check_place(out, force)
    run = Run(Path(run_folder))
    header = run.trained()
    if manifest_hash(manifest) != header.inputs.manifest:
        raise InputError(f"the manifest is not the one that {run.folder} was trained on; its thresholds would not hold")
    model, unseen = load_network(run)[0].module, out_of_fold or _validation(run)
    chosen_on = "validation" if out_of_fold is None else "out-of-fold"
    chosen = _choose(unseen, manifest, calibration, chosen_on)
    of = chosen.calibrated
    after = None if of is None else calibrated(of.map, len(header.classes), of.melanoma)
    deployed = Deployed(fuse(model, header.image_size), header.mean, header.std, chosen.temperature, after)
    facts = _facts(name or header.name, header, manifest, model)
    facts |= _operation(chosen, chosen_on)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        write_onnx(deployed, header.image_size, folder / GRAPH, _metadata({**facts, "format": FORMAT_1}))
        write_pixels(folder / GRAPH, header.image_size, folder / PIXELS_GRAPH, _metadata(facts))
        facts["parity"] = check_parity(deployed, folder, header.image_size, _photographs(unseen, manifest, facts))
        facts["vectors"] = make_vectors(deployed, header.image_size)
        made = BundleHeader.model_validate({**facts, "files": {}})
        (folder / "MODEL_CARD.md").write_text(model_card(made, header, report), encoding="utf-8")
        (folder / "LICENSE-WEIGHTS.txt").write_text(weights_licence(made), encoding="utf-8")
        _training_keys(run, manifest, folder)
        files = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
        write_json(folder / "bundle.json", {**facts, "files": files})
        verify(read_bundle(folder))
        swap(folder, out)
    return out


def _training_keys(run: Run, manifest: pd.DataFrame, folder: Path) -> None:
    """What the run learned from, as hashes; of a run from before these were kept, where it learned from everything."""
    if (run.folder / TRAINING_KEYS).is_file():
        shutil.copyfile(run.folder / TRAINING_KEYS, folder / TRAINING_KEYS)
    elif run.trained().roles.get("train") == len(manifest):
        write_training_keys(manifest, folder / TRAINING_KEYS)


def _validation(run: Run) -> ModelPredictions:
    found = read_model(run.folder)
    rows = found.table[found.table["role"] == "validation"]
    if rows.empty:
        raise InputError(f"{run.folder} predicted no validation images; calibration and thresholds need some")
    return replace(found, table=rows)


def _choose(unseen: ModelPredictions, manifest: pd.DataFrame, method: Method, role: str) -> Chosen:
    """Calibration and thresholds from predictions of images that the networks did not see."""
    images = manifest.set_index("image_id", drop=False).loc[unseen.table["image_id"]]
    chosen = choose_calibrated(unseen.logits(images["image_id"]), unseen.classes, images, method, role)
    point = chosen.thresholds[DEFAULT_THRESHOLD]
    if point.value is None:
        raise InputError(f"the images allow no threshold '{DEFAULT_THRESHOLD}': {point.reason}")
    return chosen


def _operation(chosen: Chosen, chosen_on: str) -> dict[str, Any]:
    """Calibration and those operating points that could be chosen, as a bundle has them."""
    thresholds = {
        name: ThresholdSpec(
            value=point.value, sensitivity=point.sensitivity, specificity=point.specificity,
            chosen_on=chosen_on, n=point.n, positives=point.positives,
        ).model_dump(mode="json")
        for name, point in chosen.thresholds.items()
        if point.value is not None
    }  # fmt: skip
    return {
        "temperature": chosen.temperature,
        **({} if chosen.calibrated is None else {"calibration": chosen.calibrated.map.model_dump(mode="json")}),
        "default_threshold": DEFAULT_THRESHOLD,
        "thresholds": thresholds,
    }


def _photographs(unseen: ModelPredictions, manifest: pd.DataFrame, facts: dict[str, Any]) -> Photographs:
    """Some of the images that chose the thresholds, evenly from all of them."""
    ids = unseen.table["image_id"]
    ids = ids.iloc[np.unique(np.linspace(0, len(ids) - 1, min(len(ids), _PHOTOGRAPHS)).astype(int))]
    rows = manifest.set_index("image_id").loc[ids]
    threshold = facts["thresholds"][facts["default_threshold"]]["value"]
    return Photographs(tuple(rows["path"]), rows["melanoma"].to_numpy(int), facts["melanoma_index"], threshold)


def _facts(name: str, header: TrainedHeader, manifest: pd.DataFrame, model: nn.Module) -> dict[str, Any]:
    cost = count(model, header.image_size)
    licences = sorted({*known_licences(manifest), *(header.data_licences or ())})  # as they are, and as they were
    of_teachers = _teachers_licences(header)
    synthetic = bool((manifest["source"] == "synthetic").any())
    return {
        "format": FORMAT,
        "name": name,
        "version": __version__,
        "classes": header.classes,
        "melanoma_index": header.classes.index(MELANOMA),
        "input": InputSpec(size=header.image_size).model_dump(mode="json"),
        "pixels": PixelsSpec().model_dump(mode="json"),
        "licence": {"code": "Apache-2.0", "weights": binding([*licences, *of_teachers])},
        "data": {
            "manifest_sha256": header.inputs.manifest,
            "splits_sha256": header.inputs.splits,
            "sources": header.data_sources,
            "licences": licences,
            "teachers_licences": of_teachers,
            "images": header.roles,
            "synthetic": synthetic,
        },
        "model": {
            "name": header.model, "stage": header.stage, "parameters": cost.parameters, "macs": cost.macs,
            "weights_sha256": header.model_sha256,
        },
        "intended_use": ("SYNTHETIC training data. " if synthetic else "") + DISCLAIMER,
    }  # fmt: skip


def _teachers_licences(header: TrainedHeader) -> list[str]:
    """Of the images that those learned from whose soft labels the network learned; nothing if it learned none."""
    found = {licence for teacher in header.taught_by for licence in teacher.licences or (UNKNOWN,)}
    untold = "taught_by" not in header.model_fields_set and header.recipe.get("labels", "none") != "none"
    return sorted(found | ({UNKNOWN} if untold else set()))


def _metadata(facts: dict[str, Any]) -> dict[str, str]:
    keys = (
        "format", "name", "version", "classes", "melanoma_index", "input", "temperature", "default_threshold",
        "thresholds",
        "licence", "data", "intended_use", "calibration",
    )  # fmt: skip
    return {f"dermdistill.{key}": _text(facts[key]) for key in keys if key in facts}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
