"""report.json as a model: every section, typed."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from dermdistill.evaluate.analyses.corruptions import Corrupted
from dermdistill.evaluate.analyses.data import Bootstrap, Data
from dermdistill.evaluate.analyses.explanations import Explanations
from dermdistill.evaluate.analyses.headline import Model
from dermdistill.evaluate.analyses.robustness import Robustness
from dermdistill.evaluate.analyses.seeds import Seeds
from dermdistill.evaluate.analyses.selective import Selective
from dermdistill.evaluate.analyses.sources import Source, Within
from dermdistill.evaluate.analyses.unseen import Unseen
from dermdistill.evaluate.intervals import Difference
from dermdistill.specs import Strict, load_header


class Report(Strict):
    """The contents of report.json. Sections with a default are not in the oldest reports."""

    format: Literal["dermdistill-report/1"] = "dermdistill-report/1"
    dermdistill: str
    """The version that made it."""
    disclaimer: str
    data: Data
    chosen_on: str = "validation"
    """Images that temperature and thresholds were chosen on: 'validation', or 'cross-fitted'."""
    bootstrap: Bootstrap
    baseline: str
    """The model that the others are compared with."""
    models: dict[str, Model]
    differences: dict[str, dict[str, Difference]]
    """By model and metric; the baseline is left out."""
    over_seeds: dict[str, Seeds] = Field(default_factory=dict)
    """By the first model of each recipe that was trained with several seeds."""
    by_source: dict[str, Source] = Field(default_factory=dict)
    """Nothing if there is one source."""
    within: Within | None = None
    """None if there is one collection."""
    unseen: dict[str, Unseen] = Field(default_factory=dict)
    """By model that was trained without each source in turn, if its cross-validation is there too."""
    robustness: dict[str, Robustness] = Field(default_factory=dict)
    """By bundle, where the images were at hand."""
    corruptions: dict[str, Corrupted] = Field(default_factory=dict)
    """By bundle, where the images were at hand."""
    selective: dict[str, Selective] = Field(default_factory=dict)
    """By model that has the operating point."""
    explanations: dict[str, Explanations] = Field(default_factory=dict)
    """By bundle, where the images were at hand."""


def load_report(path: str | Path) -> Report:
    """Read a report.json of this or an earlier version.

    Raises:
        InputError: no such file.
        IntegrityError: it is no report, or does not fit its format.
    """
    return load_header(path, Report)
