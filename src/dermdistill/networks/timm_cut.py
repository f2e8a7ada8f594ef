"""`lite0_cut` in timm's own terms, so that timm can load its weights without this package's modules.

Importing this module makes `efficientnet_lite0_cut` known to timm. It is timm's EfficientNet class with the first four
stages of EfficientNet-Lite0, the fourth of two blocks, and a head of 192 channels.
"""

from functools import partial
from typing import Any, Final

import torch
from timm.models import build_model_with_cfg, register_model
from timm.models.efficientnet import EfficientNet, decode_arch_def
from torch import Tensor, nn

NAME: Final = "efficientnet_lite0_cut"
STAGES: Final = ("ds_r1_k3_s1_e1_c16", "ir_r2_k3_s2_e6_c24", "ir_r2_k5_s2_e6_c40", "ir_r2_k3_s2_e6_c80")
HEAD: Final = 192
"""Channels of the head."""
_BLOCKS = (1, 2, 2, 2)
_EPSILON = 1e-3
"""Of every BatchNorm here."""
_EPSILON_OF_HEAD = 1e-5
"""Of the head's BatchNorm in `dermdistill.networks.trunk`."""


@register_model
def efficientnet_lite0_cut(pretrained: bool = False, **options: Any) -> nn.Module:
    """EfficientNet-Lite0, ended in its fourth stage; takes normalised float32 [N, 3, S, S].

    Args:
        pretrained: load the weights of the folder or repository that `timm.create_model` was given.
        options: those of timm's EfficientNet.
    """
    whole = {
        "block_args": decode_arch_def([[stage] for stage in STAGES]), "num_features": HEAD, "stem_size": 32,
        "fix_stem": True, "act_layer": nn.ReLU6, "norm_layer": partial(nn.BatchNorm2d, eps=_EPSILON),
        "pad_type": "same", **options,
    }  # fmt: skip
    model: nn.Module = build_model_with_cfg(EfficientNet, NAME, pretrained, **whole)
    return model


def to_timm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `lite0_cut` under timm's names.

    The head's BatchNorm has another epsilon there; its weight makes up for it, so that the outputs stay.

    Args:
        tensors: the state of `dermdistill.networks.trunk.Trunk`.
    """
    renamed = {_timm_name(name): tensor for name, tensor in tensors.items()}
    variance = renamed["bn2.running_var"].double()
    gain = torch.sqrt((variance + _EPSILON) / (variance + _EPSILON_OF_HEAD))
    renamed["bn2.weight"] = (renamed["bn2.weight"].double() * gain).float()
    return {name: tensor.contiguous() for name, tensor in renamed.items()}


def _timm_name(name: str) -> str:
    beginnings = {
        "stem.0.": "conv_stem.", "stem.1.": "bn1.", "head.0.": "conv_head.", "head.1.": "bn2.",
        "classifier.1.": "classifier.",
    }  # fmt: skip
    number = 0
    for stage, count in enumerate(_BLOCKS):
        for block in range(count):
            beginnings[f"blocks.{number}."] = f"blocks.{stage}.{block}."
            number += 1
    return next(new + name.removeprefix(old) for old, new in beginnings.items() if name.startswith(old))
