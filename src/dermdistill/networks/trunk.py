"""A pretrained trunk cut to the budget: a timm model ended after some block, with a small head."""

from collections.abc import Iterator
from itertools import count as numbers
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from dermdistill.errors import InputError
from dermdistill.networks.cost import count
from dermdistill.networks.packages import Weights
from dermdistill.networks.pretrained import build_teacher, size_options


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
        self,
        stem: nn.Module,
        blocks: list[nn.Module],
        width: int,
        head: int,
        num_classes: int,
        drop_rate: float = 0.1,
    ):
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        convolution = nn.Conv2d(width, head, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        self.head = nn.Sequential(convolution, nn.BatchNorm2d(head), nn.ReLU6())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Dropout(drop_rate), nn.Linear(head, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of normalised images [N, 3, S, S]."""
        return self.classifier(self.pool(self.head(self.blocks(self.stem(images)))))


class FeatureMap(nn.Module):
    """The one feature map of a timm `features_only` network."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        self.channels = int(net.feature_info.channels()[-1])  # type: ignore[operator, union-attr]

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, channels, S', S'] of normalised images [N, 3, S, S]."""
        return self.net(images)[-1]


Beginning = tuple[nn.Module, list[nn.Module]]
"""The stem and the blocks that are kept."""


def cut(
    name: str,
    num_classes: int,
    *,
    blocks: int | None = None,
    head: int = 192,
    budget: int = 270_000,
    image_size: int = 128,
    weights: Weights = "package",
    weights_file: str | Path | None = None,
) -> Trunk:
    """End a timm model early and put a small head on it.

    Models of the EfficientNet and MobileNet families can end after each of their blocks, the others after
    each of the feature maps that timm's `features_only` knows.

    Args:
        name: a timm model.
        num_classes: outputs.
        blocks: how many blocks (or feature maps) to keep; by default as many as fit with their head.
        head: channels of the 1x1 head.
        budget: parameters after BatchNorm is folded, for blocks=None.
        image_size: side of the input, for models that are bound to one.
        weights: as in `build_teacher`.
        weights_file: for weights='file', the weights of the whole model.

    Raises:
        InputError: the model cannot be cut, or nothing of it fits.
    """
    whole = build_teacher(name, 1000, weights=weights, weights_file=weights_file, image_size=image_size)
    if all(hasattr(whole, part) for part in ("conv_stem", "bn1", "blocks")):
        beginnings = _after_each_block(whole)
    else:
        beginnings = _after_each_map(whole, name, image_size)
    if blocks is None:
        stem, kept = _longest(beginnings, name, head, num_classes, budget, image_size)
    else:
        every = list(beginnings)
        if not 1 <= blocks <= len(every):
            raise InputError(f"'{name}' has {len(every)} blocks, cannot keep {blocks}")
        stem, kept = every[blocks - 1]
    return Trunk(stem, kept, _width(stem, kept, name, image_size), head, num_classes)


def _longest(
    beginnings: Iterator[Beginning], name: str, head: int, num_classes: int, budget: int, image_size: int
) -> Beginning:
    best = None
    for stem, kept in beginnings:
        width = _width(stem, kept, name, image_size)
        with torch.random.fork_rng(devices=[]):  # trials of the head do not move the caller's random state
            trunk = Trunk(stem, kept, width, head, num_classes)
        if count(trunk, image_size).parameters > budget:
            break
        best = stem, kept
    if best is None:
        raise InputError(
            f"not even the first block of '{name}' with a head of {head} channels fits {budget:,} parameters"
        )
    return best


def _after_each_block(whole: nn.Module) -> Iterator[Beginning]:
    parts = (getattr(whole, name, None) for name in ("conv_stem", "bn1", "act1"))
    stem = nn.Sequential(*(part for part in parts if isinstance(part, nn.Module)))
    blocks: list[nn.Module] = []
    assert isinstance(whole.blocks, nn.Module)
    for stage in whole.blocks.children():
        for block in stage if isinstance(stage, nn.Sequential) else [stage]:
            blocks.append(block)
            yield stem, list(blocks)


def _after_each_map(whole: nn.Module, name: str, image_size: int) -> Iterator[Beginning]:
    """The model up to each of timm's feature maps, with the tensors of `whole`."""
    options = {"features_only": True, **size_options(name, image_size)}
    # timm's feature networks flatten the names of some modules, 'layer1.0' to 'layer1_0'
    tensors = {key.replace(".", "_"): tensor for key, tensor in whole.state_dict().items()}
    for index in numbers():
        try:
            net = timm.create_model(name, out_indices=(index,), **options)
        except Exception as error:  # what timm raises for a map that is not there differs between families
            if index == 0:
                raise InputError(f"'{name}' cannot be cut: timm has no feature maps of it ({error})") from error
            return
        renamed = {key: tensors.get(key.removeprefix("model.").replace(".", "_")) for key in net.state_dict()}
        foreign = [key for key, tensor in renamed.items() if tensor is None]
        if foreign:
            raise InputError(f"'{name}' cannot be cut: its feature maps have their own tensor {foreign[0]}")
        net.load_state_dict(renamed)
        yield FeatureMap(net), []


@torch.no_grad()
def _width(stem: nn.Module, blocks: list[nn.Module], name: str, image_size: int) -> int:
    """Channels after the last block, seen in a trial run that leaves the modules as they are."""
    trunk = nn.Sequential(stem, *blocks)
    modes = {module: module.training for module in trunk.modules()}
    features = trunk.eval()(torch.zeros(1, 3, image_size, image_size))
    for module, mode in modes.items():
        module.training = mode
    width = stem.channels if isinstance(stem, FeatureMap) else features.shape[1]
    if features.ndim != 4 or features.shape[1] != width:
        shape = tuple(features.shape)
        raise InputError(f"'{name}' cannot be cut: its features are {shape}, expected [N, {width}, S, S]")
    return int(width)
