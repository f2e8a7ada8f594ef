"""The students that can be had by name, what they cost, and the budget they must fit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from dermdistill.errors import InputError
from dermdistill.networks.cost import Count, count
from dermdistill.networks.dsnet import DSNet
from dermdistill.networks.pretrained import Weights, build_teacher, normalisation, require_known
from dermdistill.networks.repds import RepDS
from dermdistill.networks.trunk import cut

BUDGET = 270_000
"""Parameters that a student may have at inference, BatchNorm folded."""

_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Spec:
    """A student's name, what it expects, and where it comes from."""

    name: str
    image_size: int
    """Default side in pixels."""
    mean: tuple[float, ...]
    """Per RGB channel of images in [0, 1]."""
    std: tuple[float, ...]
    description: str


_SPECS = {
    "dsnet": Spec("dsnet", 224, _HALF, _HALF, "DSNet of Khan et al. 2022"),
    "repds": Spec("repds", 128, _HALF, _HALF, "depthwise-separable net, from scratch"),
    "lite0_cut": Spec("lite0_cut", 128, _HALF, _HALF, "EfficientNet-Lite0, ended in its fourth stage"),
}
_LITE0_CUT_BLOCKS = 7  # stages of 1, 2 and 2 blocks, and two of the fourth
_LITE0_CUT_HEAD = 192


def names() -> list[str]:
    """The students of our own; 'timm:<model>' and 'timm:<model>@cut' are any timm model, whole or cut."""
    return list(_SPECS)


def spec(name: str) -> Spec:
    """The facts of a student.

    Raises:
        InputError: no such student.
    """
    if name in _SPECS:
        return _SPECS[name]
    if not name.startswith("timm:"):
        known = ", ".join([*names(), "timm:<model>", "timm:<model>@cut"])
        raise InputError(f"no student is called '{name}'; there are {known}")
    model = name.removeprefix("timm:").removesuffix("@cut")
    require_known(model)
    mean, std = normalisation(model)
    is_cut = ", cut to the budget" if name.endswith("@cut") else ""
    return Spec(name, 128, mean, std, f"timm's {model}{is_cut}")


def build(
    name: str,
    num_classes: int,
    *,
    image_size: int | None = None,
    weights: Weights = "none",
    weights_file: str | Path | None = None,
) -> nn.Module:
    """Build a student.

    Args:
        name: see `names`.
        num_classes: outputs.
        image_size: side of the input, by default the student's own; DSNet's dense layer and vision
            transformers depend on it.
        weights: ImageNet weights for pretrained trunks and timm models; students from scratch have none and
            take no notice.
        weights_file: for weights='file'.

    Returns:
        The student. Its forward takes normalised float32 [N, 3, S, S] and gives logits [N, num_classes].
    """
    size = image_size or spec(name).image_size
    builders: dict[str, Callable[[], nn.Module]] = {
        "dsnet": lambda: DSNet(num_classes, size),
        "repds": lambda: RepDS(num_classes),
        "lite0_cut": lambda: cut(
            "tf_efficientnet_lite0", num_classes, blocks=_LITE0_CUT_BLOCKS, head=_LITE0_CUT_HEAD,
            image_size=size, weights=weights, weights_file=weights_file,
        ),
    }  # fmt: skip
    if name in builders:
        return builders[name]()
    model = name.removeprefix("timm:").removesuffix("@cut")
    make = cut if name.endswith("@cut") else build_teacher
    return make(model, num_classes, image_size=size, weights=weights, weights_file=weights_file)


def check_budget(parameters: int, limit: int = BUDGET) -> None:
    """Refuse a student over the budget.

    Raises:
        InputError: more parameters than the limit.
    """
    if parameters > limit:
        raise InputError(
            f"the student has {parameters:,} parameters at inference, the budget is {limit:,}; choose a "
            "smaller one, cut it ('timm:<model>@cut'), or set allow_over_budget = true"
        )


@torch.no_grad()
def table() -> list[tuple[Spec, Count]]:
    """Each student of our own with its cost at its default size: seven classes, DSNet two as published."""
    rows = []
    for name in names():
        known = spec(name)
        model = build(name, 2 if name == "dsnet" else 7, weights="none")
        rows.append((known, count(model, known.image_size)))
    return rows
