"""What comes and goes as JSON; the OpenAPI document is made from these."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dermdistill.classes import DISCLAIMER
from dermdistill.predict.header import DataFacts, InputSpec, LicenceFacts, ModelFacts, ThresholdSpec
from dermdistill.probabilities import Method
from dermdistill.specs import Strict

Probability = Annotated[float, Field(ge=0, le=1)]
Base64 = Annotated[
    str, Field(min_length=1, json_schema_extra={"contentEncoding": "base64"}, examples=["iVBORw0KGgo…"], repr=False)
]


class Answer(BaseModel):
    """The base of what is answered."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ImageIn(Strict):
    """One image of a JSON request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    data: Base64
    """The file's bytes in base64."""
    name: str = Field("", max_length=255, examples=["left-arm.jpg"])
    """Comes back in the answer."""


class PredictIn(Strict):
    """A JSON request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    images: list[ImageIn] = Field(min_length=1)
    threshold: str | Annotated[float, Field(strict=True)] | None = Field(None, examples=["sensitivity_95", 0.1])
    """The name of one of the model's thresholds, or a probability from 0 to 1; by default the service's."""


class ModelName(Answer):
    """Which model answered."""

    name: str
    version: str
    sha256: str
    """SHA-256 of the model's graph."""


class ThresholdUsed(Answer):
    """At or above `value` an image counts as positive."""

    name: str | None
    """None for a number that the request gave."""
    value: Probability


class ImageAnswer(Answer):
    """What the model says of one image, or why it says nothing."""

    index: int = Field(ge=0)
    """The place in the request, from 0."""
    file: str
    """The name that came with the image."""
    status: str = Field(examples=["ok", "refused", "damaged", "not_an_image", "bomb"])
    """'ok'; 'refused' by the model's gate, or another reason why the image cannot be used. With a probability
    nonetheless if the operator wants one."""
    p_melanoma: Probability | None
    """The calibrated probability of melanoma."""
    decision: str | None = Field(examples=["above_threshold", "below_threshold"])
    probabilities: dict[str, float] | None
    """The calibrated probability of each class."""
    quality: str | None
    """'good', or the gate's reasons separated by commas, such as 'not_dermoscopic,blurred'; None where no gate was
    asked."""
    message: str
    """What is wrong, or what to know about the answer; often empty."""


class PredictOut(Answer):
    """The answer to a request, its images in the order in which they came."""

    disclaimer: str = DISCLAIMER
    model: ModelName
    threshold: ThresholdUsed
    results: list[ImageAnswer]


class FigureOut(Answer):
    """A figure of the model card, with its 95 % interval."""

    name: str
    value: float
    low: float | None
    high: float | None


class ClassOut(Answer):
    """A class that the model tells."""

    name: str
    meaning: str
    is_melanoma: bool


class ModelOut(Answer):
    """The facts of the model card."""

    disclaimer: str = DISCLAIMER
    model: ModelName
    intended_use: str
    classes: list[ClassOut]
    default_threshold: ThresholdUsed
    thresholds: dict[str, ThresholdSpec]
    """With sensitivity and specificity on the images that they were chosen on."""
    figures: list[FigureOut]
    """On held-out images, as the model card has them; empty if it has none."""
    input: InputSpec
    temperature: float
    """1 where another calibration takes its place."""
    calibration: Method
    """How the probabilities are calibrated."""
    network: ModelFacts
    data: DataFacts
    licence: LicenceFacts
    gate: dict[str, str]
    """The reasons for which the model's gate refuses an image, each in words; empty if none is asked."""
    limits: dict[str, int]
    """The service's: images a request, bytes a body, pixels an image."""


class Health(Answer):
    """Whether the service lives, or is ready to answer."""

    status: str = Field(examples=["ok", "ready", "starting", "stopping"])


class Pointer(Answer):
    """What stands at `/` where no page is served."""

    disclaimer: str = DISCLAIMER
    openapi: str = "/openapi.json"
    predict: str = "/v1/predict"
    model: str = "/v1/model"
    documentation: str


class Problem(Answer):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(examples=["urn:dermdistill:too-large"])
    title: str = Field(examples=["Content Too Large"])
    status: int = Field(examples=[413])
    detail: str = Field(examples=["a body of 31,000,000 bytes"])
    """What came."""
    expected: str = Field(examples=["at most 20,000,000 bytes"])
    """What was expected."""
    remedy: str = Field(examples=["send fewer or smaller images"])
    """How to mend it."""
    images: list[ImageAnswer] | None = None
    """The entry of each image, if the images are what is wrong."""
