"""A model's predictions, from a run folder or from a table."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from dermdistill.classes import CLASSES, MELANOMA
from dermdistill.data.training_keys import NAME, TrainingKeys, read_training_keys
from dermdistill.errors import InputError
from dermdistill.evaluate.spec import ENSEMBLE
from dermdistill.evaluate.thresholds import Chosen
from dermdistill.run import Run, RunHeader
from dermdistill.specs import Strict

ROLES = ("train", "validation", "test")


class Provenance(Strict):
    """What a model is and how it was made; nothing of it is known for a bare table."""

    stage: str | None = None
    """`teacher`, `student`, or `ensemble` of several teachers."""
    model: str | None = None
    parameters: int | None = None
    macs: int | None = None
    image_size: int | None = None
    seed: int | None = None
    git_commit: str | None = None
    hardware: str | None = None
    trained_on_manifest_sha256: str | None = None
    model_sha256: str | None = None
    """Of the run's weights."""
    graph_sha256: str | None = None
    """Of the bundle's ONNX graph, where one was named."""
    milliseconds: float | None = None
    """For one image, measured on the machine that made the report, where a bundle was named."""

    @classmethod
    def of_run(cls, header: RunHeader) -> Self:
        """What a run's header says."""
        return cls(
            stage=header.stage or None, model=header.model, parameters=header.parameters, macs=header.macs,
            image_size=header.image_size, seed=header.seed, git_commit=header.git_commit, hardware=header.hardware,
            trained_on_manifest_sha256=header.inputs.manifest if header.inputs else None,
            model_sha256=header.model_sha256,
        )  # fmt: skip

    @classmethod
    def of_ensemble(cls, members: Sequence[Self]) -> Self:
        """Of several models that are asked together: their cost is the sum, the rest that of the first."""
        update = {
            "stage": ENSEMBLE, "model": " + ".join(str(member.model) for member in members), "image_size": None,
            "parameters": _total([member.parameters for member in members]),
            "macs": _total([member.macs for member in members]),
        }  # fmt: skip
        return members[0].model_copy(update=update)


UNKNOWN = Provenance()
"""Of a bare table."""


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


@dataclass(frozen=True)
class ModelPredictions:
    """Logits of some images, with their roles."""

    classes: tuple[str, ...]
    table: pd.DataFrame
    """Columns image_id, role, logit_<class>; and `part`, if several trainings of the model were pooled."""
    provenance: Provenance = UNKNOWN
    recipe: dict[str, Any] = field(default_factory=dict)
    """What the run was asked for; empty for a bare table and for several models."""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """The run's metrics of each epoch, if it is one run."""
    temperature: float | None = None
    """Of probabilities that are judged as they are; None where it is fitted on the validation images."""
    chosen: Chosen | None = None
    """Temperature and thresholds that were chosen before, as a bundle holds them; None where `evaluate` chooses."""
    trained_on: dict[str, TrainingKeys] = field(default_factory=dict)
    """Hashes of what the training images are, by the part of a cross-validation ('' for one training); empty where that
    is not known."""
    left_out: int = 0
    """Images that `cut_to_common` took out, because another model did not predict them."""

    def logits(self, ids: pd.Series) -> np.ndarray:
        """Logits [N, C] of the given images, in their order."""
        return self.table.set_index("image_id").loc[ids, [f"logit_{name}" for name in self.classes]].to_numpy(float)

    @property
    def chosen_elsewhere(self) -> bool:
        """Whether temperature and thresholds come from other images than those that are judged."""
        return self.chosen is not None or bool(self.ids("validation"))

    def ids(self, role: str) -> list[str]:
        """The images of a role, sorted."""
        return sorted(self.table.loc[self.table["role"] == role, "image_id"])


def read_model(path: str | Path) -> ModelPredictions:
    """Read predictions from a finished run folder, or from a .parquet or .csv table.

    The seven classes are brought into the order of `CLASSES`, whatever the order of the columns.

    Raises:
        InputError: nothing there, or everything that does not fit: columns missing, values that are not finite,
            images twice, no melanoma class.
    """
    path = Path(path)
    provenance, recipe, epochs = UNKNOWN, dict[str, Any](), list[dict[str, Any]]()
    trained_on: dict[str, TrainingKeys] = {}
    if path.is_dir():
        if (path / "bundle.json").exists():
            raise InputError(f"{path} is a bundle; evaluate the run that it was exported from")
        run = Run(path)
        header = run.load()
        if (run.folder / NAME).is_file():
            trained_on = {"": read_training_keys(run.folder / NAME)}
        provenance, recipe, epochs, path = Provenance.of_run(header), header.recipe, run.read_metrics(), run.predictions
    if not path.is_file():
        raise InputError(f"no predictions at {path}; give a finished run folder, or a .parquet or .csv table")
    table = _read_table(path)
    classes = tuple(name.removeprefix("logit_") for name in table.columns if name.startswith("logit_"))
    if set(classes) == set(CLASSES):
        classes = CLASSES
    problems = _find_problems(table, classes)
    if problems:
        raise InputError(f"{path} does not fit:\n  " + "\n  ".join(problems))
    return ModelPredictions(classes, table, provenance, recipe, epochs, trained_on=trained_on)


