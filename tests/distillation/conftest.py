"""Two tiny teachers, shared by the tests of soft labels."""

import pytest
import torch
from torch import nn

from dermdistill.classes import CLASSES
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.training.task import image_sets


def _net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7)
    )


@pytest.fixture
def teachers(small):
    """(frozen teachers, headers, their training images): two nets at 32 and 40 px."""
    manifest, _, part, cache = small
    frozen, headers, images = [], [], []
    for seed, size in ((0, 32), (1, 40)):
        frozen.append(FrozenTeacher(_net(seed), (0.5,) * 3, (0.25,) * 3, size))
        headers.append({"name": f"t{seed}", "model": "net", "classes": list(CLASSES), "image_size": size,
                        "mean": [0.5] * 3, "std": [0.25] * 3, "model_sha256": f"{seed}" * 64})  # fmt: skip
        images.append(image_sets(manifest, part, size, CLASSES, cache)["train"])
    return frozen, headers, images
