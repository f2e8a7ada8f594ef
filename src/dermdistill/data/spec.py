"""Where images come from and how they are split."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from dermdistill.specs import NAME, Strict


class SourceSpec(Strict):
    """A folder to import: its path beneath the data folder, its layout, and its name, by default the layout's."""

    path: str
    """The folder, beneath the data folder that `--data` names."""
    layout: str = "auto"
    """Its layout; `auto` recognises it by its files."""
    name: str | None = Field(None, pattern=NAME, exclude_if=lambda value: value is None)
    """Its name in the manifest and in reports, by default the layout's. Two renderings of one photograph need two."""


class SyntheticSpec(Strict):
    """Generated images instead of real ones."""

    images: int = Field(1000, ge=50)
    """How many."""
    size: int = Field(112, ge=32)
    """Side in pixels."""
    seed: int = Field(0, ge=0)
    """Decides the images."""


LicenceKind = Literal["CC0", "CC BY", "CC BY-SA", "CC BY-NC"]


class DataSpec(Strict):
    """Where the images come from."""

    sources: tuple[SourceSpec, ...] = ()
    """Folders to import."""
    manifest: str | None = None
    """Instead of sources: a manifest, taken as it is; run `data check` and `data duplicates` on it first."""
    synthetic: SyntheticSpec | None = None
    """Generated images."""
    drop_unknown: bool = False
    """Leave out, and count, images of unknown diagnosis; otherwise they are an error."""
    drop_other: bool = Field(False, exclude_if=lambda value: not value)
    """Leave out, and count, images that are known to be no melanoma but have none of the seven classes."""
    licences: tuple[LicenceKind, ...] = Field((), exclude_if=lambda value: not value)
    """Use only images under licences of these kinds, whatever their version, and count the others; by default all."""
    limit: int | None = Field(None, ge=50)
    """Use only so many images (whole lesions, melanomas in proportion); for short trials."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(map(bool, (self.sources, self.manifest, self.synthetic))) != 1:
            raise ValueError("give one of [[data.sources]], data.manifest and [data.synthetic]")
        if self.licences and not self.sources:
            raise ValueError("data.licences chooses among the images of [[data.sources]]; take it out")
        if self.manifest and (self.limit or self.drop_unknown or self.drop_other):
            raise ValueError("data.manifest is taken as it is: limit, drop_unknown and drop_other do not go with it")
        return self


class SplitSpec(Strict):
    """Lesion-, patient- and duplicate-grouped folds, and which of them train and test."""

    folds: int = Field(5, ge=3)
    """Number of folds."""
    seed: int = Field(0, ge=0)
    """Decides which group falls into which fold."""
    file: str | None = None
    """Frozen splits of data.manifest, made with `data split`, instead of folds and seed."""
    scheme: Literal["hold-out", "cross", "sources", "collections"] = "hold-out"
    """One fold tested; or every image predicted by models that trained without its fold, its source or its collection,
    which is its source where the manifest names none."""
    held_out: Annotated[int, Field(ge=0)] | Literal["test"] = 0
    """hold-out: the fold that is tested on, once; or 'test', the part that `data split --holdout` set apart."""
    validation: int = Field(1, ge=0)
    """hold-out: the fold that chooses checkpoints, temperature and thresholds."""
    tested: tuple[int | str, ...] = ()
    """cross: the folds to test on, by default all; sources and collections: their names."""
    final: bool = False
    """cross, sources, collections: train the exported students on all images besides."""
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
            raise ValueError(f"{' and '.join(foreign)} need scheme 'cross', 'sources' or 'collections'")
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
            expected = f"one or more names of {self.scheme}"
        if wrong or (self.scheme != "cross" and not self.tested):
            raise ValueError(f"scheme '{self.scheme}' expects {expected} in tested, got {list(self.tested)}")
        return self


Fold = Annotated[int, Field(strict=True, ge=0)] | Literal["test"]


class SplitsFile(Strict):
    """The file of frozen splits."""

    format: Literal["dermdistill-splits/1"] = "dermdistill-splits/1"
    manifest_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    rule: dict[str, Any]
    """How the folds were made."""
    folds: dict[str, Fold] = Field(min_length=1)
    """The fold of each image id."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """The hash of everything else."""
