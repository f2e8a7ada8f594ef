"""What a bundle answers on a manifest's images, as predictions that `evaluate` judges."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dermdistill import talk
from dermdistill.classes import CLASSES, MELANOMA
from dermdistill.data.training_keys import NAME, TrainingKeys, read_training_keys
from dermdistill.errors import InputError
from dermdistill.evaluate.predictions import ModelPredictions, Provenance
from dermdistill.evaluate.thresholds import NOTHING, Chosen, Threshold
from dermdistill.predict.bundle import Bundle
from dermdistill.predict.header import BundleFacts
from dermdistill.predict.predictor import Predictor


def trained_on(bundle: Bundle) -> dict[str, TrainingKeys]:
    """What a bundle's model learned from, as hashes under the key ''; {} where the bundle has none."""
    return {"": read_training_keys(bundle.folder / NAME)} if NAME in bundle.spec.files else {}


def answers(model: str | Path, manifest: pd.DataFrame) -> ModelPredictions:
    """Judge all images of a manifest with a bundle; those that cannot be opened are left out.

    The probabilities are taken as they are, and the thresholds are those of the bundle.

    Args:
        model: a bundle's folder, or the name of one that ships.
        manifest: image_id and path.

    Raises:
        InputError: no such bundle, or not one image can be opened.
    """
    predictor = Predictor(model)
    spec = predictor.bundle.spec
    ids, rows, reasons = [], [], []
    with talk.bars() as bars:
        results = predictor.predict(list(manifest["path"]))
        told = bars.track(results, total=len(manifest), description=f"judge with {spec.name}")
        for image_id, result in zip(manifest["image_id"], told, strict=True):
            if result.probabilities is None:
                reasons.append(f"{result.file}: {result.message}")
            else:
                ids.append(image_id)
                rows.append(result.probabilities)
    if not rows:
        raise InputError(f"none of the {len(manifest)} images can be judged, e.g. {'; '.join(reasons[:2])}")
    if reasons:
        talk.say(f"{spec.name}: {len(reasons)} of {len(manifest)} images could not be judged, e.g. {reasons[0]}")
    found = _predictions(spec, ids, np.array(rows, np.float64))
    return replace(found, trained_on=trained_on(predictor.bundle))


def _predictions(spec: BundleFacts, ids: list[str], probabilities: np.ndarray) -> ModelPredictions:
    names = [MELANOMA if place == spec.melanoma_index else name for place, name in enumerate(spec.classes)]
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    table = pd.DataFrame(logits, columns=[f"logit_{name}" for name in names])
    table.insert(0, "image_id", pd.Series(ids, dtype="string"))
    table.insert(1, "role", "test")
    thresholds = {
        name: Threshold(point.value, point.sensitivity, point.specificity, point.n, point.positives)
        for name, point in spec.thresholds.items()
        if point.sensitivity is not None and point.specificity is not None
    }
    classes = CLASSES if set(names) == set(CLASSES) else tuple(names)
    made = Provenance(
        stage=spec.model.stage, model=spec.model.name, parameters=spec.model.parameters, macs=spec.model.macs,
        image_size=spec.input.size,
    )  # fmt: skip
    return ModelPredictions(classes, table, made, temperature=1.0, chosen=Chosen(1.0, NOTHING, thresholds))
