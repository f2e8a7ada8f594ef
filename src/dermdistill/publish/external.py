"""External tests: official test sets that the maintainers score once a bundle ships.

results/external/external.json holds the figures, each with the SHA-256 of the ONNX graph that they belong to. They are
shown for that graph alone. They never choose between models.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dermdistill.files import read_json
from dermdistill.specs import parse

NOT_YET = "External tests: not yet scored."
HEADING = "## External tests"


class _Open(BaseModel):
    """Frozen; keys that a later file adds are ignored."""

    model_config = ConfigDict(frozen=True)


class ExternalTest(_Open):
    """The figures on one test set. Rates and areas are 0 to 1; `low` and `high` bound the AUROC's 95 % interval."""

    name: str
    images: int
    melanomas: int
    auroc: float
    low: float
    high: float
    ece: float
    sensitivity: float
    """At the bundle's default threshold, as `specificity`."""
    specificity: float
    sensitivity_at_90_specificity: float
    specificity_at_95_sensitivity: float
    times_opened: int


class ScoredBundle(_Open):
    """A bundle by the hash of its graph, and its tests."""

    name: str
    model_onnx_sha256: str
    scored_on: str
    tests: tuple[ExternalTest, ...]


class External(_Open):
    """The whole file."""

    format: Literal["external-tests/1"]
    note: str
    bundles: tuple[ScoredBundle, ...]


def read_external(path: Path) -> External:
    """Read the file of external tests.

    Raises:
        InputError: there is none, or it does not fit.
    """
    return parse(External, read_json(path), str(path))


def scored(external: External, model_sha256: str) -> ScoredBundle | None:
    """The tests of the graph with this SHA-256; None if it is not yet scored."""
    return next((bundle for bundle in external.bundles if bundle.model_onnx_sha256 == model_sha256), None)


def section(external: External, model_sha256: str) -> str:
    """The external tests of a graph for its model card, as Markdown without a heading."""
    bundle = scored(external, model_sha256)
    if bundle is None:
        return NOT_YET
    rows = [
        f"| {test.name} | {test.images:,} | {test.melanomas} | {test.auroc:.3f} [{test.low:.3f}, {test.high:.3f}] "
        f"| {test.sensitivity:.3f} | {test.specificity:.3f} | {test.ece:.3f} |"
        for test in bundle.tests
    ]
    head = "| test set | images | melanomas | AUROC | sensitivity at the default threshold | specificity there | ECE |"
    return "\n".join([
        f"Graph `{model_sha256[:16]}`, scored on {bundle.scored_on}. {external.note}", "",
        head, "|---|---|---|---|---|---|---|", *rows,
    ])  # fmt: skip
