"""Strict, frozen recipes: unknown keys are errors, and all errors are told at once."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.data.augment import ViewSpec
from dermdistill.errors import InputError
from dermdistill.student.losses import LossSpec

Spec = TypeVar("Spec", bound=BaseModel)

ENSEMBLE = "ensemble"
"""The name in reports of several teachers' averaged probabilities."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Field(pattern=NAME)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainSpec(_Strict):
    """How a network is trained; shared by teachers and students."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(64, ge=2)
    """Images a step, over all devices together."""
    optimizer: Literal["adamw", "adam", "sgd", "adadelta"] = "adamw"
    learning_rate: float = Field(5e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    """Not applied to biases and normalisation layers."""
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(0.5, ge=0)
    ema: float = Field(0.998, ge=0, lt=1)
    """Decay of the averaged weights, the ones that are validated and kept; 0 averages nothing."""
    clip: float = Field(5.0, ge=0)
    """Largest gradient norm; 0 clips nothing."""
    mixup: float = Field(0.0, ge=0, exclude_if=lambda value: value == 0)
    """Blend each image, and what is asked of it, with another of the batch in shares from Beta(mixup, mixup)."""
    balance: Literal["none", "sampler", "weights"] = "none"
    """Class imbalance: draw rare classes more often, or weigh their loss (square root of the inverse frequency)."""
    epoch_of: Literal["image", "photograph", "lesion"] = "image"
    """What an epoch shows once: each image, or of each photograph or lesion one image, drawn anew in each epoch."""
    patience: int | None = Field(None, ge=1)
    """End after so many epochs without a better validation melanoma AUROC."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = True
    checkpoint_seconds: float = Field(60.0, ge=0)
    """Time between checkpoints within an epoch; each end of an epoch makes one besides."""

    @model_validator(mode="after")
    def _order_fits(self) -> Self:
        if self.balance == "sampler" and self.epoch_of != "image":
            raise ValueError(
                f"balance = 'sampler' draws images, epoch_of = '{self.epoch_of}' one of each {self.epoch_of}: "
                "use balance = 'weights' or epoch_of = 'image'"
            )
        return self


class SourceSpec(_Strict):
    """A folder to import: its path beneath the data folder, its layout, and its name, by default the layout's."""

    path: str
    layout: str = "auto"
    name: str | None = Field(None, pattern=NAME, exclude_if=lambda value: value is None)


class SyntheticSpec(_Strict):
    """Generated images instead of real ones."""

    images: int = Field(1000, ge=50)
    size: int = Field(112, ge=32)
    seed: int = Field(0, ge=0)


