"""External tests: official test sets that the maintainers score once a bundle ships.

results/external/external.json holds the figures, each with the SHA-256 of the ONNX graph that they belong to. They are
shown for that graph alone. They never choose between models.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dermdistill.files import read_json
from dermdistill.specs import Strict, parse


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


class ScoredModel(Strict):
    """What is known of a model's graph, in a report."""

    graph_sha256: str
    scored: ScoredBundle | None
    """None where the graph is not yet scored."""


class ExternalTests(Strict):
    """The external tests of the models whose graph is known."""

    note: str
    """How they were made."""
    models: dict[str, ScoredModel]


def external_tests(graphs: Mapping[str, str], external: External | None) -> ExternalTests | None:
    """The tests of some graphs, as they are in the file; None without the file or a graph.

    Args:
        graphs: the SHA-256 of each model's ONNX graph, by the model's name.
        external: the file.
    """
    if external is None or not graphs:
        return None
    found = {name: ScoredModel(graph_sha256=graph, scored=scored(external, graph)) for name, graph in graphs.items()}
    return ExternalTests(note=external.note, models=found)
