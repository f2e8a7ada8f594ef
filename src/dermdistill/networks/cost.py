"""What a network costs at inference: parameters and multiply-accumulates, with BatchNorm folded away."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from timm.utils.model import reparameterize_model
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.flop_counter import FlopCounterMode

from dermdistill.errors import IntegrityError


@dataclass(frozen=True)
class Count:
    """What one image costs."""

    parameters: int
    """At inference: BatchNorm folded into the convolutions."""
    macs: int
    """Multiply-accumulates of convolutions and dense layers."""


def count(model: nn.Module, image_size: int) -> Count:
    """Count a model's parameters at inference and its MACs for one image of `image_size` px."""
    device = next(model.parameters()).device
    fused = fuse(model, image_size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        fused(torch.zeros(1, 3, image_size, image_size, device=device))
    return Count(sum(p.numel() for p in fused.parameters()), counter.get_total_flops() // 2)


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
    with torch.no_grad():
        before, after = copy.deepcopy(model).eval()(trial), fused(trial)
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-4 * max(1.0, float(before.abs().max()))):
        difference = float((before - after).abs().max())
        raise IntegrityError(f"folding BatchNorm changed the output by {difference:.2g}")
    return fused


def _trial_size(model: nn.Module, image_size: int | None) -> tuple[int, int]:
    if image_size:
        return image_size, image_size
    own = getattr(model, "image_size", None)
    if isinstance(own, int):
        return own, own
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
