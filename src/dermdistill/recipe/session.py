"""What the stages of one call share: the processes, the log, and the data once they are there."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import lightning_fabric as lightning
import pandas as pd

from dermdistill.data.manifest import read_manifest
from dermdistill.data.splits import Splits, read_splits
from dermdistill.distillation.share import Share
from dermdistill.recipe.parts import parts
from dermdistill.recipe.work import Work
from dermdistill.training.cohort import Cohort


@dataclass
class Session:
    """One call of `dermdistill run` or of the command of a single stage."""

    work: Work
    fabric: lightning.Fabric
    """Launched already."""
    tell: Callable[[str], None] = print
    """Says a line."""
    share: Share | None = None
    """Of each bank, what this call computes; by default all."""

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """All images; the data stage must be done."""
        return read_manifest(self.work.manifest)

    @cached_property
    def splits(self) -> Splits:
        """The frozen folds; the split stage must be done.

        Raises:
            IntegrityError: they belong to another manifest.
        """
        return read_splits(self.work.splits, self.manifest)

    @cached_property
    def _cohorts(self) -> dict[str, Cohort]:
        split = self.work.recipe.split
        return {
            part.name: Cohort(
                self.manifest, self.splits, part.roles, self.fabric, self.work.cache, self.work.of(part.name).split
            )
            for part in parts(split, self.manifest, self.splits)
        }

    @property
    def parts(self) -> list[Work]:
        """Each part of the recipe."""
        return [self.work.of(name) for name in self._cohorts]

    def cohort(self, work: Work) -> Cohort:
        """The images of the part that `work` means."""
        return self._cohorts[work.part]
