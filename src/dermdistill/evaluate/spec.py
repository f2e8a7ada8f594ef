"""What the evidence rests on."""

from pydantic import Field

from dermdistill.specs import Strict

ENSEMBLE = "ensemble"
"""The name in reports of several teachers' averaged probabilities."""


class EvaluateSpec(Strict):
    """The evidence."""

    replicates: int = Field(2000, ge=100)
    """Bootstrap replicates."""
    seed: int = Field(0, ge=0)
    """Decides the replicates."""
    baseline: str | None = None
    """The model that the others are compared with; by default the teacher, or the ensemble of several."""
