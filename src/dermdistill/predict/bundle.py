"""The bundle: a folder that holds everything a prediction needs, checked before it is used."""

import difflib
from importlib import resources
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import sha256_file
from dermdistill.images.preprocess import PREPROCESS_VERSION
from dermdistill.licences import KINDS, binding, kind_of
from dermdistill.specs import Strict, load_header

FORMAT: Literal["dermdistill-bundle/1"] = "dermdistill-bundle/1"
GRAPH = "model.onnx"
WEIGHTS = Path(str(resources.files("dermdistill"))) / "weights"
"""A folder for each bundle that ships, and the name of the default one in the file `DEFAULT`."""


class InputSpec(Strict):
    """What the graph expects: RGB in [0, 1], float32, [N, 3, size, size]."""

    size: int = Field(gt=0)
    layout: Literal["NCHW"] = "NCHW"
    dtype: Literal["float32"] = "float32"
    range: tuple[float, float] = (0.0, 1.0)
    resize: str = PREPROCESS_VERSION


class ThresholdSpec(Strict):
    """An operating point: at or above `value` an image counts as positive."""

    value: float = Field(ge=0, le=1)
    sensitivity: float | None
    """On the data that it was chosen on."""
    specificity: float | None
    chosen_on: str
    n: int
    positives: int


class LicenceFacts(Strict):
    """Under what the bundle may be used."""

    code: str
    weights: str


class DataFacts(Strict):
    """The images that the model learned from."""

    manifest_sha256: str
    splits_sha256: str | None
    sources: tuple[str, ...]
    licences: tuple[str, ...]
    teachers_licences: tuple[str, ...] = ()
    """Of the images that its teachers learned from; nothing without teachers, and in older bundles."""
    images: dict[str, int]
    """How many of each role: train, validation, test."""
    synthetic: bool
    """Whether any were generated; such a model says nothing about skin."""


class ModelFacts(Strict):
    """The network and its cost for one image."""

    name: str
    stage: str
    parameters: int
    macs: int
    weights_sha256: str


class ParityFacts(Strict):
    """How far the graph's outputs are from those of the network that it was made from."""

    logits_max_abs_difference: float
    probabilities_max_abs_difference: float
    probability_tolerance: float
    images: int
    runtimes: tuple[str, ...]


class BundleHeader(Strict):
    """The contents of bundle.json."""

    format: Literal["dermdistill-bundle/1"] = FORMAT
    name: str
    version: str
    classes: tuple[str, ...] = Field(min_length=2)
    melanoma_index: int = Field(ge=0)
    input: InputSpec
    temperature: float = Field(gt=0)
    default_threshold: str
    thresholds: dict[str, ThresholdSpec] = Field(min_length=1)
    licence: LicenceFacts
    data: DataFacts
    model: ModelFacts
    parity: ParityFacts
    files: dict[str, str]
    """SHA-256 of each other file."""
    intended_use: str

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.melanoma_index >= len(self.classes):
            raise ValueError(f"melanoma_index {self.melanoma_index} is beyond the {len(self.classes)} classes")
        if self.default_threshold not in self.thresholds:
            raise ValueError(f"default_threshold '{self.default_threshold}' is none of {sorted(self.thresholds)}")
        if self.input.resize != PREPROCESS_VERSION:
            raise ValueError(f"preprocessing '{self.input.resize}' is not known, expected '{PREPROCESS_VERSION}'")
        bound = binding([*self.data.licences, *self.data.teachers_licences])
        if KINDS.index(kind_of(self.licence.weights)) < KINDS.index(kind_of(bound)):
            raise ValueError(
                f"licence.weights is '{self.licence.weights}', which is freer than the images that the network or its "
                f"teachers learned from: {bound}"
            )
        return self


class Bundle(Strict):
    """A checked bundle on disk."""

    folder: Path
    spec: BundleHeader

    @property
    def graph(self) -> Path:
        return self.folder / GRAPH


def read_bundle(folder: str | Path) -> Bundle:
    """Open a bundle and check every file's hash.

    Raises:
        InputError: no bundle there.
        IntegrityError: a file is missing, changed, or does not fit the format.
    """
    folder = Path(folder)
    path = folder / "bundle.json"
    if not path.is_file():
        raise InputError(f"{folder} is not a bundle: it has no bundle.json; make one with `dermdistill export`")
    spec = load_header(path, BundleHeader)
    for name, expected in {GRAPH: spec.files.get(GRAPH), **spec.files}.items():
        file = folder / name
        if Path(name).name != name or expected is None or not file.is_file():
            raise IntegrityError(f"{folder} lacks {name}, or bundle.json does not list it")
        if (found := sha256_file(file)) != expected:
            raise IntegrityError(f"{file} was changed: its SHA-256 is {found[:12]}…, bundle.json says {expected[:12]}…")
    return Bundle(folder=folder, spec=spec)


def shipped_bundles() -> dict[str, Path]:
    """The folders of the bundles that ship with the package by their names, the default one first."""
    found = {path.parent.name: path.parent for path in sorted(WEIGHTS.glob("*/bundle.json"))}
    named = WEIGHTS / "DEFAULT"
    first = named.read_text(encoding="utf-8").strip() if named.is_file() else ""
    return dict(sorted(found.items(), key=lambda entry: entry[0] != first))


def default_bundle() -> Path:
    """The folder of the bundle that is used where none is named.

    Raises:
        InputError: this installation ships none.
    """
    shipped = shipped_bundles()
    if not shipped:
        raise InputError("this installation ships no model: give one with --model BUNDLE")
    return next(iter(shipped.values()))


def find_bundle(model: str | Path) -> Path:
    """The folder of a bundle: what is named itself, or a bundle that ships under that name.

    Raises:
        InputError: neither is there; close names are suggested.
    """
    folder, shipped = Path(model), shipped_bundles()
    if not (folder / "bundle.json").is_file() and str(model) in shipped:
        return shipped[str(model)]
    if folder.exists():
        return folder
    close = difflib.get_close_matches(str(model), shipped, 1)
    meant = f"did you mean '{close[0]}'? " if close else ""
    raise InputError(
        f"there is no bundle at {model}, and none of this name ships with the package; {meant}"
        f"These do: {', '.join(shipped) or 'none'}. `dermdistill export` makes one of a finished run"
    )
