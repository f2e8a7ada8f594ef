"""A teacher that cannot drift: no gradients, and BatchNorm statistics that no `train()` call unlocks."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional


class FrozenTeacher(nn.Module):
    """A finished teacher behind its own preprocessing.

    Args:
        model: takes normalised float32 [N, 3, S, S], gives logits [N, C].
        mean: per RGB channel, of images in [0, 1].
        std: per RGB channel.
        image_size: S in pixels.

    Attributes:
        arithmetic: a context in which the network computes, such as Fabric's `autocast`; by default none.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float], image_size: int):
        super().__init__()
        self.model = model.requires_grad_(False)
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, 3, 1, 1))
        self.arithmetic: Callable[[], AbstractContextManager] = nullcontext
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of RGB images [N, 3, H, W] in [0, 1], which are resized to the teacher's size."""
        side = (self.image_size, self.image_size)
        if images.shape[-2:] != side:
            images = functional.interpolate(images, side, mode="bilinear", antialias=True)
        self.model.eval()  # even if somebody unlocked the inner model directly
        with self.arithmetic():
            return self.model((images - self.mean) / self.std)
