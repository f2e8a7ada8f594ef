"""The students that can be had by name, what they cost, and the budget they must fit."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.utils.model import reparameterize_model
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.flop_counter import FlopCounterMode

from dermdistill.errors import InputError, IntegrityError
from dermdistill.student.dsnet import DSNet
from dermdistill.student.repds import RepDS
from dermdistill.student.trunk import cut
from dermdistill.teacher.build import Weights, build_teacher, normalisation, require_known

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


@dataclass(frozen=True)
class Count:
    """What one image costs."""

    parameters: int
    """At inference: BatchNorm folded into the convolutions."""
    macs: int
    """Multiply-accumulates of convolutions and dense layers."""


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


def count(model: nn.Module, image_size: int) -> Count:
    """Count a model's parameters at inference and its MACs for one image of `image_size` px."""
    device = next(model.parameters()).device
    fused = fuse(model, image_size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        fused(torch.zeros(1, 3, image_size, image_size, device=device))
    return Count(sum(p.numel() for p in fused.parameters()), counter.get_total_flops() // 2)


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
def fuse(model: nn.Module, image_size: int | None = None) -> nn.Module:
    """A copy in evaluation mode with each BatchNorm that directly follows a convolution folded into it.

    Parallel branches that know how to merge (by a `reparameterize` or `fuse` of their own) are merged first.
    Which BatchNorm follows which convolution is seen in a trial run, so that any model can be folded.

    Args:
        model: a student or timm model; it is left as it is.
        image_size: side of the trial's images, for models that do not take every size.

    Raises:
        IntegrityError: the fused copy does not give the same output.
    """
    fused = reparameterize_model(copy.deepcopy(model).eval())
    device = next(fused.parameters()).device
    generator = torch.Generator().manual_seed(0)  # the caller's random state stays as it is
    trial = torch.rand(2, 3, *_trial_size(model, image_size), generator=generator).to(device)
    for convolution, norm in _followed(fused, trial):
        statistics: tuple[Any, ...] = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        convolution.weight, convolution.bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)
        _replace(fused, norm, _rest_of(norm))
    before, after = copy.deepcopy(model).eval()(trial), fused(trial)
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-4 * max(1.0, float(before.abs().max()))):
        difference = float((before - after).abs().max())
        raise IntegrityError(f"folding BatchNorm changed the output by {difference:.2g}")
    return fused


def _trial_size(model: nn.Module, image_size: int | None) -> tuple[int, int]:
    if image_size:
        return image_size, image_size
    if isinstance(model, DSNet):
        return model.image_size, model.image_size
    bound = getattr(getattr(model, "patch_embed", None), "img_size", None)
    return bound or (96, 96)


def _followed(model: nn.Module, trial: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions whose output goes straight into a BatchNorm, found by watching a trial run."""
    made: dict[int, tuple[nn.Conv2d, int]] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    alive: list[torch.Tensor] = []  # keeps outputs, so that an id is not used twice

    def convolved(module: nn.Module, _: object, output: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = (module, output._version)
        alive.append(output)

    def normalised(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        convolution, version = made.get(id(inputs[0]), (None, 0))
        # another version: an activation in place stands between the two
        if convolution is not None and inputs[0]._version == version:
            pairs.append((convolution, module))

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(convolved))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(normalised))
    model(trial)
    for hook in hooks:
        hook.remove()
    return pairs


def _rest_of(norm: nn.BatchNorm2d) -> nn.Module:
    """What remains of a BatchNorm without its statistics: timm's have dropout and activation inside."""
    parts = [part for name in ("drop", "act") if isinstance(part := getattr(norm, name, None), nn.Module)]
    parts = [part for part in parts if not isinstance(part, nn.Identity)]
    return nn.Identity() if not parts else parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for module in model.modules():
        for name, child in module.named_children():
            if child is old:
                setattr(module, name, new)


def table() -> list[tuple[Spec, Count]]:
    """Each student of our own with its cost at its default size: seven classes, DSNet two as published."""
    rows = []
    for name in names():
        known = spec(name)
        model = build(name, 2 if name == "dsnet" else 7, weights="none")
        rows.append((known, count(model, known.image_size)))
    return rows
