"""A bundle's network as a plain PyTorch module."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dermdistill.errors import InputError, IntegrityError
from dermdistill.export.formats.calibrated import calibrated
from dermdistill.files import sha256_file
from dermdistill.images.preprocess import resize_square
from dermdistill.networks.cost import fuse
from dermdistill.networks.registry import Network, Wanted, network
from dermdistill.predict.bundle import Bundle
from dermdistill.predict.header import BundleHeader, BundleHeader1
from dermdistill.predict.vectors import draw

TENSORS = "model.safetensors"
"""Beside a bundle's files: the weights of the training, where they came along."""
_BITS = 22
"""Weights of the resize are counted in 2**-22, as Pillow does."""
_LARGEST_ERROR = 1e-3
"""Of a probability of a test vector; arithmetic in another order differs by less than a tenth of it."""


class Classifier(nn.Module):
    """A network behind its own preprocessing: RGB images in, logits out.

    Attributes:
        network: takes normalised float32 [N, 3, S, S] and gives logits [N, C]; it can be trained further.
        classes: the C classes in the order of the logits.
        image_size: S in pixels.
        temperature: divides the logits before the softmax, as in the bundle's graphs.
        calibrated: gives the probabilities of logits in place of both, where the bundle has another calibration.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        built: Network,
        classes: Sequence[str],
        image_size: int,
        temperature: float,
        calibrated: nn.Module | None = None,
    ):
        super().__init__()
        self.network = built.module
        self.classes = tuple(classes)
        self.image_size = image_size
        self.temperature = temperature
        self.calibrated = calibrated
        self.register_buffer("mean", torch.tensor(tuple(built.mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(built.std)).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 [N, C].

        Args:
            images: upright RGB [N, 3, H, W], uint8, or floating in [0, 1]. Images of another side than S are squashed
                to S x S, bilinear with antialiasing; those of uint8 get the very values that `predict` gives them.

        Raises:
            ValueError: images of another type or shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not (images.dtype == torch.uint8 or images.is_floating_point()):
            raise ValueError(f"images must be uint8 or float [N, 3, H, W], got {images.dtype} {tuple(images.shape)}")
        resized = squash(images, self.image_size)
        pixels = resized.to(self.mean.dtype) / 255 if images.dtype == torch.uint8 else resized
        logits: Tensor = self.network((pixels - self.mean) / self.std)
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated probabilities float32 [N, C] of images as `forward` takes them."""
        logits = self(images)
        if self.calibrated is None:
            return (logits / self.temperature).softmax(1)
        probabilities: Tensor = self.calibrated(logits)
        return probabilities


def squash(images: Tensor, size: int) -> Tensor:
    """Resize images to a square as `dermdistill.images.preprocess.resize_square` does, first columns, then rows.

    Args:
        images: [N, 3, H, W], uint8 or floating.
        size: side S in pixels.

    Returns:
        [N, 3, S, S] of the same type. With uint8 each value is Pillow's, see docs/reference/bundle.md; with floats
        nothing is rounded, and gradients pass.
    """
    exact = images.dtype == torch.uint8
    for axis in (3, 2):
        if images.shape[axis] == size:
            continue
        weights = _resize_weights(images.shape[axis], size).to(images.device)
        values = images.movedim(axis, -1)
        if exact:
            sums = values.double() @ weights.T  # of whole numbers below 2**53, so that float64 holds them exactly
            made = torch.floor((sums + 2 ** (_BITS - 1)) / 2**_BITS).to(torch.uint8)
        else:
            made = values @ (weights.T / 2**_BITS).to(values.dtype)
        images = made.movedim(-1, axis)
    return images


def _resize_weights(length: int, size: int) -> Tensor:
    """The weight of each of n places of a row in each of S, in parts of 2**22: whole numbers, float64 [S, n]."""
    here = (2 * torch.arange(length, dtype=torch.float64) + 1) * size
    there = (2 * torch.arange(size, dtype=torch.float64)[:, None] + 1) * length
    share = (2 * max(length, size) - (here - there).abs()).clamp_(min=0)
    return torch.floor(share * 2**_BITS / share.sum(1, keepdim=True) + 0.5)


def build_classifier(bundle: Bundle) -> Classifier:
    """Rebuild a bundle's network with its weights, and check it on the bundle's test vectors.

    The weights come from `model.safetensors` beside the bundle's files if it is the file that the bundle was made of.
    Otherwise they come from the graph, in which each BatchNorm is folded into the convolution before it.

    Args:
        bundle: of format 2.

    Returns:
        The module in evaluation mode, on the CPU.

    Raises:
        InputError: the bundle has no test vectors, or its network is none that this version knows.
        IntegrityError: the weights do not fit the network, or the module does not give the bundle's own answers.
    """
    header = bundle.spec
    if isinstance(header, BundleHeader1):
        raise InputError(f"{bundle.folder} is of {header.format}, which has no test vectors; export it again")
    built = _network(bundle)
    found = Classifier(built, header.classes, header.input.size, header.temperature, calibration_of(header)).eval()
    _verify(found, bundle)
    return found


def calibration_of(header: BundleHeader) -> nn.Module | None:
    """What gives a bundle's probabilities of its logits; None where a temperature does."""
    if header.calibration is None:
        return None
    return calibrated(header.calibration, len(header.classes), header.melanoma_index)


def _network(bundle: Bundle) -> Network:
    """The bundle's network with its weights, in evaluation mode."""
    facts, size = bundle.spec.model, bundle.spec.input.size
    stage = cast(Literal["teacher", "student"], facts.stage)
    built = network(stage, facts.name, Wanted(len(bundle.spec.classes), size))
    beside = bundle.folder / TENSORS
    whole = beside.is_file() and sha256_file(beside) == facts.weights_sha256
    module = built.module if whole else fuse(built.module, size)
    try:
        module.load_state_dict(load_file(beside) if whole else _of_graph(bundle.graph))
    except (RuntimeError, SafetensorError) as error:
        raise IntegrityError(
            f"the weights of {bundle.folder} do not fit the network '{facts.name}' ({error}); "
            f"put the {TENSORS} of the run that it was exported from beside its files"
        ) from None
    return Network(module.eval(), built.mean, built.std)


def _of_graph(path: Path) -> dict[str, Tensor]:
    """The weights that a graph holds, under the names of the network with folded BatchNorms."""
    import onnx
    from onnx import numpy_helper

    prefix = "model."  # the network is the attribute `model` of what was exported
    return {
        one.name.removeprefix(prefix): torch.from_numpy(numpy_helper.to_array(one).copy())
        for one in onnx.load(path).graph.initializer
        if one.name.startswith(prefix)
    }


@torch.inference_mode()
def _verify(found: Classifier, bundle: Bundle) -> None:
    if isinstance(bundle.spec, BundleHeader1):
        return
    for vector in bundle.spec.vectors.images:
        resized = resize_square(Image.fromarray(draw(vector.image)), found.image_size)
        answer = found.probabilities(torch.from_numpy(resized).permute(2, 0, 1)[None])[0].numpy()
        difference = float(np.abs(answer - vector.probabilities).max())
        if not difference <= _LARGEST_ERROR:
            raise IntegrityError(
                f"the module of {bundle.folder} does not give the bundle's answer to the vector '{vector.name}': "
                f"probabilities differ by {difference:.2g}, allowed are {_LARGEST_ERROR:g}"
            )
