"""What the evidence rests on."""

from typing import Annotated

from pydantic import Field

from dermdistill.specs import Strict

ENSEMBLE = "ensemble"
"""The name in reports of several teachers' averaged probabilities."""
DERMATOLOGIST = "dermatologist"
"""The operating point at the sensitivity of human readers."""


class Readers(Strict):
    """What people reached, as a publication tells it: a point to look at, on other images than ours."""

    sensitivity: float = Field(0.866, gt=0, lt=1)
    """Share of melanomas that they found."""
    specificity: float = Field(0.713, gt=0, lt=1)
    """Share of other lesions that they let go."""
    source: str = "58 dermatologists on dermoscopic images alone (Haenssle et al., Ann Oncol 29 (2018) 1836-1842)"
    """Who, on what, and where it is published."""


class EvaluateSpec(Strict):
    """The evidence."""

    replicates: int = Field(2000, ge=100)
    """Bootstrap replicates."""
    seed: int = Field(0, ge=0)
    """Decides the replicates."""
    baseline: str | None = None
    """The model that the others are compared with; by default the teacher, or the ensemble of several."""
    margin: float | None = Field(None, gt=0, lt=0.5, exclude_if=lambda value: value is None)
    """How much lower an AUROC may be than the baseline's and still count as not inferior. Fix it before you look at a
    test; without it nothing is said of non-inferiority."""
    prevalence: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((), exclude_if=lambda value: not value)
    """Shares of melanomas, each between 0 and 1, that predictive values are also told for."""
    readers: Readers = Field(Readers(), exclude_if=lambda value: value == Readers())
    """Human readers, whose sensitivity is one of the operating points."""
    subgroups: tuple[str, ...] = Field((), exclude_if=lambda value: not value)
    """Further columns of the table whose values make subgroups."""
