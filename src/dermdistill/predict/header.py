"""What bundle.json says, in both versions of the format."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import read_json
from dermdistill.images.preprocess import PREPROCESS_VERSION
from dermdistill.licences import KINDS, binding, kind_of
from dermdistill.probabilities import Calibration, Stored, Temperature, misfit
from dermdistill.specs import Strict, load_header

FORMAT: Literal["dermdistill-bundle/2"] = "dermdistill-bundle/2"
FORMAT_1: Literal["dermdistill-bundle/1"] = "dermdistill-bundle/1"
GRAPH = "model.onnx"
PIXELS_GRAPH = "pixels.onnx"
GATE = "gate.onnx"
"""Refuses images that the model may not judge; not every bundle has it."""
MAX_HEADER = 4 * 2**20
"""Bytes of a bundle.json."""
MAX_SIDE = 2048
"""Pixels of the network's input and of a test vector, on a side."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""A file of the bundle's own folder: no separators, no leading dot."""
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Colour = Annotated[int, Field(ge=0, le=192)]
Coefficient = Annotated[int, Field(ge=0, le=15)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class InputSpec(Strict):
    """What model.onnx expects: RGB in [0, 1], float32, [N, 3, size, size]."""

    size: Side
    layout: Literal["NCHW"] = "NCHW"
    dtype: Literal["float32"] = "float32"
    range: tuple[float, float] = (0.0, 1.0)
    resize: str = PREPROCESS_VERSION
    """How an image becomes size x size pixels, see the reference of the bundle."""


class PixelsSpec(Strict):
    """What pixels.onnx expects: one upright RGB image, uint8, [height, width, 3]. It resizes and scales by itself."""

    layout: Literal["HWC"] = "HWC"
    dtype: Literal["uint8"] = "uint8"
    range: tuple[int, int] = (0, 255)


class ThresholdSpec(Strict):
    """An operating point: at or above `value` an image counts as positive."""

    value: Share
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


class ParityFacts1(Strict):
    """How far the outputs of format 1's graph are from those of the network that it was made from."""

    logits_max_abs_difference: float
    probabilities_max_abs_difference: float
    probability_tolerance: float
    images: int
    runtimes: tuple[str, ...]


class GraphParity(Strict):
    """How far a graph's outputs are from those of the network, on generated images and on photographs."""

    logits_max_abs_difference: float
    probabilities_max_abs_difference: float
    probability_tolerance: float
    pixels_max_abs_difference: int
    """Of the resized image, of 255, from the resize of training; 0 where the graph does not resize."""
    generated: Count
    """Generated images."""
    photographs: Count
    """Images that the run predicted without having learned from them."""
    auroc_difference: float | None
    """Of the graph less that of the network, on the photographs."""
    auroc_undefined: str | None
    """Why there is no difference in AUROC."""
    decision_flips: Count
    """Photographs whose decision at the default threshold is another."""


class ParityFacts(Strict):
    """How far the graphs' outputs are from those of the network that they were made from."""

    model: GraphParity
    pixels: GraphParity
    runtimes: tuple[str, ...]


class Pattern(Strict):
    """An RGB image that any language can draw with whole numbers below 2**31.

    Channel c of the pixel in column x and row y, both counted from 0, is
    `base[c] + floor((xx * x * x + xy * x * y + yy * y * y) / 64) mod 64`.
    """

    width: Side
    height: Side
    base: tuple[Colour, Colour, Colour]
    """Of red, green and blue."""
    xx: Coefficient
    xy: Coefficient
    yy: Coefficient


class Vector(Strict):
    """An image and what the model answers."""

    name: str
    image: Pattern
    image_sha256: Sha256
    """Of the image's bytes: rows from the top, pixels from the left, red, green, blue."""
    resized_sha256: Sha256
    """Of the resized image's bytes [size, size, 3] as Pillow makes them. A runtime that differs by 1 in a single value
    has another hash; the samples judge it."""
    resized_samples: str
    """Base64 of uint8 [16, 16, 3]: of the resized image, the rows and columns floor((2 k + 1) size / 32), k from 0."""
    logits: tuple[float, ...]
    probabilities: tuple[Share, ...]


