"""What a report compares: models on the same judged images, and the bootstrap draws that they share."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from dermdistill.classes import CLASSES, MELANOMA
from dermdistill.data.manifest import manifest_hash
from dermdistill.errors import InputError, no_such
from dermdistill.evaluate.intervals import all_figures, clusters, resamples
from dermdistill.evaluate.metrics import Scored
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.evaluate.spec import DERMATOLOGIST, EvaluateSpec
from dermdistill.evaluate.thresholds import Chosen, apply_chosen, choose, cross_fit, diagnosis_codes

CROSS_FITTED = "cross-fitted"
"""Each group of judged images has temperature and thresholds chosen by the others."""


@dataclass(frozen=True)
class Judged:
    """One model on the judged images."""

    chosen: Chosen
    """By the validation images; without any, by all judged images, for use on others."""
    scored: Scored
    thresholds: dict[str, np.ndarray]
    """The threshold of each judged image [N], by operating point."""


@dataclass(frozen=True)
class Comparison:
    """Models on the same N images."""

    table: pd.DataFrame
    """The judged images [N], columns of the manifest."""
    role: str
    manifest_sha256: str
    """Of the whole manifest."""
    spec: EvaluateSpec
    baseline: str
    models: dict[str, ModelPredictions]
    judged: dict[str, Judged]
    cluster: np.ndarray
    """The lesion's number of each image [N]."""
    weights: np.ndarray
    """Bootstrap weights [R, N]."""
    validation: pd.DataFrame
    """The images that any model was chosen on, columns of the manifest; empty where the judged ones choose for each
    other."""

    @cached_property
    def figures(self) -> dict[str, dict[str, np.ndarray]]:
        """By model and metric: its replicates [R], the first of the images as they are."""
        return {name: all_figures(part.scored, self.weights) for name, part in self.judged.items()}

    @property
    def scored(self) -> dict[str, Scored]:
        return {name: part.scored for name, part in self.judged.items()}

    @property
    def chosen_on(self) -> str:
        return "validation" if all(model.chosen_elsewhere for model in self.models.values()) else CROSS_FITTED


def refuse_fitting(comparison: Comparison) -> None:
    """Raise InputError if judged images that are declared a test would choose a model's temperature or thresholds.

    A cross-validation is no fixed test: each of its images is judged by a network that did not see it.
    """
    fitted = [
        name for name, model in comparison.models.items() if not model.chosen_elsewhere and "part" not in model.table
    ]
    if fitted:
        raise InputError(
            f"the {len(comparison.table)} judged images are declared a test, and they alone could choose temperature "
            f"and thresholds of {', '.join(fitted)}. Give predictions that have rows with the role 'validation', judge "
            "a bundle, which has its own, or say --cross-fit: then each fifth of the lesions is judged as the others "
            "choose"
        )


def draw_halves(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """The rows of `count` images, half of them melanomas as far as there are any."""
    generator = np.random.default_rng(seed)
    melanoma = table["melanoma"].to_numpy(int) == 1
    sick, well = (generator.permutation(np.flatnonzero(which)) for which in (melanoma, ~melanoma))
    wanted = min(len(sick), max(count // 2, count - len(well)))
    return np.concatenate([sick[:wanted], well[: count - wanted]])


def gather(
    manifest: pd.DataFrame, models: dict[str, ModelPredictions], spec: EvaluateSpec, role: str = "test"
) -> Comparison:
    """Calibrate and threshold every model, and draw the bootstrap.

    Args:
        manifest: all images.
        models: predictions by name.
        spec: baseline (by default the first model), replicates and seed of the bootstrap.
        role: the rows that are judged.

    Raises:
        InputError: no models, an unknown baseline, models on different images, images that the manifest lacks.
    """
    if not models:
        raise InputError("no models to evaluate; name at least one")
    baseline = spec.baseline or next(iter(models))
    if baseline not in models:
        raise InputError(f"the baseline is '{baseline}': {no_such('model', baseline, models)}")
    table = _same_images(manifest, models, role)
    cluster = clusters(table)
    by_id, judged = manifest.set_index("image_id", drop=False), {}
    for name, model in models.items():
        judged[name] = _judge(model, by_id.loc[model.ids("validation")], table, cluster, spec)
    weights = resamples(cluster, spec.replicates, spec.seed)
    validation = by_id.loc[sorted({name for model in models.values() for name in model.ids("validation")})]
    return Comparison(
        table, role, manifest_hash(manifest), spec, baseline, models, judged, cluster, weights, validation
    )  # fmt: skip


def _same_images(manifest: pd.DataFrame, models: dict[str, ModelPredictions], role: str) -> pd.DataFrame:
    """The manifest's rows that all models are judged on."""
    known = set(manifest["image_id"])
    sets = {name: set(model.ids(role)) for name, model in models.items()}
    problems = []
    first, ids = next(iter(sets.items()))
    chosen_elsewhere = any(model.ids("validation") for model in models.values())
    for name, model in models.items():
        for part in dict.fromkeys((role, "validation") if chosen_elsewhere else (role,)):
            if not model.ids(part) and (part == role or model.chosen is None):
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
    model: ModelPredictions, validation: pd.DataFrame, table: pd.DataFrame, cluster: np.ndarray, spec: EvaluateSpec
) -> Judged:
    logits = model.logits(table["image_id"])
    also = {DERMATOLOGIST: spec.readers.sensitivity}
    if model.chosen is not None:
        chosen = model.chosen
        applied = apply_chosen(chosen, logits)
    elif len(validation):
        chosen = choose(model.logits(validation["image_id"]), model.classes, validation, model.temperature, also)
        applied = apply_chosen(chosen, logits)
    else:
        chosen = choose(logits, model.classes, table, model.temperature, also)
        applied = cross_fit(logits, model.classes, table, cluster, spec.seed, model.temperature, also)
    diagnosis = diagnosis_codes(table)
    scored = Scored(
        applied.probabilities[:, model.classes.index(MELANOMA)],
        table["melanoma"].to_numpy(float),
        applied.probabilities.argmax(1) if model.classes == CLASSES else None,
        diagnosis if (diagnosis >= 0).any() else None,
    )
    return Judged(chosen, scored, applied.thresholds)
