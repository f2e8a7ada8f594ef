"""Views: augmentations that are sampled apart from being applied, so that they can be replayed.

A *view* is (image sha256, view seed, augmentation spec). Its parameters are a pure function of
these three, computed from a hash and from no generator's state: the same in another process, on
another machine, in another order. Geometry is in normalised coordinates, so that a teacher at
224 px and a student at 128 px see the same view, each at its own size ("consistent teaching",
Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022).
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

COLUMNS = (
    "angle", "zoom", "aspect", "shift_x", "shift_y", "flip",
    "brightness", "contrast", "saturation", "hue", "red", "blue",
)  # fmt: skip
"""The parameters of a view, in the order of `sample_views`' columns."""

IDENTITY = (0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0)
PLAIN = 0
"""The view seed of the plain, unchanged image."""

_LUMA = (0.299, 0.587, 0.114)
_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


class ViewSpec(BaseModel):
    """How far a view may depart from the plain image. Every range is drawn from uniformly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = True
    """Mirror half of the views; with a rotation of 180 this reaches all symmetries of a lesion."""
    rotation: float = Field(180.0, ge=0, le=180)
    """Largest rotation in degrees, either way."""
    zoom: tuple[float, float] = (0.8, 1.2)
    """Magnification, drawn evenly on a logarithmic scale; above 1 shows less of the image."""
    aspect: float = Field(1.1, ge=1, le=2)
    """Largest stretch of one side against the other."""
    shift: float = Field(0.08, ge=0, le=0.5)
    """Largest shift as a share of the side, in x and in y."""
    brightness: float = Field(0.2, ge=0, lt=1)
    contrast: float = Field(0.2, ge=0, lt=1)
    saturation: float = Field(0.2, ge=0, lt=1)
    hue: float = Field(0.02, ge=0, le=0.5)
    """Largest turn of the hue, as a share of the whole circle."""
    white_balance: float = Field(0.08, ge=0, lt=1)
    """Largest gain or loss of the red and of the blue channel: another camera, another lamp."""


def view_seed(seed: int, view: int) -> int:
    """The seed of the `view`-th view of a run or bank with `seed`; view 0 is the plain image.

    Args:
        seed: 0 to 2**31 - 1.
        view: 0, 1, 2, … without limit below 2**32.
    """
    if view < 0 or seed < 0:
        raise ValueError(f"seed and view must not be negative, got seed={seed}, view={view}")
    return PLAIN if view == 0 else (seed << 32) | view


def sample_views(sha256s: Sequence[str], seed: int, spec: ViewSpec) -> np.ndarray:
    """Sample the parameters of one view for each image.

    Args:
        sha256s: the images' SHA-256 digests.
        seed: the view seed; `PLAIN` gives identity parameters.
        spec: the ranges.

    Returns:
        float32 [N, 12], columns as in `COLUMNS`.
    """
    plain = np.tile(np.array(IDENTITY, np.float32), (len(sha256s), 1))
    if seed == PLAIN:
        return plain
    low, high = (math.log(bound) for bound in spec.zoom)
    stretch = math.log(spec.aspect)
    u = np.stack([_uniforms(sha256, seed) for sha256 in sha256s]) if len(sha256s) else np.empty((0, 16))
    signed = 2 * u - 1
    columns = [
        signed[:, 0] * math.radians(spec.rotation),
        np.exp(low + u[:, 1] * (high - low)),
        np.exp(signed[:, 2] * stretch),
        signed[:, 3] * spec.shift,
        signed[:, 4] * spec.shift,
        (u[:, 5] < 0.5) & spec.flip,
        1 + signed[:, 6] * spec.brightness,
        1 + signed[:, 7] * spec.contrast,
        1 + signed[:, 8] * spec.saturation,
        signed[:, 9] * spec.hue,
        1 + signed[:, 10] * spec.white_balance,
        1 + signed[:, 11] * spec.white_balance,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def turn_views(parameters: np.ndarray, sha256s: Sequence[str], seed: int, epoch: int) -> np.ndarray:
    """Each view in one of the square's eight symmetries: a pure function of image, seed and epoch.

    Args:
        parameters: float32 [N, 12] from `sample_views`.
        sha256s: the images' SHA-256 digests.
        seed: the views' seed.
        epoch: from 0.

    Returns:
        float32 [N, 12]: the same section of the image, turned by a multiple of 90 degrees, half of them mirrored.
    """
    turned = parameters.copy()
    if not len(sha256s):
        return turned
    columns = dict(zip(COLUMNS, turned.T, strict=True))  # writes through to `turned`
    u = np.stack([_uniforms(sha256, f"turn:{seed}:{epoch}") for sha256 in sha256s])
    quarters = np.floor(u[:, 0] * 4).astype(np.float32)
    columns["angle"] += quarters * np.float32(math.pi / 2)
    columns["aspect"] **= np.where(quarters % 2, -1, 1)  # a quarter turn swaps the sides
    columns["flip"][:] = np.where(u[:, 1] < 0.5, 1 - columns["flip"], columns["flip"])
    return turned


def _uniforms(sha256: str, seed: int | str) -> np.ndarray:
    digest = hashlib.blake2b(f"{sha256}:{seed}".encode(), digest_size=64).digest()
    return np.frombuffer(digest, "<u4").astype(np.float64) / 2**32


def apply_views(images: Tensor, parameters: Tensor, size: int | None = None) -> Tensor:
    """Apply sampled views to a batch of images, on the device that the images are on.

    Args:
        images: uint8 [B, 3, H, W].
        parameters: float32 [B, 12] from `sample_views`.
        size: side of the result in pixels; by default the images' own.

    Returns:
        float32 [B, 3, size, size] in [0, 1]. Beyond its edge an image is mirrored.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be uint8 [B, 3, H, W], got {images.dtype} {tuple(images.shape)}")
    size = size or images.shape[-1]
    parameters = parameters.to(images.device)
    pixels = images.float().div_(255)
    if pixels.shape[-2:] != (size, size):
        pixels = functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True).clamp_(0, 1)
    if torch.equal(parameters.cpu(), torch.tensor(IDENTITY).expand(len(images), -1)):
        return pixels
    grid = functional.affine_grid(_geometry(parameters), list(pixels.shape), align_corners=False)
    pixels = functional.grid_sample(pixels, grid, "bilinear", "reflection", align_corners=False)
    return _colour(pixels, parameters)