class Vectors(Strict):
    """Images with known answers: a runtime that gives all of them within the tolerances runs the model rightly."""

    pixel_tolerance: Count
    """Largest difference of a value of the resized image, of 255."""
    probability_tolerance: float = Field(gt=0, le=0.01)
    """Largest difference of a probability."""
    images: tuple[Vector, ...] = Field(min_length=1, max_length=64)


class BundleFacts(Strict):
    """What both versions of bundle.json say."""

    name: str
    version: str
    """Of dermdistill."""
    classes: tuple[str, ...] = Field(min_length=2, max_length=10_000)
    """In the order of the outputs."""
    melanoma_index: int = Field(ge=0)
    """Which of the classes is melanoma, counted from 0."""
    input: InputSpec
    temperature: float = Field(gt=0)
    """Divides the logits before the softmax, inside the graphs; 1 beside another `calibration`."""
    calibration: Stored | None = None
    """What takes the place of the temperature inside the graphs; without it the temperature alone calibrates."""
    default_threshold: str
    """The name of one of the thresholds."""
    thresholds: dict[str, ThresholdSpec] = Field(min_length=1)
    licence: LicenceFacts
    data: DataFacts
    model: ModelFacts
    files: dict[FileName, Sha256]
    """SHA-256 of each other file."""
    intended_use: str

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.melanoma_index >= len(self.classes):
            raise ValueError(f"melanoma_index {self.melanoma_index} is beyond the {len(self.classes)} classes")
        if self.default_threshold not in self.thresholds:
            raise ValueError(f"default_threshold '{self.default_threshold}' is none of {sorted(self.thresholds)}")
        if (wrong := misfit(self.calibrated, len(self.classes))) is not None:
            raise ValueError(wrong)
        if self.calibration is not None and self.temperature != 1:
            raise ValueError(f"temperature must be 1 beside another calibration, got {self.temperature}")
        if self.input.resize != PREPROCESS_VERSION:
            raise ValueError(f"preprocessing '{self.input.resize}' is not known, expected '{PREPROCESS_VERSION}'")
        bound = binding([*self.data.licences, *self.data.teachers_licences])
        if KINDS.index(kind_of(self.licence.weights)) < KINDS.index(kind_of(bound)):
            raise ValueError(
                f"licence.weights is '{self.licence.weights}', which is freer than the images that the network or its "
                f"teachers learned from: {bound}"
            )
        return self

    @property
    def calibrated(self) -> Calibration:
        """How the probabilities come from the logits."""
        return self.calibration or Temperature(temperature=self.temperature)


class BundleHeader1(BundleFacts):
    """The contents of bundle.json in format 1: a single graph, and no test vectors. It is read, and no more written."""

    format: Literal["dermdistill-bundle/1"]
    parity: ParityFacts1

    @property
    def graphs(self) -> tuple[str, ...]:
        return (GRAPH,)


class BundleHeader(BundleFacts):
    """The contents of bundle.json."""

    format: Literal["dermdistill-bundle/2"]
    pixels: PixelsSpec
    parity: ParityFacts
    vectors: Vectors

    @property
    def graphs(self) -> tuple[str, ...]:
        return (GRAPH, PIXELS_GRAPH)

    @model_validator(mode="after")
    def _vectors_fit(self) -> Self:
        for vector in self.vectors.images:
            if not len(vector.logits) == len(vector.probabilities) == len(self.classes):
                raise ValueError(f"vector '{vector.name}' does not have a value for each of the classes")
        return self


AnyHeader = BundleHeader | BundleHeader1


def read_header(folder: Path) -> AnyHeader:
    """Read the bundle.json of a folder.

    Raises:
        InputError: there is none.
        IntegrityError: it is too large, not JSON, or does not fit the format.
    """
    path = folder / "bundle.json"
    if not path.is_file():
        raise InputError(f"{folder} is not a bundle: it has no bundle.json; make one with `dermdistill export`")
    if (size := path.stat().st_size) > MAX_HEADER:
        raise IntegrityError(f"{path} has {size} bytes, at most {MAX_HEADER} are read; export the bundle again")
    content = read_json(path)
    if isinstance(content, dict) and content.get("format") == FORMAT_1:
        return load_header(path, BundleHeader1)
    return load_header(path, BundleHeader)
