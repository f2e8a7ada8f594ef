"""report.json as a model: every section, typed."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from dermdistill.evaluate.analyses.benign import Benign
from dermdistill.evaluate.analyses.calibration import Calibration
from dermdistill.evaluate.analyses.data import Bootstrap, Data
from dermdistill.evaluate.analyses.decision import Decision
from dermdistill.evaluate.analyses.external import ExternalTests
from dermdistill.evaluate.analyses.groups import Groups
from dermdistill.evaluate.analyses.headline import Model
from dermdistill.evaluate.analyses.opened import Opened
from dermdistill.evaluate.analyses.operating import Operating
from dermdistill.evaluate.analyses.overlap import Overlap
from dermdistill.evaluate.analyses.paired import Paired
from dermdistill.evaluate.analyses.robustness import Robustness
from dermdistill.evaluate.analyses.seeds import Seeds
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
    operating: Operating | None = None
    """Predictive values at other prevalences, and human readers. This and what follows is not in older reports."""
    paired: Paired | None = None
    """Tests against the baseline; None if there is one model."""
    calibration: Calibration | None = None
    groups: Groups | None = None
    """None if the images fall into no groups."""
    benign: Benign | None = None
    """None where the diagnoses of the other lesions are not known."""
    decision: Decision | None = None
    """What acting on each model is worth. This and what follows is not in older reports."""
    external: ExternalTests | None = None
    """Of models whose graph is known."""
    overlap: dict[str, Overlap] = Field(default_factory=dict)
    """What each model's training images share with the judged ones."""
    opened: Opened | None = None
    """How often the judged images were looked at; None where they are not declared a test."""


def load_report(path: str | Path) -> Report:
    """Read a report.json of this or an earlier version.

    Raises:
        InputError: no such file.
        IntegrityError: it is no report, or does not fit its format.
    """
    return load_header(path, Report)