def _geometry(parameters: Tensor) -> Tensor:
    angle, zoom, aspect, shift_x, shift_y, flip = parameters[:, :6].unbind(1)
    mirror = 1 - 2 * flip
    width, height = 1 / (zoom * aspect.sqrt()), aspect.sqrt() / zoom
    cosine, sine = angle.cos(), angle.sin()
    rows = [
        torch.stack([mirror * cosine * width, -sine * height, 2 * shift_x], 1),
        torch.stack([mirror * sine * width, cosine * height, 2 * shift_y], 1),
    ]
    return torch.stack(rows, 1)


def _colour(pixels: Tensor, parameters: Tensor) -> Tensor:
    """White balance, brightness, hue, saturation and contrast as one affine map of RGB."""
    brightness, contrast, saturation, hue, red, blue = parameters[:, 6:].unbind(1)
    one, zero = torch.ones_like(red), torch.zeros_like(red)
    luma = pixels.new_tensor(_LUMA)
    gains = torch.diag_embed(torch.stack([red, one, blue], 1) * brightness[:, None])
    turn = hue * (2 * math.pi)
    cosine, sine = turn.cos() * saturation, turn.sin() * saturation
    rows = [
        torch.stack([one, zero, zero], 1),
        torch.stack([zero, cosine, -sine], 1),
        torch.stack([zero, sine, cosine], 1),
    ]
    chroma = torch.stack(rows, 1)
    to_yiq = pixels.new_tensor(_TO_YIQ)
    matrix = torch.linalg.inv(to_yiq) @ chroma @ to_yiq @ gains
    flat = pixels.flatten(2)
    grey = ((luma @ matrix) * flat.mean(2)).sum(1)  # mean luminance after the map, [B]
    offset = ((1 - contrast) * grey)[:, None, None]
    mapped = torch.baddbmm(offset, contrast[:, None, None] * matrix, flat)
    return mapped.clamp_(0, 1).view_as(pixels)
