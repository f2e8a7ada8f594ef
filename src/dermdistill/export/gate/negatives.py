"""Images that are not dermoscopic, all of them generated: what the gate learns to refuse.

They are drawn from shapes, textures, text and noise, and from dermoscopic images that are torn apart. No photograph of
anything else is among them, so that photographs can be what the gate is tested on.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
_PARTS = 9
"""Dermoscopic images that one torn image may be made of."""
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789    .,-:;/()%"


def drawn(count: int, size: int, seed: int) -> np.ndarray:
    """Images that are drawn from nothing, of each kind about as many.

    Args:
        count: how many.
        size: side in pixels.
        seed: decides all about them.

    Returns:
        uint8 [count, size, size, 3].
    """
    found, kinds = np.empty((count, size, size, 3), np.uint8), list(DRAWN.values())
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        found[number] = _finished(kinds[number % len(kinds)](size, rng), rng)
    return found


def torn(count: int, dermoscopic: np.ndarray, seed: int) -> np.ndarray:
    """Images that are made of dermoscopic ones and are none any more, of each kind about as many.

    Args:
        count: how many.
        dermoscopic: uint8 [N, S, S, 3].
        seed: decides all about them.

    Returns:
        uint8 [count, S, S, 3].
    """
    found, kinds = np.empty((count, *dermoscopic.shape[1:]), np.uint8), list(TORN.values())
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        chosen = list(dermoscopic[rng.integers(0, len(dermoscopic), _PARTS)])
        found[number] = kinds[number % len(kinds)](dermoscopic.shape[1], rng, chosen)
    return found


def _finished(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera may add: blur, uneven light, noise."""
    image = Image.fromarray(pixels)
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5) * len(pixels) / 112))
    made: np.ndarray = np.asarray(image, np.float32)
    if rng.random() < 0.3:
        made = made * (1 + rng.uniform(-0.4, 0.4) * _ramp(len(pixels), rng)[..., None])
    if rng.random() < 0.5:
        made = made + rng.normal(0, rng.uniform(0, 10), made.shape)
    return made.clip(0, 255).astype(np.uint8)


