"""A pretrained trunk cut to the budget: a timm model ended after some block, with a small head."""

from pathlib import Path

import torch
from torch import Tensor, nn

from dermdistill.errors import InputError
from dermdistill.teacher.build import Weights, build_teacher


class Trunk(nn.Module):
    """Stem and first blocks of a larger network, a 1x1 head, average pooling, dense.

    Args:
        stem: everything before the blocks.
        blocks: the blocks that are kept.
        width: channels after the last block.
        head: channels of the 1x1 head.
        num_classes: outputs.
        drop_rate: dropout before the dense layer.
    """

    def __init__(
        self, stem: nn.Module, blocks: list[nn.Module], width: int, head: int, num_classes: int, drop_rate: float = 0.1
    ):
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Conv2d(width, head, 1, bias=False), nn.BatchNorm2d(head), nn.ReLU6())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Dropout(drop_rate), nn.Linear(head, num_classes))
        nn.init.kaiming_normal_(self.head[0].weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of normalised images [N, 3, S, S]."""
        return self.classifier(self.pool(self.head(self.blocks(self.stem(images)))))


def cut(
    name: str,
    num_classes: int,
    *,
    blocks: int | None = None,
    head: int = 192,
    budget: int = 270_000,
    weights: Weights = "package",
    weights_file: str | Path | None = None,
) -> Trunk:
    """End a timm model of the EfficientNet/MobileNet families after a block.

    Args:
        name: a timm model that has a stem and `blocks`.
        num_classes: outputs.
        blocks: how many blocks to keep; by default as many as fit the budget with their head.
        head: channels of the 1x1 head.
        budget: parameters after BatchNorm is folded, for blocks=None.
        weights: as in `build_teacher`.
        weights_file: for weights='file', the weights of the whole model.

    Raises:
        InputError: the model has no blocks, or none fits.
    """
    whole = build_teacher(name, 1000, weights=weights, weights_file=weights_file)
    if not hasattr(whole, "blocks") or not hasattr(whole, "conv_stem"):
        raise InputError(
            f"'{name}' cannot be cut: it has no conv_stem and blocks, as timm's EfficientNet and MobileNet families do"
        )
    stem = nn.Sequential(whole.conv_stem, whole.bn1)
    if isinstance(getattr(whole, "act1", None), nn.Module):
        stem.append(whole.act1)
    every = [block for stage in whole.blocks for block in stage]
    if blocks is not None and not 1 <= blocks <= len(every):
        raise InputError(f"'{name}' has {len(every)} blocks, cannot keep {blocks}")
    kept = blocks or _fitting(stem, every, head, num_classes, budget, name)
    return Trunk(stem, every[:kept], _width(stem, every[:kept]), head, num_classes)


def _fitting(
    stem: nn.Module, every: list[nn.Module], head: int, num_classes: int, budget: int, name: str
) -> int:  # fmt: skip
    from dermdistill.student.registry import count

    for kept in range(len(every), 0, -1):
        trunk = Trunk(stem, every[:kept], _width(stem, every[:kept]), head, num_classes)
        if count(trunk, 64).parameters <= budget:
            return kept
    raise InputError(f"not even the first block of '{name}' with a head of {head} channels fits {budget:,} parameters")


@torch.no_grad()
def _width(stem: nn.Module, blocks: list[nn.Module]) -> int:
    trunk = nn.Sequential(stem, *blocks)
    modes = {module: module.training for module in trunk.modules()}
    width = trunk.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
    for module, mode in modes.items():
        module.training = mode
    return int(width)