def pool(models: dict[str, ModelPredictions]) -> ModelPredictions:
    """The test images of one model's several trainings, each predicted by the one that never saw it.

    Args:
        models: by the name of the part, which becomes the column `part`.

    Raises:
        InputError: the trainings have other classes.
    """
    first = next(iter(models.values()))
    if any(model.classes != first.classes for model in models.values()):
        raise InputError(f"cannot pool models with other classes: {[model.classes for model in models.values()]}")
    provenance = first.provenance.model_copy(update={"model_sha256": None})
    tables = [model.table[model.table["role"] == "test"].assign(part=name) for name, model in models.items()]
    trained_on = {name: model.trained_on[""] for name, model in models.items() if "" in model.trained_on}
    whole = pd.concat(tables, ignore_index=True)
    return replace(first, table=whole, epochs=[], provenance=provenance, trained_on=trained_on)


def with_ensemble(models: dict[str, ModelPredictions], teachers: Sequence[str]) -> dict[str, ModelPredictions]:
    """The same models, and if there are several teachers, after them the average of their probabilities.

    Args:
        models: by name, on the same images.
        teachers: the names of those that are averaged, as they are for the soft labels.
    """
    if len(teachers) < 2:
        return models
    members = [models[name] for name in teachers]
    first, columns = members[0], [f"logit_{name}" for name in members[0].classes]
    logits = np.stack([model.logits(first.table["image_id"]) for model in members])
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
    averaged = np.logaddexp.reduce(log_probabilities, axis=0) - np.log(len(members))
    table = first.table.assign(**dict(zip(columns, averaged.T, strict=True)))
    ensemble = ModelPredictions(first.classes, table, Provenance.of_ensemble([one.provenance for one in members]))
    students = {name: model for name, model in models.items() if name not in teachers}
    return {**dict(zip(teachers, members, strict=True)), ENSEMBLE: ensemble, **students}


def cut_to_common(models: dict[str, ModelPredictions], role: str = "test") -> dict[str, ModelPredictions]:
    """The same models, each with those images of a role alone that all of them predicted.

    Args:
        models: by name.
        role: which rows are cut; those of other roles stay.

    Raises:
        InputError: no image was predicted by all.
    """
    ids = {name: set(model.ids(role)) for name, model in models.items()}
    common = set.intersection(*ids.values())
    if not common:
        counts = ", ".join(f"'{name}' {len(found)}" for name, found in ids.items())
        raise InputError(f"no image with the role '{role}' was predicted by all models, which predicted {counts}")
    cut = {}
    for name, model in models.items():
        kept = model.table[(model.table["role"] != role) | model.table["image_id"].isin(common)]
        cut[name] = replace(model, table=kept.reset_index(drop=True), left_out=len(ids[name] - common))
    return cut


def by_seeds(models: dict[str, ModelPredictions]) -> dict[str, ModelPredictions]:
    """The same models, those without a run's recipe known as seeds of one recipe where their names say so.

    Args:
        models: by name; beside a `student`, which is seed 0, `student-1` and `student-2` are other seeds of it.

    Raises:
        InputError: no two of them are, or two are the same seed.
    """
    named = {name: _base_and_seed(name, models) for name in models}
    count = Counter(base for base, _ in named.values())
    if len(set(named.values())) < len(models) or max(count.values()) < 2:
        raise InputError(
            f"the seeds of one recipe need names such as student, student-1, student-2, got {', '.join(models)}"
        )
    told = {}
    for name, model in models.items():
        base, seed = named[name]
        if not model.recipe and count[base] > 1:
            provenance = model.provenance.model_copy(update={"seed": seed})
            model = replace(model, recipe={"seeds_of": base}, provenance=provenance)
        told[name] = model
    return told


def _base_and_seed(name: str, names: Collection[str]) -> tuple[str, int]:
    base, _, number = name.rpartition("-")
    return (base, int(number)) if number.isdecimal() and base in names else (name, 0)


def _read_table(path: Path) -> pd.DataFrame:
    try:
        match path.suffix.lower():
            case ".csv":
                return pd.read_csv(path, dtype={"image_id": "string", "role": "string"})
            case ".parquet":
                table = pd.read_parquet(path)
                return table.astype({name: "string" for name in ("image_id", "role") if name in table})
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable table: {error}") from None
    raise InputError(f"predictions are a .parquet or .csv table, got '{path.suffix}' in {path}")


def _find_problems(table: pd.DataFrame, classes: tuple[str, ...]) -> list[str]:
    needed = ["image_id", "role", f"logit_{MELANOMA}"]
    problems = [f"the column {name} is missing, it has {list(table.columns)}" for name in needed if name not in table]
    if len(classes) == 1:
        problems.append(f"only one class, {classes[0]}; a model that tells melanoma from the rest has logit_other too")
    if problems:
        return problems
    logits = table[[f"logit_{name}" for name in classes]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    checks = {
        "logits are not finite numbers": ~np.isfinite(logits).all(axis=1),
        "image_id is missing": table["image_id"].isna().to_numpy(bool),
        "image_id is used more than once": table["image_id"].duplicated(keep=False).to_numpy(bool),
        f"role is none of {', '.join(ROLES)}": ~table["role"].isin(ROLES).to_numpy(bool),
    }
    for what, bad in checks.items():
        if bad.any():
            names = ", ".join(table.loc[bad, "image_id"].head(5).fillna("(no id)").astype(str))
            problems.append(f"{what}: {int(bad.sum())} rows, e.g. {names}")
    return problems
