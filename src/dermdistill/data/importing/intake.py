"""One data set while it is imported."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dermdistill.data import sources
from dermdistill.data.importing.own import Own
from dermdistill.data.importing.survey import Survey, survey


@dataclass
class Intake:
    """One data set while it is imported."""

    folder: Path
    table_file: Path | None
    own: Own
    extracted: Path
    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def found(self) -> Survey:
        """The files, looked for when they are first needed."""
        return survey(self.own.images or self.folder)

    def has_class_folders(self) -> bool:
        """Whether folders of images are named by diagnoses, or by the labels that are said to mean melanoma."""
        names = {part for path in self.found.images for part in path.relative_to(self.found.root).parts[:-1]}
        return any(sources.diagnosis(name) or name in self.own.melanoma_labels for name in names)
