"""Where the work of a recipe lies, and what each of its parts trains."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from dermdistill.distillation.spec import StudentSpec, TeacherSpec
from dermdistill.errors import InputError
from dermdistill.recipe.parts import FINAL, WHOLE, part_identity, part_names
from dermdistill.recipe.spec import Recipe
from dermdistill.run import Run


@dataclass(frozen=True)
class Work:
    """A recipe and the folder that it is carried out in."""

    recipe: Recipe
    folder: Path
    data: Path | None = None
    cache: Path | None = None
    part: str = WHOLE
    """The part of the recipe whose teachers, bank and students are meant."""

    def __post_init__(self) -> None:
        for what, path in (("--out", self.folder), ("--cache", self.cache)):
            if path is not None and path.exists() and not path.is_dir():
                raise InputError(f"{what} is {path}, which is a file; give a folder")

    def of(self, part: str) -> Self:
        """The same work, of one part."""
        return replace(self, part=part)

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.parquet"

    @property
    def splits(self) -> Path:
        return self.folder / "splits.json"

    @property
    def synthetic(self) -> Path:
        """The folder of generated images."""
        return self.folder / "synthetic"

    @property
    def split(self) -> dict[str, Any]:
        """Which folds or sources train, validate and test in this part."""
        return part_identity(self.recipe.split, self.part)

    @property
    def bank(self) -> Path:
        return self.folder / self.part / "bank"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    def teacher(self, name: str) -> Path:
        return self.folder / self.part / "teachers" / name

    def student(self, name: str) -> Path:
        return self.folder / self.part / "students" / name

    def seed(self, spec: TeacherSpec | StudentSpec) -> int:
        """The seed of one training."""
        return self.recipe.seed if spec.seed is None else spec.seed

    def bundle(self, name: str) -> Path:
        return self.folder / "bundles" / name

    def run(self, name: str) -> Path:
        """The run folder of a teacher or a student."""
        return self.teacher(name) if name in {spec.name for spec in self.recipe.teachers} else self.student(name)

    @property
    def exported(self) -> tuple[str, ...]:
        """The students and teachers that become bundles, the one that ships by default first."""
        chosen = self.recipe.export
        return (*(chosen.students or (self.recipe.students[0].name,)), *chosen.teachers)

    @property
    def students(self) -> list[StudentSpec]:
        """The students that are trained in this part: on all images only those that are exported."""
        specs = list(self.recipe.students)
        return specs if self.part != FINAL else [spec for spec in specs if spec.name in self.exported]

    @property
    def teachers(self) -> list[TeacherSpec]:
        """The teachers that are trained in this part: on all images only if a student learns from them or they ship."""
        taught = any(spec.labels != "none" for spec in self.students)
        if self.part != FINAL or (taught and self.recipe.split.final_teachers == "own"):
            return list(self.recipe.teachers)
        return [spec for spec in self.recipe.teachers if spec.name in self.exported]

    @property
    def taught_in(self) -> list[Self]:
        """The parts whose teachers this part's students learn from."""
        borrowed = self.part == FINAL and self.recipe.split.final_teachers == "tested"
        return self.tested if borrowed else [self]

    @property
    def ensemble(self) -> list[Path]:
        """The run folders of the teachers that this part's students learn from."""
        return [part.teacher(spec.name) for part in self.taught_in for spec in self.recipe.teachers]

    @property
    def needs_bank(self) -> bool:
        """Whether a student of this part still has to learn from the bank."""
        banked = [spec for spec in self.students if spec.labels == "bank"]
        return any(not Run(self.student(spec.name)).is_complete() for spec in banked)

    @property
    def shipped(self) -> Self:
        """The part whose students become bundles: the one of all images if there is one, else the first."""
        return self.of(part_names(self.recipe.split)[-1 if self.recipe.split.final else 0])

    @property
    def tested(self) -> list[Self]:
        """The parts that predict images."""
        return [self.of(name) for name in part_names(self.recipe.split) if name != FINAL]
