"""The recipe: the stages' specs, composed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from dermdistill.data.spec import DataSpec, SplitSpec
from dermdistill.distillation.spec import SoftenSpec, StudentSpec, TeacherSpec
from dermdistill.errors import no_such
from dermdistill.evaluate.spec import ENSEMBLE, EvaluateSpec
from dermdistill.export.spec import ExportSpec
from dermdistill.specs import Name, Strict, load_toml


class Recipe(Strict):
    """Everything from images to bundle."""

    name: str = Name
    """Also names the default work folder, `work/<name>`. Teachers and students need other names."""
    description: str = ""
    """For people."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Decides initial weights, order, dropout and the teachers' views."""
    data: DataSpec
    """Where the images come from."""
    split: SplitSpec = SplitSpec()
    """Folds, and which of them train and test."""
    teachers: tuple[TeacherSpec, ...] = ()
    """Several are averaged in probability and share their classes. Without soft labels none are needed."""
    soften: SoftenSpec = SoftenSpec()
    """The soft-label bank."""
    students: tuple[StudentSpec, ...] = Field(min_length=1)
    """One or more."""
    evaluate: EvaluateSpec = EvaluateSpec()
    """The report."""
    export: ExportSpec = ExportSpec()
    """Which students become bundles."""

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        teachers, students = ([spec.name for spec in specs] for specs in (self.teachers, self.students))
        names = [*teachers, *([ENSEMBLE] if len(teachers) > 1 else []), *students]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"teachers and students need different names, twice: {', '.join(twice)}")
        taught = [spec.name for spec in self.students if spec.labels != "none"]
        if taught and not self.teachers:
            raise ValueError(f"{', '.join(taught)} learn soft labels: give [[teachers]], or labels = 'none'")
        _require_known("student", "export.students", self.export.students, students)
        _require_known("teacher", "export.teachers", self.export.teachers, teachers)
        _require_known("model", "evaluate.baseline", filter(None, [self.evaluate.baseline]), names)
        if self.split.file is not None and self.data.manifest is None:
            raise ValueError("split.file needs data.manifest, the manifest that was split")
        if len({spec.classes for spec in self.teachers}) > 1:
            raise ValueError("the teachers of one ensemble must share their classes")
        schedules = [spec.train for spec in self.teachers if spec.logits is None]
        schedules += [spec.train for spec in self.students]
        precisions = {train.precision for train in schedules}
        self._tables_fit()
        if len(precisions) > 1:
            raise ValueError(f"teachers and students of one recipe train in one precision, got {sorted(precisions)}")
        return self

    def _tables_fit(self) -> None:
        """Refuse what a teacher cannot do whose logits come as a table."""
        tables = [spec.name for spec in self.teachers if spec.logits is not None]
        if not tables:
            return
        online = [spec.name for spec in self.students if spec.labels == "online"]
        if online:
            raise ValueError(f"'{online[0]}' has labels = 'online', but {tables} are tables of logits: use 'bank'")
        shipped = [name for name in self.export.teachers if name in tables]
        if shipped:
            raise ValueError(f"export.teachers names {shipped}, which are tables of logits and no networks")
        if self.soften.turns > 1:
            raise ValueError(f"soften.turns must be 1, got {self.soften.turns}: {tables} are tables of logits")

    @property
    def baseline(self) -> str:
        """The model that the others are compared with."""
        first = self.teachers[0].name if self.teachers else self.students[0].name
        return self.evaluate.baseline or (ENSEMBLE if len(self.teachers) > 1 else first)

    @property
    def precision(self) -> str:
        """The arithmetic of all its training, as Fabric names it."""
        return self.students[0].train.precision


def _require_known(what: str, key: str, given: Iterable[str], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{key}: {no_such(what, name, known)}")


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a TOML recipe.

    Raises:
        InputError: no such file, not UTF-8, not TOML, or a list of every key that does not fit.
    """
    return load_toml(path, Recipe)