def _ramp(size: int, rng: np.random.Generator) -> np.ndarray:
    """A plane in -1 to 1, [size, size]."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    return (np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None]) / 1.42


def _colour(rng: np.random.Generator) -> Colour:
    """Any colour: grey, pale, of skin and wood, or vivid."""
    kind = rng.integers(4)
    if kind == 0:
        value = np.full(3, rng.uniform(0, 255)) + rng.normal(0, 6, 3)
    elif kind == 1:
        value = rng.uniform(170, 255, 3)
    elif kind == 2:
        value = np.array([220, 170, 145]) * rng.uniform(0.25, 1.1) + rng.normal(0, 18, 3)
    else:
        value = rng.uniform(0, 255, 3)
    red, green, blue = value.clip(0, 255).astype(int).tolist()
    return red, green, blue


def _noise(size: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with a power-law spectrum, white to cloudy, its channels more or less alike."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1 / size
    falloff = frequency ** -rng.uniform(0, 2.2)
    fields = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((4, size, size))) * falloff, (size, size))
    fields /= fields.std(axis=(1, 2), keepdims=True)
    common = rng.uniform(0, 1)
    mixed = (common * fields[3:] + (1 - common) * fields[:3]).transpose(1, 2, 0)
    return (np.array(_colour(rng)) + rng.uniform(15, 90) * mixed).clip(0, 255).astype(np.uint8)


def _gradient(size: int, rng: np.random.Generator) -> np.ndarray:
    """A flat colour, or one that goes over into another, straight or around a point."""
    axis = np.linspace(0, 1, size)
    if rng.random() < 0.5:
        way = _ramp(size, rng) / 2 + 0.5
    else:
        way = np.hypot(axis[None] - rng.uniform(0, 1), axis[:, None] - rng.uniform(0, 1)).clip(0, 1)
    strength = rng.uniform(0, 1) if rng.random() < 0.7 else 0.0
    way = (strength * way)[..., None]
    return ((1 - way) * np.array(_colour(rng)) + way * np.array(_colour(rng))).clip(0, 255).astype(np.uint8)


def _text(size: int, rng: np.random.Generator) -> np.ndarray:
    """Lines of letters, in places with boxes: a page, a screen, a label."""
    image = Image.new("RGB", (size, size), _colour(rng) if rng.random() < 0.5 else (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 4))):
        pen.rectangle(_box(size, rng, 0.2, 0.9), fill=_colour(rng))
    height = int(rng.integers(max(5, size // 22), max(7, size // 4)))
    font = ImageFont.load_default(height)
    top = int(rng.integers(0, height))
    ink = (0, 0, 0) if rng.random() < 0.5 else _colour(rng)
    while top < size:
        line = "".join(rng.choice(list(_LETTERS), int(rng.integers(3, 60))))
        pen.text((int(rng.integers(-height, size // 4)), top), line, fill=ink, font=font)
        top += int(height * rng.uniform(1.0, 2.0))
    return np.asarray(image)


def _box(size: int, rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float, float]:
    width, height = rng.uniform(low, high, 2) * size
    left, top = rng.uniform(-0.3, 1.0, 2) * size
    return left, top, left + width, top + height


def _leaves(size: int, rng: np.random.Generator) -> np.ndarray:
    """Shapes of all sizes that hide one another, as things in photographs do: "dead leaves" (Lee et al. 2001)."""
    palette = [_colour(rng) for _ in range(int(rng.integers(3, 12)))]
    image = Image.new("RGB", (size, size), palette[0])
    pen = ImageDraw.Draw(image)
    smallest = rng.uniform(0.02, 0.1)
    for _ in range(int(rng.integers(10, 220))):
        radius = min(0.5, smallest * (1 - rng.random()) ** -0.5) * size
        x, y = rng.uniform(0, size, 2)
        colour = tuple(
            int(value) for value in np.clip(palette[rng.integers(len(palette))] + rng.normal(0, 8, 3), 0, 255)
        )
        _shape(pen, x, y, radius, colour, rng)
    return np.asarray(image)


def _shape(
    pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: tuple[int, ...], rng: np.random.Generator
) -> None:  # fmt: skip
    if rng.random() < 0.4:
        tall = rng.uniform(0.4, 1.0) * radius
        pen.ellipse((x - radius, y - tall, x + radius, y + tall), fill=colour)
        return
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
    reach = radius * rng.uniform(0.6, 1.3, len(angles))
    pen.polygon(
        list(zip((x + reach * np.cos(angles)).tolist(), (y + reach * np.sin(angles)).tolist(), strict=True)),
        fill=colour,
    )


def _thing(size: int, rng: np.random.Generator) -> np.ndarray:
    """One large thing with edges and parts of its own before a plain or grained background."""
    back = _gradient(size, rng) if rng.random() < 0.6 else _stripes(size, rng)
    front = [_stripes, _noise, _gradient, _leaves][rng.integers(4)](size, rng)
    mask = Image.new("L", (size, size))
    pen = ImageDraw.Draw(mask)
    middle = rng.uniform(0.35, 0.65, 2) * size
    for _ in range(int(rng.integers(1, 6))):
        x, y = middle + rng.normal(0, 0.18, 2) * size
        if rng.random() < 0.5:
            width, height = rng.uniform(0.08, 0.45, 2) * size
            pen.rectangle((x - width, y - height, x + width, y + height), fill=255)
        else:
            _shape(pen, x, y, rng.uniform(0.1, 0.45) * size, (255,), rng)
    mask = mask.rotate(rng.uniform(-40, 40))
    cover = np.asarray(mask, np.float32)[..., None] / 255
    made = back * (1 - cover) + front * cover
    folds = Image.new("L", (size, size), 128)
    pen = ImageDraw.Draw(folds)
    for _ in range(int(rng.integers(0, 9))):
        ends = [(float(a), float(b)) for a, b in middle + rng.normal(0, 0.25, (2, 2)) * size]
        pen.line(ends, fill=int(rng.integers(40, 216)), width=int(rng.integers(1, max(2, size // 20))))
    shade = np.asarray(folds.filter(ImageFilter.GaussianBlur(size / 80)), np.float32)[..., None] / 128
    return (made * shade).clip(0, 255).astype(np.uint8)


def _stripes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Stripes, checks, weaves or grain of two colours."""
    first, second = np.array(_colour(rng), float), np.array(_colour(rng), float)
    if rng.random() < 0.4:
        second = first + rng.normal(0, 25, 3)
    waves = [np.sin(_ramp(size, rng) * rng.uniform(4, 90) + rng.uniform(0, 6)) for _ in range(int(rng.integers(1, 3)))]
    way = np.prod(waves, axis=0)
    if rng.random() < 0.5:
        way = np.sign(way)
    way = (way[..., None] + 1) / 2
    return ((1 - way) * first + way * second).clip(0, 255).astype(np.uint8)


