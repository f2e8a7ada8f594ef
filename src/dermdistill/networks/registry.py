"""The networks that can be had by name, and the budget that a student must fit. Importing it needs no torch.

A network of our own is an entry of `ENTRIES`: its facts, and a function that builds it. Beside these stand all timm
models. A teacher's recipe names a timm model by its own name; a student's by 'timm:<model>', or 'timm:<model>@cut' for
one that is cut to the budget. Networks of our own may both teach and learn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from dermdistill.errors import InputError, no_such
from dermdistill.networks.packages import Weights

if TYPE_CHECKING:
    from torch import nn

    from dermdistill.networks.cost import Count

BUDGET = 270_000
"""Parameters that a student may have at inference, BatchNorm folded."""

Stage = Literal["teacher", "student"]
Values = tuple[float, ...]
_HALF = (0.5, 0.5, 0.5)
_CUT = "@cut"
_TIMM = "timm:"


@dataclass(frozen=True)
class Wanted:
    """How a network is to be built."""

    num_classes: int
    image_size: int
    """Side of the input in pixels; DSNet's dense layer and vision transformers depend on it."""
    weights: Weights = "none"
    """ImageNet weights for pretrained trunks and timm models; networks from scratch take no notice."""
    weights_file: str | Path | None = None
    drop_rate: float | None = None
    """Dropout before the classifier, 0 to 1; by default the network's own."""
    drop_path_rate: float = 0.0
    """Stochastic depth, 0 to 1, which networks of our own do not have."""


@dataclass(frozen=True)
class Entry:
    """A network: its name, what it expects, and where it comes from."""

    name: str
    image_size: int
    """Default side in pixels."""
    mean: Values
    """Per RGB channel of images in [0, 1]."""
    std: Values
    description: str
    build: "Callable[[Wanted], nn.Module]"
    pretrained: str | None = None
    """The timm model whose ImageNet weights it takes."""


class Network(NamedTuple):
    """A network, and the normalisation that it expects, per RGB channel of images in [0, 1]."""

    module: "nn.Module"
    """Takes normalised float32 [N, 3, S, S], gives logits [N, C]."""
    mean: Values
    std: Values


def _dsnet(wanted: Wanted) -> "nn.Module":
    from dermdistill.networks.dsnet import DSNet

    return DSNet(wanted.num_classes, wanted.image_size)


def _repds(wanted: Wanted) -> "nn.Module":
    from dermdistill.networks.repds import RepDS

    return RepDS(wanted.num_classes)


def _lite0_cut(wanted: Wanted) -> "nn.Module":
    """Stages of 1, 2 and 2 blocks, and two blocks of the fourth."""
    return _cut("tf_efficientnet_lite0", wanted, blocks=7, head=192)


def _cut(model: str, wanted: Wanted, blocks: int | None = None, head: int = 192) -> "nn.Module":
    from dermdistill.networks.trunk import cut

    return cut(
        model, wanted.num_classes, blocks=blocks, head=head, budget=BUDGET, image_size=wanted.image_size,
        weights=wanted.weights, weights_file=wanted.weights_file,
    )  # fmt: skip


def _whole(model: str, wanted: Wanted) -> "nn.Module":
    from dermdistill.networks.pretrained import build_teacher

    return build_teacher(
        model, wanted.num_classes, weights=wanted.weights, weights_file=wanted.weights_file,
        drop_rate=wanted.drop_rate or 0.0, drop_path_rate=wanted.drop_path_rate, image_size=wanted.image_size,
    )  # fmt: skip


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("dsnet", 224, _HALF, _HALF, "DSNet of Khan et al. 2022", _dsnet),
        Entry("repds", 128, _HALF, _HALF, "depthwise-separable net, from scratch", _repds),
        Entry(
            "lite0_cut", 128, _HALF, _HALF, "EfficientNet-Lite0, ended in its fourth stage", _lite0_cut,
            pretrained="tf_efficientnet_lite0",
        ),
    )
}  # fmt: skip
"""The networks of our own; a further one needs nothing but its entry here."""


def names() -> list[str]:
    """The networks of our own; 'timm:<model>' and 'timm:<model>@cut' are any timm model, whole or cut."""
    return list(ENTRIES)


def pretrained(name: str) -> str | None:
    """The timm model whose ImageNet weights a teacher or student takes; None for a network from scratch."""
    if name in ENTRIES:
        return ENTRIES[name].pretrained
    return name.removeprefix(_TIMM).removesuffix(_CUT)


def spec(name: str) -> Entry:
    """The facts of a student.

    Raises:
        InputError: no such student.
    """
    if name in ENTRIES:
        return ENTRIES[name]
    if not name.startswith(_TIMM):
        raise no_such("student", name, [*names(), f"{_TIMM}<model>", f"{_TIMM}<model>{_CUT}"])
    from dermdistill.networks.pretrained import normalisation, require_known

    model, is_cut = name.removeprefix(_TIMM).removesuffix(_CUT), name.endswith(_CUT)
    require_known(model)
    mean, std = normalisation(model)

    def make(wanted: Wanted) -> "nn.Module":
        return _cut(model, wanted) if is_cut else _whole(model, wanted)

    return Entry(
        name, 128, mean, std, f"timm's {model}{', cut to the budget' if is_cut else ''}", make, pretrained=model
    )


def network(stage: Stage, name: str, wanted: Wanted) -> Network:
    """Build the network that a teacher's or student's recipe or header names.

    A small network among larger teachers errs in other places than they do, and costs little: what the ensemble knows
    goes into the next small network (born-again networks, Furlanello et al., ICML 2018).

    Args:
        stage: whose name it is.
        name: a network of our own; or for a teacher a timm model, for a student 'timm:<model>' or 'timm:<model>@cut'.
        wanted: classes, size, weights, dropout.

    Raises:
        InputError: an unknown name, weights that cannot be had, or stochastic depth of a network of our own.
    """
    if stage == "teacher" and name not in ENTRIES:
        from dermdistill.networks.pretrained import normalisation

        module = _whole(name, wanted)
        return Network(module, *normalisation(module))
    entry = spec(name)
    if wanted.drop_path_rate and name in ENTRIES:
        raise InputError(f"'{name}' has no stochastic depth: set drop_path_rate = 0, got {wanted.drop_path_rate}")
    module = entry.build(wanted)
    if wanted.drop_rate is not None:
        _set_dropout(module, wanted.drop_rate)
    return Network(module, entry.mean, entry.std)


def _set_dropout(model: "nn.Module", rate: float) -> None:
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate


def build(
    name: str,
    num_classes: int,
    *,
    image_size: int | None = None,
    weights: Weights = "none",
    weights_file: str | Path | None = None,
) -> "nn.Module":
    """Build a student.

    Args:
        name: see `names`.
        num_classes: outputs.
        image_size: side of the input, by default the student's own.
        weights: ImageNet weights for pretrained trunks and timm models.
        weights_file: for weights='file'.

    Returns:
        The student. Its forward takes normalised float32 [N, 3, S, S] and gives logits [N, num_classes].
    """
    wanted = Wanted(num_classes, image_size or spec(name).image_size, weights, weights_file)
    return network("student", name, wanted).module


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


def table() -> "list[tuple[Entry, Count]]":
    """Each student of our own with its cost at its default size: seven classes, DSNet two as published."""
    from dermdistill.networks.cost import count

    return [
        (entry, count(build(name, 2 if name == "dsnet" else 7), entry.image_size)) for name, entry in ENTRIES.items()
    ]
