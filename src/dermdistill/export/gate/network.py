"""The gate as a network: a small judge of what is dermoscopic, and measures of light, sharpness and frame."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dermdistill.export.formats.onnx import write_onnx
from dermdistill.predict.gate import KEY, REASONS, GateFacts

SIDE = 56
"""Pixels a side that the judge sees at most, about; larger inputs are averaged down to this, and those that are no
larger to half of their side, so that the judge costs little beside a model of this size."""
DISC = 0.45
"""Radius of the disc in the middle that light and sharpness are measured in, in sides: it leaves out dark corners."""
WIDTH = 16
"""Channels of the judge's first convolution; the later ones have twice as many."""
WHITE, BLACK = 250 / 255, 20 / 255
BELOW = ("blurred", "dark")
"""Reasons whose measure must not fall below its limit; the others must not exceed theirs."""
LUMINANCE = (0.299, 0.587, 0.114)


class Judge(nn.Module):
    """Tells dermoscopic images from others by their colours and textures: 4 convolutions, 24,529 parameters.

    Args:
        size: side of the input in pixels; it is averaged over squares of `pooled(size)` pixels first.
        width: channels of the first convolution.
    """

    def __init__(self, size: int, width: int = WIDTH):
        super().__init__()
        self.pool = pooled(size)
        wide = 2 * width
        self.features = nn.Sequential(
            *_block(3, width, 5, 2), *_block(width, wide, 3, 2), *_block(wide, wide, 3, 2), *_block(wide, wide, 3, 1)
        )
        self.last = nn.Linear(2 * wide, 1)

    def shrink(self, images: Tensor) -> Tensor:
        """Images [N, 3, S, S] as the judge sees them."""
        return functional.avg_pool2d(images, self.pool) if self.pool > 1 else images

    def forward(self, small: Tensor) -> Tensor:
        """The log-odds that images are not dermoscopic [N, 1], of what `shrink` gives, RGB in [0, 1]."""
        features = self.features(4 * small - 2)
        return self.last(torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1))


def pooled(size: int) -> int:
    """Side in pixels of the squares that an input of this side is averaged over, before the judge sees it."""
    return max(size // SIDE, 1 if size < SIDE else 2)


def _block(before: int, after: int, side: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()


class Measures(nn.Module):
    """Light, sharpness and frame of images, in the order of `REASONS` without its first, at every second pixel.

    Args:
        size: side of the images in pixels.
    """

    disc: Tensor
    filters: Tensor

    def __init__(self, size: int):
        super().__init__()
        axis = torch.arange(size)[1:-1:2] - (size - 1) / 2  # the edge has no neighbours
        disc = (axis[:, None] ** 2 + axis[None] ** 2 <= (DISC * size) ** 2).float()
        light = torch.tensor(LUMINANCE).view(1, 3, 1, 1)
        middle = torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
        edges = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
        self.register_buffer("disc", (disc / disc.sum()).view(-1, 1))
        self.register_buffer("filters", torch.cat([light * middle, light * edges]))

    def forward(self, images: Tensor) -> Tensor:
        """Of images [N, 3, S, S] in [0, 1], float32 [N, 5].

        Mean absolute Laplacian of the luminance in standard deviations of it; mean luminance, twice; share of white
        pixels, all within the disc; share of black pixels of the whole square.
        """
        return torch.cat(self.each(images), 1)

    def each(self, images: Tensor) -> list[Tensor]:
        """The same as five columns [N, 1]; with as few operators as will do, each of which takes a microsecond."""
        filtered = functional.conv2d(images, self.filters, stride=2).flatten(2)
        light, edges = filtered[:, 0], filtered[:, 1]
        mean = light @ self.disc
        apart = light - mean
        spread = (apart * apart @ self.disc + 1e-6).sqrt()
        white, black = (light >= WHITE).float(), (light < BLACK).float()
        return [edges.abs() @ self.disc / spread, mean, mean, white @ self.disc, black.mean(1, keepdim=True)]


class GateNetwork(nn.Module):
    """All measures of an image and how far each is beyond its limit.

    Args:
        judge: trained.
        size: side of the input in pixels.
        limits: one for each of `REASONS`.
    """

    limits: Tensor
    signs: Tensor

    def __init__(self, judge: Judge, size: int, limits: Sequence[float]):
        super().__init__()
        self.judge, self.measures = judge, Measures(size)
        self.register_buffer("limits", torch.tensor(tuple(limits)))
        self.register_buffer("signs", torch.tensor([-1.0 if name in BELOW else 1.0 for name in REASONS]))
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Measures and excess [N, 6] of RGB images [N, 3, S, S] in [0, 1]; an excess above 0 refuses."""
        judged = self.judge(self.judge.shrink(image))
        found = torch.cat([judged, *self.measures.each(image)], 1)
        return found, (found - self.limits) * self.signs


def as_images(pixels: np.ndarray) -> Tensor:
    """RGB, uint8 [N, S, S, 3], as float32 [N, 3, S, S] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 255


def write_gate(network: GateNetwork, facts: GateFacts, path: Path) -> None:
    """Write the graph: input `image`, outputs `measures` and `excess`, dynamic batch, facts in the metadata.

    Args:
        network: in evaluation mode.
        facts: stored as JSON.
        path: the file.
    """
    write_onnx(network, facts.size, path, {KEY: facts.model_dump_json()}, ("measures", "excess"))


def macs(size: int, width: int = WIDTH) -> int:
    """Multiplications and additions of the judge's convolutions for one image; the measures add about 13 a pixel."""
    side, total, before = size // pooled(size), 0, 3
    for after, kernel, stride in ((width, 5, 2), (2 * width, 3, 2), (2 * width, 3, 2), (2 * width, 3, 1)):
        side = math.ceil(side / stride)
        total += side * side * after * before * kernel * kernel
        before = after
    return total