class DataSpec(_Strict):
    """Where the images come from."""

    sources: tuple[SourceSpec, ...] = ()
    manifest: str | None = None
    """Instead of sources: a manifest, taken as it is; run `data check` and `data duplicates` on it first."""
    synthetic: SyntheticSpec | None = None
    drop_unknown: bool = False
    limit: int | None = Field(None, ge=50)
    """Use only so many images (whole lesions, melanomas in proportion); for short trials."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(map(bool, (self.sources, self.manifest, self.synthetic))) != 1:
            raise ValueError("give one of [[data.sources]], data.manifest and [data.synthetic]")
        if self.manifest and (self.limit or self.drop_unknown):
            raise ValueError("data.manifest is taken as it is: limit and drop_unknown do not go with it")
        return self


class SplitSpec(_Strict):
    """Lesion-, patient- and duplicate-grouped folds, and which of them train and test."""

    folds: int = Field(5, ge=3)
    seed: int = Field(0, ge=0)
    file: str | None = None
    """Frozen splits of data.manifest, made with `data split`, instead of folds and seed."""
    scheme: Literal["hold-out", "cross", "sources"] = "hold-out"
    """One fold tested; or every image predicted by models that trained without its fold, or without its source."""
    held_out: Annotated[int, Field(ge=0)] | Literal["test"] = 0
    """hold-out: the fold that is tested on, once; or 'test', the part that `data split --holdout` set apart."""
    validation: int = Field(1, ge=0)
    """hold-out: the fold that chooses checkpoints, temperature and thresholds."""
    tested: tuple[int | str, ...] = ()
    """cross: the folds to test on, by default all; sources: the sources."""
    final: bool = False
    """cross, sources: train the exported students on all images besides."""
    final_teachers: Literal["own", "tested"] = "own"
    """final: the students of all images learn from teachers trained on all images, or from the ensemble of the tested
    parts' teachers, which needs no further training."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.scheme != "hold-out":
            return self._tested_fits()
        used = {self.validation, self.held_out} - {"test"}
        if self.held_out == self.validation or (self.file is None and max(map(int, used)) >= self.folds):
            raise ValueError(f"held_out and validation must be two different folds below {self.folds}")
        if self.held_out == "test" and self.file is None:
            raise ValueError("held_out = 'test' needs split.file, made with `dermdistill data split --holdout`")
        foreign = sorted(self.model_fields_set & {"tested", "final", "final_teachers"})
        if foreign:
            raise ValueError(f"{' and '.join(foreign)} need scheme 'cross' or 'sources'")
        return self

    def _tested_fits(self) -> Self:
        foreign = self.model_fields_set & {"held_out", "validation"}
        if foreign:
            raise ValueError(
                f"scheme '{self.scheme}' tests every part and validates on none: take out {sorted(foreign)}"
            )
        if self.final_teachers == "tested" and not self.final:
            raise ValueError("final_teachers = 'tested' needs final = true")
        if len(set(self.tested)) < len(self.tested):
            raise ValueError(f"tested names a part twice: {list(self.tested)}")
        if self.scheme == "cross":
            wrong = [part for part in self.tested if not isinstance(part, int) or not 0 <= part < self.folds]
            expected = f"folds from 0 to {self.folds - 1}"
        else:
            wrong = [part for part in self.tested if not isinstance(part, str)]
            expected = "one or more names of sources"
        if wrong or (self.scheme == "sources" and not self.tested):
            raise ValueError(f"scheme '{self.scheme}' expects {expected} in tested, got {list(self.tested)}")
        return self


class TeacherSpec(_Strict):
    """One teacher of the ensemble."""

    name: str = Name
    model: str = "tf_efficientnet_lite0"
    """Any timm model, or a student of our own."""
    seed: int | None = Field(None, ge=0, lt=2**31, exclude=True)
    """By default the recipe's; not part of what identifies the training, which names its seed itself."""
    weights: Literal["package", "hub", "file", "none"] = "package"
    weights_file: str | None = None
    image_size: int = Field(160, ge=32)
    classes: Literal["seven", "binary"] = "seven"
    drop_rate: float = Field(0.2, ge=0, lt=1)
    drop_path_rate: float = Field(0.1, ge=0, lt=1)
    train: TrainSpec = TrainSpec()
    views: ViewSpec = ViewSpec()

    @property
    def class_names(self) -> tuple[str, ...]:
        return CLASSES if self.classes == "seven" else BINARY_CLASSES


class SoftenSpec(_Strict):
    """The soft-label bank."""

    views: int = Field(8, ge=1)
    seed: int = Field(0, ge=0)
    batch_size: int = Field(128, ge=1)
    spec: ViewSpec = ViewSpec()


class StudentSpec(_Strict):
    """One student, distilled or, with `labels = "none"`, trained on the diagnoses alone."""

    name: str = Name
    model: str = "lite0_cut"
    seed: int | None = Field(None, ge=0, lt=2**31, exclude=True)
    """By default the recipe's. Students that differ in it alone, besides the name, are averaged in the report."""
    image_size: int | None = Field(None, ge=32)
    """By default the model's own."""
    classes: Literal["seven", "binary"] = "seven"
    weights: Literal["package", "hub", "file", "none"] = "package"
    weights_file: str | None = None
    allow_over_budget: bool = False
    labels: Literal["bank", "online", "none"] = "bank"
    """Soft labels from the bank, from the teacher in the loop, or none."""
    symmetries: bool = Field(False, exclude_if=lambda value: not value)
    """Turn each view by quarters and mirror it besides, anew in every epoch; its soft labels stay."""
    loss: LossSpec = LossSpec()
    train: TrainSpec = TrainSpec()

    @property
    def class_names(self) -> tuple[str, ...]:
        return CLASSES if self.classes == "seven" else BINARY_CLASSES

    @model_validator(mode="after")
    def _loss_fits(self) -> Self:
        if self.labels == "none" and self.loss.kind != "ce":
            raise ValueError(f"labels = 'none' leaves only loss.kind = 'ce', got '{self.loss.kind}'")
        if self.classes == "binary" and self.loss.kind == "dkd":
            raise ValueError("loss.kind = 'dkd' needs seven classes: with two, nothing is left beside the target")
        if self.train.balance == "weights" and self.loss.kind != "ce" and self.loss.alpha == 0:
            raise ValueError("train.balance = 'weights' weighs the cross-entropy, which loss.alpha = 0 leaves out")
        return self


