"""The bundle: a folder that holds everything a prediction needs, checked before it is used."""

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


def default_bundle() -> Path:
    """The folder of the bundle that ships with the package.

    Raises:
        InputError: this installation ships none.
    """
    weights = Path(str(resources.files("dermdistill"))) / "weights"
    named = weights / "DEFAULT"
    if not named.is_file():
        raise InputError("this installation ships no model: give one with --model BUNDLE")
    return weights / named.read_text(encoding="utf-8").strip()
