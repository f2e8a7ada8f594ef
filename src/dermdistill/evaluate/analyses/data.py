"""What the figures are of: images, lesions, sources, and how intervals are drawn."""

from typing import Literal

from pydantic import Field

from dermdistill.evaluate.comparison import Comparison
from dermdistill.specs import Strict


class Data(Strict):
    """The judged images."""

    manifest_sha256: str
    role: str
    n: int
    positives: int
    clusters: int
    """Lesions."""
    sources: dict[str, int]
    diagnoses: dict[str, int]
    synthetic: bool
    left_out: dict[str, int] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """By model, how many more images it predicted than all of them did; where the models were not cut to common images,
    nothing."""


class Bootstrap(Strict):
    """How the intervals were drawn."""

    kind: Literal["lesion-clustered percentile"] = "lesion-clustered percentile"
    replicates: int
    seed: int
    level: float = 0.95


def describe(comparison: Comparison) -> Data:
    """Count the judged images."""
    table = comparison.table
    return Data(
        manifest_sha256=comparison.manifest_sha256,
        role=comparison.role,
        n=len(table),
        positives=int(table["melanoma"].sum()),
        clusters=int(comparison.cluster.max()) + 1,
        sources={name: int(count) for name, count in table["source"].value_counts().items()},
        diagnoses={name: int(count) for name, count in table["diagnosis"].value_counts().items()},
        synthetic=bool((table["source"] == "synthetic").any()),
        left_out={name: model.left_out for name, model in comparison.models.items() if model.left_out},
    )
