"""Skin, light and camera of the synthetic images: all that does not depend on a lesion's class."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from dermdistill.data.synthetic.phantoms import sigmoid, smooth_noise
from dermdistill.images.overlays import hair, ruler

PALE, DEEP = np.array([0.93, 0.74, 0.71]), np.array([0.60, 0.42, 0.33])
"""Reflectance of the lightest and the darkest bare skin, red, green, blue."""
MELANIN, BLOOD = np.array([0.6, 0.9, 1.1], np.float32), np.array([0.1, 1.0, 0.8], np.float32)
"""How strongly either absorbs red, green and blue."""


def photograph(layer: np.ndarray, tone: float, rng: np.random.Generator) -> Image.Image:
    """Show a lesion as one shot does.

    Args:
        layer: log-reflectance relative to the skin, float32 [size, size, 3], from `phantoms.paint_lesion`.
        tone: of the skin, 0 pale to 1 dark brown.
        rng: decides all that differs from shot to shot: turn, distance, light, hair, ruler, bubbles, noise.
    """
    size = len(layer)
    pixels = _skin(tone, size, rng) * np.exp(_turned(layer, rng))
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    light = 1 - rng.uniform(0, 0.18) * (x**2 + y**2) / 2 + 0.08 * (x * rng.normal() + y * rng.normal())
    pixels = pixels * light[..., None] * np.exp(rng.normal(0, [0.04, 0.02, 0.06]) + rng.normal(0, 0.05))
    for chance, effect in ((0.12, _bubbles), (0.40, _inked(hair)), (0.10, _inked(ruler))):
        if rng.random() < chance:
            pixels = effect(pixels, rng)
    if rng.random() < 0.15:
        edge = rng.uniform(1.02, 1.25)
        pixels = pixels * (0.04 + 0.96 * sigmoid((edge - np.hypot(x, y)) / 0.02))[..., None]
    blurred = Image.fromarray((pixels * 255).clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0, 0.006) * size)
    )
    noisy = np.asarray(blurred, np.float32) + rng.normal(0, rng.uniform(1.0, 3.5), (size, size, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _turned(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The layer turned by any angle, moved a little, nearer or farther."""
    size = len(layer)
    angle, zoom = rng.uniform(0, 2 * np.pi), np.exp(rng.normal(0, 0.08))
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    x, y = size / 2 + rng.normal(0, 0.05, 2) * size
    matrix = (cos, sin, size / 2 - cos * x - sin * y, -sin, cos, size / 2 + sin * x - cos * y)
    bands = [
        Image.fromarray(np.ascontiguousarray(layer[..., band])).transform(
            (size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
        )
        for band in range(3)
    ]
    return np.stack([np.asarray(band) for band in bands], axis=-1)


def _skin(tone: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Bare skin with freckles and redness, float32 [size, size, 3] in 0 to 1."""
    base = (PALE * (1 - tone) + DEEP * tone + rng.normal(0, 0.02, 3)).astype(np.float32)
    freckles = rng.beta(1, 3) * np.clip(smooth_noise(rng, size, 18) - 0.3, 0, 1)
    melanin = 0.04 * smooth_noise(rng, size, 3) + 0.04 * smooth_noise(rng, size, size // 4) + 0.22 * freckles
    blood = 0.05 * smooth_noise(rng, size, 4) + rng.uniform(0, 0.06) * smooth_noise(rng, size, 17)
    absorbed = melanin[..., None] * MELANIN + blood[..., None] * BLOOD
    return base * np.exp(-absorbed)


def _bubbles(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Air in the immersion fluid: bright rings."""
    axis = np.linspace(-1, 1, len(pixels), dtype=np.float32)
    for _ in range(int(rng.integers(1, 8))):
        x, y = rng.uniform(-1, 1, 2)
        distance = np.hypot(axis - x, (axis - y)[:, None]) / rng.uniform(0.03, 0.12)
        ring = rng.uniform(0.1, 0.3) * np.exp(-(((distance - 1) / 0.22) ** 2)) - 0.08 * (distance < 1)
        pixels = pixels + ring[..., None]
    return pixels


def _inked(
    draw: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]],
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """The effect on pixels of what `draw` lays over them."""

    def effect(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        cover, ink = draw(len(pixels), rng)
        return pixels * (1 - cover[..., None]) + cover[..., None] * ink.astype(np.float32)

    return effect