def _crowd(size: int, rng: np.random.Generator) -> np.ndarray:
    """Many like things side by side: beads, cells, pebbles, tiles, each with a rim or a core."""
    palette = [_colour(rng) for _ in range(3)]
    image = (
        Image.fromarray(_gradient(size, rng)) if rng.random() < 0.4 else Image.new("RGB", (size, size), _colour(rng))
    )
    pen = ImageDraw.Draw(image)
    step = rng.uniform(0.05, 0.22) * size
    loose, fill = rng.uniform(0, 0.6), rng.uniform(0.3, 0.65)
    square = rng.random() < 0.25
    draw = pen.rectangle if square else pen.ellipse
    for y in np.arange(-step, size + step, step):
        for x in np.arange(-step, size + step, step):
            cx, cy = np.array([x, y]) + rng.normal(0, loose, 2) * step
            radius = step * fill * rng.uniform(0.7, 1.3)
            fills = [
                tuple(int(value) for value in np.clip(np.array(one) + rng.normal(0, 7, 3), 0, 255)) for one in palette
            ]
            draw((cx - radius, cy - radius, cx + radius, cy + radius), fill=fills[0])
            inner = radius * rng.uniform(0.3, 0.8)
            draw((cx - inner, cy - inner, cx + inner, cy + inner), fill=fills[1])
            if rng.random() < 0.1:
                draw((cx - radius, cy - radius, cx + radius, cy + radius), fill=fills[2])
    return np.asarray(image)


DRAWN: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "noise": _noise, "gradient": _gradient, "text": _text, "leaves": _leaves, "thing": _thing, "stripes": _stripes,
    "crowd": _crowd, "leaves again": _leaves, "thing again": _thing,
}  # fmt: skip
"""Kinds that are drawn from nothing; those that stand nearest to photographs count twice."""


def _mosaic(size: int, rng: np.random.Generator, images: Sequence[np.ndarray]) -> np.ndarray:
    """Several dermoscopic images side by side: a contact sheet, a figure."""
    rows, columns = rng.integers(2, 4, 2)
    sheet = Image.new("RGB", (size, size), _colour(rng))
    gap = int(rng.integers(0, 4))
    width, height = -(-size // int(columns)), -(-size // int(rows))
    for number in range(rows * columns):
        part = Image.fromarray(images[number % len(images)]).resize((width - gap, height - gap))
        sheet.paste(part, (number % columns * width, number // columns * height))
    return np.asarray(sheet)


def _shuffled(size: int, rng: np.random.Generator, images: Sequence[np.ndarray]) -> np.ndarray:
    """Parts of one dermoscopic image in another order."""
    count = int(rng.integers(3, 7))
    side = size // count
    parts = [
        images[0][y * side : (y + 1) * side, x * side : (x + 1) * side] for y in range(count) for x in range(count)
    ]
    order = rng.permutation(len(parts))
    rows = [np.hstack([parts[order[y * count + x]] for x in range(count)]) for y in range(count)]
    return np.asarray(Image.fromarray(np.vstack(rows)).resize((size, size)))


def _recoloured(size: int, rng: np.random.Generator, images: Sequence[np.ndarray]) -> np.ndarray:
    """A dermoscopic image in colours that skin never has: turned hue, negative, exchanged channels."""
    image = images[0]
    kind = rng.integers(3)
    if kind == 0:
        return 255 - image
    if kind == 1:
        return np.ascontiguousarray(image[..., [[2, 1, 0], [1, 0, 2], [2, 0, 1], [1, 2, 0]][rng.integers(4)]])
    hue = np.array(Image.fromarray(image).convert("HSV"))
    hue[..., 0] += rng.integers(50, 200).astype(np.uint8)  # wraps around, as a hue does
    return np.asarray(Image.fromarray(hue, "HSV").convert("RGB"))


def _small(size: int, rng: np.random.Generator, images: Sequence[np.ndarray]) -> np.ndarray:
    """A patch of skin from afar, within a scene of other things."""
    scene = Image.fromarray((_leaves if rng.random() < 0.6 else _thing)(size, rng))
    for image in images[: int(rng.integers(1, 4))]:
        side = int(rng.uniform(0.15, 0.4) * size)
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=255)
        left, top = rng.integers(0, size - side, 2).tolist()
        scene.paste(Image.fromarray(image).resize((side, side)), (left, top), mask)
    return np.asarray(scene)


TORN: dict[str, Callable[[int, np.random.Generator, Sequence[np.ndarray]], np.ndarray]] = {
    "mosaic": _mosaic, "shuffled": _shuffled, "recoloured": _recoloured, "small": _small,
}  # fmt: skip
"""Kinds that need dermoscopic images."""
