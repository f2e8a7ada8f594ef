"""Teach a network to bear 8 bits: quantisation-aware distillation, in which it is its own teacher.

While it learns, every convolution and linear layer sees its weights and its input rounded to 8 bits, as in the
quantised graph; the gradient passes the rounding as if it were not there. The loss is the divergence from the answers
that the network gives without rounding, so that no labels are needed. The tuned weights are float32 again, and any
quantiser may take them.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018, section 3; the loss as in Mishra and Marr, "Apprentice", ICLR 2018, scheme B.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dermdistill import talk
from dermdistill.export.formats.onnx import Deployed, write_onnx
from dermdistill.export.module import build_classifier
from dermdistill.networks.cost import fuse
from dermdistill.predict.bundle import Bundle
from dermdistill.predict.graphs import read_metadata
from dermdistill.predict.runtime import as_batch

_BATCH = 32
_LEVELS = 255
"""Steps of an 8-bit scale."""


@dataclass(frozen=True)
class Tuning:
    """How long and how fast a network learns to bear 8 bits."""

    steps: int = 100
    """Of `_BATCH` images each."""
    learning_rate: float = 1e-4
    """At the start; it falls to zero along a cosine."""
    seed: int = 0


class _RoundedWeight(nn.Module):
    """Weights in whole multiples of a scale for each output channel, from -127 to 127."""

    def forward(self, weight: Tensor) -> Tensor:
        largest = weight.detach().abs().flatten(1).amax(1).clamp(min=1e-8)
        zero = torch.zeros_like(largest, dtype=torch.int32)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(weight, largest / 127, zero, 0, -127, 127)
        return rounded


class _RoundedInput:
    """A hook that rounds a layer's input to 256 levels between the least and the largest value that it has seen."""

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.watches = True

    def __call__(self, _: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        values = given[0]
        if self.watches:
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))
            return given
        scale = max((self.high - self.low) / _LEVELS, 1e-8)
        zero = round(-self.low / scale)
        return (torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, _LEVELS), *given[1:])


def write_tuned(bundle: Bundle, images: np.ndarray, path: Path, tuning: Tuning = Tuning()) -> None:
    """Write model.onnx anew, with weights that lose less in 8 bits.

    Args:
        bundle: of format 2.
        images: RGB, uint8 [N, S, S, 3], on which the network learns.
        path: the file.
        tuning: how long and how fast.

    Raises:
        InputError, IntegrityError: as `dermdistill.export.module.build_classifier`.
    """
    built, size = build_classifier(bundle), bundle.spec.input.size
    pixels = (torch.from_numpy(as_batch(images)) - built.mean) / built.std
    network = tuned(fuse(built.network, size), pixels, built.temperature, tuning)
    mean, std = built.mean.flatten().tolist(), built.std.flatten().tolist()
    deployed = Deployed(network, mean, std, built.temperature, built.calibrated)
    write_onnx(deployed, size, path, read_metadata(bundle.graph))


def tuned(network: nn.Module, images: Tensor, temperature: float, tuning: Tuning = Tuning()) -> nn.Module:
    """A copy of a network whose answers change less when it is quantised.

    Args:
        network: in evaluation mode, without BatchNorm; it is left as it is.
        images: as the network takes them, float32 [N, 3, S, S].
        temperature: divides the logits before the softmax.
        tuning: how long and how fast.
    """
    student = copy.deepcopy(network).eval()
    with rounded(student, images):
        _fit(network, student, images, temperature, tuning)
    return student


@contextmanager
def rounded(network: nn.Module, images: Tensor) -> Iterator[None]:
    """Let the layers of a network see weights and inputs in 8 bits, until the block ends.

    Args:
        network: without BatchNorm.
        images: float32 [N, 3, S, S], which tell the ranges of the inputs.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [_RoundedInput() for _ in layers]
    handles = [layer.register_forward_pre_hook(hook) for layer, hook in zip(layers, hooks, strict=True)]
    with torch.no_grad():
        for part in images.split(_BATCH):
            network(part)
    for layer, hook in zip(layers, hooks, strict=True):
        hook.watches = False
        parametrize.register_parametrization(layer, "weight", _RoundedWeight())
    try:
        yield
    finally:
        for layer, handle in zip(layers, handles, strict=True):
            handle.remove()
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def _fit(network: nn.Module, student: nn.Module, images: Tensor, temperature: float, tuning: Tuning) -> None:
    generator = torch.Generator().manual_seed(tuning.seed)
    optimizer = torch.optim.Adam(student.parameters(), tuning.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, tuning.steps)
    with talk.bars() as bars:
        for _ in bars.track(range(tuning.steps), tuning.steps, description="fine-tune for 8 bits"):
            chosen = torch.randint(len(images), (_BATCH,), generator=generator)
            batch = _turned(images[chosen], generator)
            with torch.no_grad():
                wanted = (network(batch) / temperature).softmax(1)
            answers = (student(batch) / temperature).log_softmax(1)
            loss = nn.functional.kl_div(answers, wanted, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _turned(batch: Tensor, generator: torch.Generator) -> Tensor:
    """The images in one of their eight turned and mirrored ways."""
    which = int(torch.randint(8, (1,), generator=generator))
    turned = torch.rot90(batch, which % 4, (2, 3))
    return turned.flip(3) if which >= 4 else turned
