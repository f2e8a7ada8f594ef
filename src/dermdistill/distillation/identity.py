"""What decides a training's result, known before anything is trained. No torch, no pandas."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dermdistill.distillation.spec import SoftenSpec, StudentSpec, TeacherSpec, complete
from dermdistill.files import sha256_file
from dermdistill.images.view_spec import RENDER_VERSION
from dermdistill.run import UNKNOWN, RunHeader


@dataclass(frozen=True)
class Origin:
    """What images a training uses; `UNKNOWN` where an earlier stage has yet to make them."""

    manifest_sha256: Any
    splits_sha256: Any
    split: dict[str, Any] | None = None
    """Which folds or sources train, validate and test; None where the caller chose the images."""


def teacher_identity(spec: TeacherSpec, origin: Origin, seed: int) -> dict[str, Any]:
    """What decides a teacher.

    Args:
        spec: the teacher.
        origin: its images.
        seed: of the training.
    """
    return _identity("teacher", spec, spec.model_dump(mode="json"), origin, seed, ())


def student_identity(
    spec: StudentSpec, soften: SoftenSpec, origin: Origin, seed: int, teachers: Sequence[Any]
) -> dict[str, Any]:
    """What decides a student.

    Args:
        spec: the student.
        soften: count, seed and augmentation spec of its views.
        origin: its images.
        seed: of the training.
        teachers: the SHA-256 of the weights of those whose soft labels it learns, in order; of a teacher that is yet
            to be trained `UNKNOWN`.
    """
    if spec.labels != "bank":  # only a bank averages its labels over symmetries
        soften = soften.model_copy(update={"turns": 1})
    recipe = {**spec.model_dump(mode="json"), "views": soften.model_dump(mode="json")}
    return _identity("student", spec, recipe, origin, seed, () if spec.labels == "none" else teachers)


def _identity(
    stage: str, spec: TeacherSpec | StudentSpec, recipe: dict[str, Any], origin: Origin, seed: int,
    teachers: Sequence[Any],
) -> dict[str, Any]:  # fmt: skip
    return {
        "stage": stage,
        "name": spec.name,
        "seed": seed,
        "recipe": recipe,
        "inputs": {
            "manifest": origin.manifest_sha256,
            "splits": origin.splits_sha256,
            "teachers": list(teachers),
            "weights": _weights(spec),
        },
        "split": UNKNOWN if origin.split is None else origin.split,
        "render": RENDER_VERSION,
    }


def _weights(spec: TeacherSpec | StudentSpec) -> str | None:
    if isinstance(spec, TeacherSpec) and spec.logits is not None:
        return sha256_file(spec.logits.file) if Path(spec.logits.file).is_file() else None
    if spec.weights != "file" or spec.weights_file is None or not Path(spec.weights_file).is_file():
        return None
    return sha256_file(spec.weights_file)


def in_todays_form(header: RunHeader) -> dict[str, Any]:
    """The values of a run header, of one that an earlier version wrote with the keys that it lacks.

    A recipe's keys get their defaults, and the teachers come from `taught_by`, where they were recorded first. What
    the header does not tell becomes `UNKNOWN`.
    """
    values = header.plain()
    if header.stage not in ("teacher", "student"):
        return values
    inputs = values.get("inputs", {})
    inputs.pop("bank", None)  # follows from the teachers, the views and the images
    if not inputs.get("teachers") and header.recipe.get("labels", "none") != "none":
        inputs["teachers"] = [teacher.model_sha256 for teacher in header.taught_by] or UNKNOWN
    elif "teachers" not in inputs:
        inputs["teachers"] = []
    split = values.get("split")
    return {
        **values,
        "recipe": complete(header.stage, header.recipe),
        "inputs": inputs,
        "split": UNKNOWN if split is None else split,
    }
