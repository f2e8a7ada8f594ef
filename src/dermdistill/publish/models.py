"""The models that ship with the package: what they are, and what is known of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import Field

from dermdistill.evaluate.analyses.external import read_external, scored
from dermdistill.files import sha256_file
from dermdistill.predict.bundle import shipped_bundles
from dermdistill.predict.header import GRAPH, read_header
from dermdistill.specs import Strict, load_header

if TYPE_CHECKING:
    from dermdistill.evaluate.intervals import Figure

FIGURES: Final = "figures.json"
"""Beside a bundle's files: what its recipe's report says of it."""
_PACKAGE = Path(__file__).resolve().parents[1]


class Area(Strict):
    """An AUROC with its 95 % interval."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, figure: "Figure") -> Self | None:
        """That of a report; None where it is undefined."""
        return None if figure.value is None else cls(value=figure.value, low=figure.low, high=figure.high)


class OutOfFold(Strict):
    """figures.json: a bundle's figures on images that the judging networks of its recipe never saw."""

    format: Literal["dermdistill-figures/1"] = "dermdistill-figures/1"
    model_onnx_sha256: str
    """Of the graph that they belong to."""
    recipe: str
    """The folder of results/ that they come from."""
    images: int
    melanomas: int
    auroc: Area
    within: Area | None
    """Within collections; None if there is one collection."""
    metrics: dict[str, Area] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """The report's other metrics, by their names there; nothing in older files."""
    points: dict[str, dict[str, Area]] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """Sensitivity, specificity, ppv and npv by operating point; nothing in older files."""


class External(Strict):
    """The AUROC on an external test set."""

    images: int
    melanomas: int
    auroc: Area


class ShippedModel(Strict):
    """A line of `dermdistill models`."""

    name: str
    default: bool
    """Whether it is used where no model is named."""
    folder: str
    parameters: int
    macs: int
    """Multiply-accumulates for one image."""
    bytes: int
    """Of the graph."""
    licence: str
    """Of the weights."""
    out_of_fold: OutOfFold | None
    """None where the figures are not of this graph."""
    external: dict[str, External]
    """By test set; empty where the graph is not yet scored."""


def external_path() -> Path:
    """The external tests inside the installed package, or those of the checkout which the package runs from."""
    installed = _PACKAGE / "external.json"
    return installed if installed.exists() else _PACKAGE.parents[1] / "results" / "external" / "external.json"


def out_of_fold(bundle: Path) -> OutOfFold | None:
    """The figures beside a bundle, if they are of its graph.

    Raises:
        IntegrityError: they do not fit their format.
    """
    if not (bundle / FIGURES).is_file():
        return None
    found = load_header(bundle / FIGURES, OutOfFold)
    return found if found.model_onnx_sha256 == sha256_file(bundle / GRAPH) else None


def shipped_models() -> list[ShippedModel]:
    """All bundles that ship, the default one first."""
    external = read_external(external_path()) if external_path().exists() else None
    made: list[ShippedModel] = []
    for name, folder in shipped_bundles().items():
        header = read_header(folder)
        known = scored(external, sha256_file(folder / GRAPH)) if external else None
        tests: dict[str, Any] = {
            test.name: {"images": test.images, "melanomas": test.melanomas,
                        "auroc": {"value": test.auroc, "low": test.low, "high": test.high}}
            for test in (known.tests if known else ())
        }  # fmt: skip
        row = ShippedModel(
            name=name, default=not made, folder=str(folder), parameters=header.model.parameters,
            macs=header.model.macs, bytes=(folder / GRAPH).stat().st_size, licence=header.licence.weights,
            out_of_fold=out_of_fold(folder),
            external={test: External.model_validate(figures) for test, figures in tests.items()},
        )  # fmt: skip
        made.append(row)
    return made