class EvaluateSpec(_Strict):
    """The evidence."""

    replicates: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0)
    baseline: str | None = None
    """The model that the others are compared with; by default the teacher, or the ensemble of several."""


class ExportSpec(_Strict):
    """Which students become bundles; by default the first."""

    students: tuple[str, ...] = ()


class Recipe(_Strict):
    """Everything from images to bundle."""

    name: str = Name
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**31)
    data: DataSpec
    split: SplitSpec = SplitSpec()
    teachers: tuple[TeacherSpec, ...] = Field(min_length=1)
    soften: SoftenSpec = SoftenSpec()
    students: tuple[StudentSpec, ...] = Field(min_length=1)
    evaluate: EvaluateSpec = EvaluateSpec()
    export: ExportSpec = ExportSpec()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        students = [spec.name for spec in self.students]
        several = [ENSEMBLE] if len(self.teachers) > 1 else []
        names = [spec.name for spec in self.teachers] + several + students
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"teachers and students need different names, twice: {', '.join(twice)}")
        unknown = [name for name in self.export.students if name not in students]
        if unknown:
            raise ValueError(f"export.students names {unknown}, the students are {students}")
        if self.evaluate.baseline is not None and self.evaluate.baseline not in names:
            raise ValueError(f"evaluate.baseline is '{self.evaluate.baseline}', expected one of {names}")
        if self.split.file is not None and self.data.manifest is None:
            raise ValueError("split.file needs data.manifest, the manifest that was split")
        if len({spec.classes for spec in self.teachers}) > 1:
            raise ValueError("the teachers of one ensemble must share their classes")
        schedules = [spec.train for spec in self.teachers] + [spec.train for spec in self.students]
        precisions = {train.precision for train in schedules}
        if len(precisions) > 1:
            raise ValueError(f"teachers and students of one recipe train in one precision, got {sorted(precisions)}")
        return self

    @property
    def baseline(self) -> str:
        """The model that the others are compared with."""
        return self.evaluate.baseline or (ENSEMBLE if len(self.teachers) > 1 else self.teachers[0].name)

    @property
    def precision(self) -> str:
        """The arithmetic of all its training, as Fabric names it."""
        return self.students[0].train.precision


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a TOML recipe.

    Raises:
        InputError: no such file, not TOML, or a list of every key that does not fit.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such recipe: {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    return parse(Recipe, content, str(path))


def parse(spec: type[Spec], content: dict[str, Any], where: str) -> Spec:
    """Build a spec from plain values, telling every error in words.

    Raises:
        InputError: one line for each key that does not fit.
    """
    try:
        return spec.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where} does not fit:\n" + "\n".join(explain(error))) from None


def complete(stage: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """A teacher's or student's recipe as its run header holds it, with the keys that it lacks at their defaults.

    So headers that were written before a key existed can be compared with later ones. What is no such recipe, or
    does not fit the specs, comes back as it is.
    """
    try:
        if stage == "teacher":
            return TeacherSpec.model_validate(recipe).model_dump(mode="json")
        if stage == "student":
            own = {key: value for key, value in recipe.items() if key != "views"}  # those of the bank
            views = SoftenSpec.model_validate(recipe.get("views", {}))
            return {**StudentSpec.model_validate(own).model_dump(mode="json"), "views": views.model_dump(mode="json")}
    except ValidationError:
        pass
    return recipe


def explain(error: ValidationError) -> list[str]:
    """Each of pydantic's findings as one line: where, what is wrong, what came."""
    lines = []
    for finding in error.errors():
        place = ".".join(str(part) for part in finding["loc"]) or "recipe"
        if finding["type"] == "extra_forbidden":
            lines.append(f"  {place}: unknown key")
        else:
            came = "" if isinstance(finding["input"], dict) else f", got {finding['input']!r}"
            lines.append(f"  {place}: {finding['msg'].removeprefix('Value error, ')}{came}")
    return lines
