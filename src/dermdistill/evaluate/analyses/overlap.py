"""Whether a model has learned from what it is judged on."""

import numpy as np

from dermdistill.data.training_keys import TrainingKeys, shared
from dermdistill.errors import InputError
from dermdistill.evaluate.comparison import Comparison
from dermdistill.specs import Strict

EXAMPLES = 5


class Overlap(Strict):
    """What one model's training images share with the judged ones."""

    compared: tuple[str, ...]
    """Kinds that both sides know: photograph, lesion, patient, exact copy, duplicate group. Empty if the model's
    training images are not known."""
    shared: dict[str, int]
    """By kind the judged images that share it with a training image."""
    images: int
    """Judged images that share anything."""
    examples: tuple[str, ...]
    """Some of them."""

    @property
    def clean(self) -> bool:
        """Whether something was compared and nothing is shared."""
        return bool(self.compared) and not self.images


def overlap(comparison: Comparison) -> dict[str, Overlap]:
    """Compare each model's training images with the judged ones, by the model's name.

    Of a cross-validated model each image is compared with what the network that judges it has learned from.
    """
    return {name: _overlap(comparison, name) for name in comparison.models}


def refuse(found: dict[str, Overlap]) -> None:
    """Raise InputError if any model has learned from what it is judged on."""
    leaks = [
        f"{name}: {of.images} images ({', '.join(f'{kind}: {n}' for kind, n in of.shared.items() if n)}), e.g. "
        f"{', '.join(of.examples)}"
        for name, of in found.items()
        if of.images
    ]
    if leaks:
        raise InputError(
            "models have learned from what they would be judged on:\n  " + "\n  ".join(leaks) + "\nLeave these images "
            "out of the manifest or of the training, or say --allow-overlap to have the report flag them"
        )


def _overlap(comparison: Comparison, name: str) -> Overlap:
    model, table = comparison.models[name], comparison.table
    found: dict[str, np.ndarray] = {}
    part: np.ndarray = np.full(len(table), "", object)
    if "part" in model.table:
        part = model.table.set_index("image_id")["part"].loc[table["image_id"]].to_numpy(object)
    for which, trained in _by_part(model.trained_on, part).items():
        rows = np.flatnonzero(part == which)
        for kind, mask in shared(table.iloc[rows], trained).items():
            found.setdefault(kind, np.zeros(len(table), bool))[rows] |= mask
    any_kind = np.logical_or.reduce(list(found.values())) if found else np.zeros(len(table), bool)
    return Overlap(
        compared=tuple(found), shared={kind: int(mask.sum()) for kind, mask in found.items()},
        images=int(any_kind.sum()), examples=tuple(table["image_id"][any_kind].head(EXAMPLES)),
    )  # fmt: skip


def _by_part(trained_on: dict[str, TrainingKeys], part: np.ndarray) -> dict[str, TrainingKeys]:
    """What judged each part; nothing unless it is known of every part."""
    if set(trained_on) == {""}:
        return dict.fromkeys(np.unique(part.astype(str)), trained_on[""])
    return trained_on if set(trained_on) >= set(part) else {}
