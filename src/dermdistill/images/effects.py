"""Effects of skin, light, camera and file on rendered views, each replayed from its parameters alone.

All of them are scaled to the image, so that views of one image at two sizes show the same. A function takes float
images [B, 3, S, S] in about 0 to 1 and the table of parameters (name to [B], on the CPU), and touches only the
images that the effect was drawn for.
"""

import functools
import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from dermdistill.images.overlays import hair, ruler

Table = dict[str, Tensor]
"""Each parameter of the views, float32 [B], by its name in `dermdistill.images.views.COLUMNS`."""

_BLUR = 0.01
"""Standard deviation of the blur of sharpness -1, as a share of the side."""
_NOISE_SIDE, _JPEG_SIDE = 256, 224
"""Sides in pixels at which noise is added and JPEG files are coded."""


def light_and_overlays(pixels: Tensor, table: Table) -> Tensor:
    """What is there before the camera: hair, a ruler, uneven light."""
    for effect in (_hair, _ruler, _light):
        pixels = effect(pixels, table)
    return pixels


def optics_and_file(pixels: Tensor, table: Table) -> Tensor:
    """What camera and file add: tone curve, sharpness, noise, resampling, JPEG."""
    for effect in (_gamma, _sharpness, _noise, _resample, _jpeg):
        pixels = effect(pixels, table)
    return pixels


def _rows(values: Tensor, off: float = 0.0) -> Tensor:
    """Positions of the images for which an effect was drawn."""
    return torch.nonzero(values != off)[:, 0]


def _hair(pixels: Tensor, table: Table) -> Tensor:
    return _inked(pixels, table, "hair", lambda size, rng, count: hair(size, rng, round(count)))


def _ruler(pixels: Tensor, table: Table) -> Tensor:
    return _inked(pixels, table, "ruler", ruler)


def _inked(
    pixels: Tensor, table: Table, name: str,
    draw: Callable[[int, np.random.Generator, float], tuple[np.ndarray, np.ndarray]],
) -> Tensor:  # fmt: skip
    size = pixels.shape[-1]
    for row in _rows(table[name]).tolist():
        rng = np.random.default_rng([int(table["number"][row]), len(name)])
        cover, ink = draw(size, rng, float(table[name][row]))
        alpha = torch.from_numpy(cover.astype(np.float32)).to(pixels.device)
        colour = pixels.new_tensor(ink.tolist())[:, None, None]
        pixels[row] = pixels[row] * (1 - alpha) + alpha * colour
    return pixels


def _light(pixels: Tensor, table: Table) -> Tensor:
    rows = torch.nonzero((table["illumination"] != 0) | (table["vignette"] != 0))[:, 0]
    if not len(rows):
        return pixels
    size = pixels.shape[-1]
    axis = (torch.arange(size) * 2 + 1) / size - 1
    x, y = axis[None, None, :], axis[None, :, None]
    strength, angle, corners = (table[name][rows, None, None] for name in ("illumination", "light_angle", "vignette"))
    gain = (1 + strength * (angle.cos() * x + angle.sin() * y)) * (1 - corners * (x**2 + y**2) / 2)
    pixels[rows] = pixels[rows] * gain[:, None].to(pixels.device)
    return pixels


def _gamma(pixels: Tensor, table: Table) -> Tensor:
    rows = _rows(table["gamma"], 1.0)
    if len(rows):
        exponents = table["gamma"][rows, None, None, None].to(pixels.device)
        pixels[rows] = pixels[rows].clamp_(0, 1) ** exponents
    return pixels


def _sharpness(pixels: Tensor, table: Table) -> Tensor:
    rows = _rows(table["sharpness"])
    if len(rows):
        part = pixels[rows]
        amount = table["sharpness"][rows, None, None, None].to(pixels.device)
        pixels[rows] = (part + amount * (part - _blurred(part))).clamp_(0, 1)
    return pixels


def _blurred(pixels: Tensor) -> Tensor:
    width = _BLUR * pixels.shape[-1]
    reach = min(math.ceil(3 * width), pixels.shape[-1] - 1)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=pixels.device) / width) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(pixels, (reach,) * 4, mode="reflect")
    return functional.conv2d(functional.conv2d(padded, taps, groups=3), taps.transpose(2, 3), groups=3)


@functools.cache
def _noise_tile() -> Tensor:
    """Standard normal noise [3, 640, 640], half of its variance common to the channels; every view cuts from it."""
    drawn = np.random.default_rng(0).standard_normal((4, 640, 640), np.float32)
    return torch.from_numpy((drawn[:3] + drawn[3]) / math.sqrt(2))


def _noise(pixels: Tensor, table: Table) -> Tensor:
    rows = _rows(table["noise"])
    if not len(rows):
        return pixels
    cuts = []
    for row in rows.tolist():
        rng = np.random.default_rng([int(table["number"][row]), 0])
        top, left = rng.integers(0, _noise_tile().shape[-1] - _NOISE_SIDE, 2).tolist()
        cut = _noise_tile()[:, top : top + _NOISE_SIDE, left : left + _NOISE_SIDE]
        cuts.append(torch.rot90(cut, int(rng.integers(4)), (1, 2)))
    noise = torch.stack(cuts).to(pixels.device) * table["noise"][rows, None, None, None].to(pixels.device)
    pixels[rows] = (pixels[rows] + _resized(noise, pixels.shape[-1])).clamp_(0, 1)
    return pixels


def _resample(pixels: Tensor, table: Table) -> Tensor:
    """Shrink and enlarge again, by one of three programs' ways: triangle, cubic, or linear without antialiasing."""
    size = pixels.shape[-1]
    for row in _rows(table["resample"]).tolist():
        side, kernel = round(float(table["resample"][row])), int(table["kernel"][row])
        if side >= size:
            continue  # this size does not hold what is lost
        mode = "bicubic" if kernel == 1 else "bilinear"
        small = functional.interpolate(pixels[row : row + 1], (side, side), mode=mode, antialias=kernel != 2)
        pixels[row] = functional.interpolate(small, (size, size), mode=mode)[0].clamp_(0, 1)
    return pixels


def _jpeg(pixels: Tensor, table: Table) -> Tensor:
    """Code each image as a JPEG file of one size, and add what that changes, resized to the image's own size."""
    rows = _rows(table["jpeg"])
    if not len(rows):
        return pixels
    part = pixels[rows]
    large = _resized(part, _JPEG_SIDE, "bicubic").mul(255).round_().clamp_(0, 255).to(torch.uint8).cpu()
    changes = [_coding_error(one, round(float(table["jpeg"][row]))) for one, row in zip(large, rows, strict=True)]
    change = _resized(torch.stack(changes).to(pixels.device).div_(255), pixels.shape[-1])
    pixels[rows] = (part + change).clamp_(0, 1)
    return pixels


def _coding_error(image: Tensor, quality: int) -> Tensor:
    """What a JPEG file changes of a uint8 image [3, H, W], float32."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as coded:
        decoded = torch.from_numpy(np.array(coded.convert("RGB"))).permute(2, 0, 1)
    return decoded.float() - image.float()


def _resized(images: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    if images.shape[-1] == size:
        return images
    return functional.interpolate(images, (size, size), mode=mode, antialias=True)
