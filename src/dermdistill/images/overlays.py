"""What lies over the skin in a photograph: hairs and rulers, drawn alike at every size."""

import numpy as np
from PIL import Image, ImageDraw


def hair(size: int, rng: np.random.Generator, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Hairs that lie about the same way.

    Args:
        size: side of the image in pixels; at every size the same hairs are drawn.
        rng: decides all about the hairs.
        count: by default 1 to 8.

    Returns:
        How much of each pixel they cover, [size, size] in 0 to 1, and their colour, [3].
    """
    sheet, pen, side = _sheet(size)
    along = np.linspace(0, 1, 14)[:, None]
    lie = rng.uniform(0, np.pi)
    for _ in range(int(rng.integers(1, 9)) if count is None else count):
        heading = lie + rng.normal(0, 0.5)
        reach = rng.uniform(0.3, 0.9) * side * np.array([np.cos(heading), np.sin(heading)])
        middle = rng.uniform(0, side, 2)
        bend = middle + rng.normal(0, 0.15, 2) * side
        curve = (1 - along) ** 2 * (middle - reach) + 2 * along * (1 - along) * bend + along**2 * (middle + reach)
        width = max(1, round(rng.uniform(0.003, 0.009) * side))
        pen.line([tuple(point) for point in curve.tolist()], fill=255, width=width)
    ink = np.array([0.16, 0.11, 0.09]) * rng.uniform(0.7, 3.0)
    return _cover(sheet, size, rng.uniform(0.4, 0.9)), ink


def ruler(size: int, rng: np.random.Generator, strength: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The ticks of a ruler along one side.

    Args:
        size: side of the image in pixels; at every size the same ruler is drawn.
        rng: decides all about the ruler.
        strength: how much of a pixel a tick covers, by default 0.6 to 0.9.

    Returns:
        How much of each pixel it covers, [size, size] in 0 to 1, and its colour, [3].
    """
    sheet, pen, side = _sheet(size)
    step = rng.uniform(0.04, 0.08) * side
    for number, at in enumerate(np.arange(rng.uniform(0, step), side, step).tolist()):
        length = (0.09 if number % 5 == 0 else 0.05) * side
        pen.line([(at, side), (at, side - length)], fill=255, width=max(2, side // 110))
    sheet = sheet.rotate(90 * int(rng.integers(4)))
    strength = rng.uniform(0.6, 0.9) if strength is None else strength
    return _cover(sheet, size, strength), np.array([0.08, 0.08, 0.1])


def _sheet(size: int) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    """A blank three times as large to draw lines on, so that they can be thinner than a pixel."""
    sheet = Image.new("L", (3 * size, 3 * size))
    return sheet, ImageDraw.Draw(sheet), 3 * size


def _cover(sheet: Image.Image, size: int, strength: float) -> np.ndarray:
    return strength * np.asarray(sheet.resize((size, size), Image.Resampling.BOX), np.float32) / 255
