"""Render sampled views: geometry, colour and effects of a batch of images, on the device that the images are on.

A view is rendered from a *source* of `SOURCE_SCALE` times its side (`data.preprocess.resize_source`), so that
it is as sharp as the plain image that `predict` makes. The plain image is the full image times a triangle as
wide as two of its own pixels. Here a Gaussian stands for this triangle, shaped for each image so that it is
right after the turn, zoom and stretch of the view; it is applied to the source, and one bilinear sample for
each pixel of the view follows. What the bilinear sampling blurs on average, the Gaussian leaves out.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from dermdistill.images.effects import light_and_overlays, optics_and_file
from dermdistill.images.views import COLUMNS, IDENTITY

_WIDTH = 0.189
"""Variance of the blur of a plain image, in pixels of its own. Shrinking by two with antialiasing comes to 0.1875
and loses 5.5 dB at 80 % of the Nyquist frequency; a triangle loses 4.8 dB there, this Gaussian 5.2 dB."""
_BILINEAR = 1 / 6
"""Mean variance that bilinear sampling at arbitrary places adds, in pixels of the source."""
_TAPS = 2
"""The Gaussian reaches so many pixels of the source either way: enough for zooms of 0.6 and more."""
_LARGEST = 2.5
"""Sources of more than so many times the view's side are shrunk first, since the Gaussian does not reach farther."""
_CHUNK = {"cpu": 1_000_000}
"""Pixel values rendered at a time: as many as a processor's cache holds."""
_CHUNK_ELSEWHERE = 64_000_000

_GEOMETRY, _COLOURS = slice(0, 6), slice(6, 12)
"""Columns of the parameters that move pixels, and of those that map colours."""
_LUMA = (0.299, 0.587, 0.114)
_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def apply_views(images: Tensor, parameters: Tensor, size: int | None = None) -> Tensor:
    """Apply sampled views to a batch of images.

    Where no parameter moves a pixel in any of the images, they are merely shrunk to `size` with antialiasing.
    From sources of twice the side that differs by less than 1/255 on average from what `predict` sees, which
    resizes the file in one step. Images that have the side `size` already stay as they are.

    Args:
        images: uint8 [B, 3, R, R], from the cache of sources.
        parameters: float32 [B, P] from `sample_views`.
        size: side S of the result in pixels; by default the images' own.

    Returns:
        float32 [B, 3, S, S] in [0, 1]. Beyond its edge an image is mirrored. Power spectra of turned views and of
        plain images agree within 0.5 dB up to 80 % of the Nyquist frequency if R is 2 S.

    Raises:
        ValueError: images of another type or shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be uint8 [B, 3, R, R], got {images.dtype} {tuple(images.shape)}")
    size = size or images.shape[-1]
    table = dict(zip(COLUMNS, parameters.cpu().unbind(1), strict=True))
    changed = (parameters.cpu() != torch.tensor(IDENTITY)).any(0)
    parameters = parameters.to(images.device)
    pixels = _moved(images, parameters, size) if changed[_GEOMETRY].any() else _shrunk(images, size)
    pixels = light_and_overlays(pixels, table)
    if changed[_COLOURS].any():
        pixels = _colour(pixels, parameters)
    return _turned(optics_and_file(pixels, table).clamp_(0, 1), table["turn"])


def _moved(images: Tensor, parameters: Tensor, size: int) -> Tensor:
    side = min(images.shape[-1], 2 * size) if images.shape[-1] > _LARGEST * size else images.shape[-1]
    step = max(1, _CHUNK.get(images.device.type, _CHUNK_ELSEWHERE) // (3 * images.shape[-1] ** 2))
    chunks = zip(images.split(step), parameters.split(step), strict=True)
    warped = [_warped(_shrunk(part, side, "bicubic"), of_part, size) for part, of_part in chunks]
    return torch.cat(warped)


def _turned(pixels: Tensor, turns: Tensor) -> Tensor:
    """Turn each image by `turns` modulo 4 quarters, after mirroring it if `turns` is 4 or more."""
    for turn in range(1, 8):
        rows = torch.nonzero(turns == turn)[:, 0].to(pixels.device)
        if len(rows):
            part = pixels[rows]
            pixels[rows] = torch.rot90(part.flip(3) if turn >= 4 else part, turn % 4, (2, 3))
    return pixels


def _shrunk(images: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    pixels = images.float().div_(255)
    if pixels.shape[-1] == size:
        return pixels
    return functional.interpolate(pixels, (size, size), mode=mode, antialias=True).clamp_(0, 1)


def _warped(pixels: Tensor, parameters: Tensor, size: int) -> Tensor:
    """Blur each image by its own Gaussian, then sample it on the view's grid; float32 [B, 3, size, size]."""
    count, side = len(pixels), pixels.shape[-1]
    padded = functional.pad(pixels, (_TAPS,) * 4, mode="reflect")
    kernels = _kernels(parameters, side / size).repeat_interleave(3, 0)[:, None]
    blurred = functional.conv2d(padded.reshape(1, count * 3, *padded.shape[-2:]), kernels, groups=count * 3)
    grid = functional.affine_grid(_geometry(parameters), [count, 3, size, size], align_corners=False)
    blurred = blurred.view(count, 3, side, side)
    return functional.grid_sample(blurred, grid, "bilinear", "reflection", align_corners=False)


def _kernels(parameters: Tensor, scale: float) -> Tensor:
    """The Gaussian of each view in pixels of the source, [B, 5, 5]; `scale` of them make one of the plain image."""
    angle, zoom, aspect = parameters[:, :3].unbind(1)
    steps = torch.arange(-_TAPS, _TAPS + 1, device=parameters.device, dtype=parameters.dtype)
    down, right = steps[:, None], steps[None, :]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = cosine * right + sine * down, cosine * down - sine * right
    widths = torch.stack([1 / (zoom * aspect.sqrt()), aspect.sqrt() / zoom])
    variance = (_WIDTH * (scale * widths) ** 2 - _BILINEAR).clamp_(min=0.02)[..., None, None]
    kernels = torch.exp(-0.5 * (along**2 / variance[0] + across**2 / variance[1]))
    return kernels / kernels.sum((1, 2), keepdim=True)


def _geometry(parameters: Tensor) -> Tensor:
    angle, zoom, aspect, shift_x, shift_y, flip = parameters[:, _GEOMETRY].unbind(1)
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
    brightness, contrast, saturation, hue, red, blue = parameters[:, _COLOURS].unbind(1)
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
