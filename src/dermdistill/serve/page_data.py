"""What a page shows besides a model's answer: out-of-fold figures that belong to the model's weights."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dermdistill.errors import IntegrityError
from dermdistill.predict.bundle import Bundle
from dermdistill.specs import Strict, load_header

FORMAT: Literal["dermdistill-page-data/1"] = "dermdistill-page-data/1"


class ValueBin(Strict):
    """Images whose probability of melanoma lies from `low` up to `high`."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    n: int = Field(gt=0)
    positives: int = Field(ge=0)
    """How many of them show a melanoma."""


class QualityLimits(Strict):
    """What all but one in a hundred of the images that a model learned from keep; see web/src/quality.ts."""

    images: int = Field(gt=0)
    """How many were measured."""
    blurred_below: float
    """Of the sharpness: mean absolute Laplacian of the luminance, in its standard deviations."""
    dark_below: float
    """Of the mean luminance, 0 to 255."""
    bright_above: float
    glare_above: float
    """Of the share of white pixels."""


class PageData(Strict):
    """The contents of NAME.json."""

    format: Literal["dermdistill-page-data/1"] = FORMAT
    model: str
    """The bundle's name."""
    weights_sha256: str
    """The weights that the figures belong to, as in `bundle.json`."""
    manifest_sha256: str
    """The images that the figures rest on."""
    n: int
    """Images, each judged by a network of the model's recipe that never saw it."""
    positives: int
    """Melanomas among them."""
    curve: tuple[tuple[float, int, int], ...]
    """Rising thresholds, each with the melanomas and the other images at or above it."""
    bins: tuple[ValueBin, ...]
    quality: QualityLimits | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        thresholds = [row[0] for row in self.curve]
        if thresholds != sorted(set(thresholds)):
            raise ValueError("the curve's thresholds must rise")
        if any(not (0 <= found <= self.positives and 0 <= alarms <= self.n - self.positives)
               for _, found, alarms in self.curve):  # fmt: skip
            raise ValueError(f"the curve counts more images than the {self.n} that there are")
        if (sum(part.n for part in self.bins), sum(part.positives for part in self.bins)) != (self.n, self.positives):
            raise ValueError(f"the bins do not hold the {self.n} images and {self.positives} melanomas")
        return self


def read_page_data(path: str | Path, bundle: Bundle) -> PageData:
    """Read figures for a bundle.

    Raises:
        InputError: no such file.
        IntegrityError: the file does not fit the format, or belongs to other weights.
    """
    data, expected = load_header(path, PageData), bundle.spec.model.weights_sha256
    if data.weights_sha256 != expected:
        raise IntegrityError(
            f"{path} belongs to the weights {data.weights_sha256[:12]}…, the bundle {bundle.spec.name} has "
            f"{expected[:12]}…; make it anew with `python -m dermdistill.publish.page_data`"
        )
    return data
