"""The images of a training: which train, validate and test, where they come from, and where they are decoded."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning_fabric as lightning
import pandas as pd
import torch

from dermdistill.data.splits import Splits
from dermdistill.errors import InputError
from dermdistill.training.task import ImageSet, image_sets, matching_hash

_SHARE = 0.25
"""Of the free memory of a GPU, what training images may take at most."""


@dataclass(frozen=True)
class Cohort:
    """All images, and the role that each has in the trainings of one part of a recipe."""

    manifest: pd.DataFrame
    splits: Splits
    """The frozen folds that `roles` comes from."""
    roles: dict[str, list[str]]
    """Image ids of 'train', 'validation' and 'test'."""
    fabric: lightning.Fabric
    """Launched already."""
    cache: Path | None = None
    """Folder of decoded images, by default the user's."""
    split: dict[str, Any] | None = None
    """How `roles` comes from the splits, as runs record it; None where the caller chose the images."""

    @cached_property
    def manifest_sha256(self) -> str:
        """The manifest's hash.

        Raises:
            IntegrityError: the splits belong to another manifest.
        """
        return matching_hash(self.manifest, self.splits)

    def images(self, size: int, classes: tuple[str, ...]) -> dict[str, ImageSet]:
        """The images of each role, decoded for networks of one size.

        Args:
            size: side of the network's input in pixels.
            classes: the classes that the labels index.

        Returns:
            By role. On a GPU the training images are kept in its memory if they take a quarter of what is free at most.
        """
        sets = image_sets(self.manifest, self.roles, size, classes, self.cache)
        device = self.fabric.device
        if device.type == "cuda" and sets["train"].nbytes <= _SHARE * torch.cuda.mem_get_info(device)[0]:
            sets["train"] = sets["train"].on(device)
        return sets

    def require_melanomas(self) -> None:
        """Refuse images from which no detector can learn, before hours of training.

        Raises:
            InputError: a role that has images has no melanoma, or nothing but melanomas.
        """
        melanoma = self.manifest.set_index("image_id")["melanoma"] == 1
        for role, ids in self.roles.items():
            found = melanoma.loc[ids]
            if len(found) and (not found.any() or found.all()):
                what = "no melanoma" if not found.any() else "nothing but melanomas"
                raise InputError(
                    f"the {len(found)} images of the role '{role}' hold {what}, and a melanoma detector can neither "
                    "learn from nor be judged on them; add images of both kinds, or make fewer folds"
                )
