"""What spoils dermoscopic photographs, in five severities: file, optics, light, what lies on the skin, and framing.

The idea of fixed corruptions at five severities is that of Hendrycks and Dietterich, "Benchmarking neural network
robustness to common corruptions and perturbations" (ICLR 2019), with corruptions that dermoscopy has. Everything is
drawn by Pillow; hairs and rulers are those of the training views. Severity 1 is hardly seen, severity 5 is the worst
that a clinic would keep.
"""

import hashlib
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from dermdistill.images.overlays import hair, ruler

SEVERITIES = (1, 2, 3, 4, 5)
WORKING = 256
"""The shorter side in pixels at which images are spoiled; larger ones are scaled down to it first."""
_MARGIN = 0.5
"""Of the image's sides, mirrored around it so that turning it leaves no empty corners."""


def working(image: Image.Image) -> Image.Image:
    """An RGB image scaled down so that its shorter side has `WORKING` pixels; a smaller one as it is."""
    scale = WORKING / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def corrupt(image: Image.Image, name: str, severity: int, image_id: str) -> Image.Image:
    """Spoil an image; the same image by the same name is always spoiled alike.

    Args:
        image: RGB, as `working` gives it.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        image_id: decides, together with the name, what is random. A higher severity of the same image is the same
            accident, only worse.

    Raises:
        KeyError: no such corruption.
        ValueError: the severity is not 1 to 5.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be 1 to 5, got {severity}")
    number = int.from_bytes(hashlib.sha256(f"{name}/{image_id}".encode()).digest()[:8], "big")
    return CORRUPTIONS[name](image, severity - 1, np.random.default_rng(number))


def _jpeg(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=(80, 60, 40, 25, 15)[level])
    with Image.open(stream) as coded:
        return coded.convert("RGB")


def _blur(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur((0.005, 0.01, 0.015, 0.022, 0.03)[level] * min(image.size)))


def _brightness(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Too dark or too bright, by the toss of a coin."""
    amount = (0.1, 0.2, 0.3, 0.4, 0.5)[level]
    return ImageEnhance.Brightness(image).enhance(1 + amount if rng.random() < 0.5 else 1 - amount)


def _colour_cast(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Gains of the channels in a random direction, of mean 1: a lamp or a white balance."""
    direction = rng.standard_normal(3)
    direction -= direction.mean()
    gain = 1 + (0.04, 0.08, 0.12, 0.16, 0.22)[level] * direction / np.abs(direction).max()
    return _of(np.asarray(image, np.float32) * gain)


def _hair(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Ever more hairs of one colour, the same ones first."""
    ink = np.array([0.16, 0.11, 0.09]) * rng.uniform(0.7, 3.0)
    cover, _ = hair(max(image.size), rng, (4, 8, 14, 22, 32)[level])
    return _inked(image, 0.8 * cover / cover.max(), ink)


def _ruler(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    return _inked(image, *ruler(max(image.size), rng, (0.3, 0.5, 0.7, 0.85, 1.0)[level]))


def _inked(image: Image.Image, cover: np.ndarray, ink: np.ndarray) -> Image.Image:
    """Lay colour [3] over the image where a square cover [S, S], S its longer side, says so."""
    alpha = cover[: image.height, : image.width, None]
    return _of(np.asarray(image, np.float32) * (1 - alpha) + 255 * alpha * ink)


def _ink(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Strokes of a surgeon's pen around the middle, more and thicker ones."""
    side = min(image.size)
    mask = Image.new("L", image.size)
    pen = ImageDraw.Draw(mask)
    start = rng.uniform(0, 360)
    for number in range((1, 2, 2, 3, 4)[level]):
        x, y = np.array(image.size) / 2 + rng.normal(0, 0.03, 2) * side
        radius = rng.uniform(0.36, 0.48) * side
        begin = start + 90 * number + rng.uniform(0, 30)
        width = round((0.015, 0.02, 0.03, 0.04, 0.05)[level] * side)
        pen.arc((x - radius, y - radius, x + radius, y + radius), begin, begin + 60, fill=220, width=max(1, width))
    colour = tuple(int(value) for value in np.array([70, 50, 150]) + rng.integers(-25, 26, 3))
    return Image.composite(Image.new("RGB", image.size, colour), image, mask.filter(ImageFilter.GaussianBlur(1)))


def _dark_corners(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """The round edge of a dermatoscope, ever narrower; at the last it leaves a disc as wide as the shorter side."""
    x, y = np.array(image.size) / 2 + rng.normal(0, 0.02, 2) * min(image.size)
    whole, narrow = np.hypot(*image.size) / 2, 0.5 * min(image.size)
    radius = whole + (narrow - whole) * (0.2, 0.4, 0.6, 0.8, 1.0)[level]
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    soft = mask.filter(ImageFilter.GaussianBlur(0.015 * min(image.size)))
    return Image.composite(image, Image.new("RGB", image.size, (8, 6, 6)), soft)


def _bubbles(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Air in the immersion fluid: pale discs with a bright rim and a spark."""
    side = min(image.size)
    light = Image.new("L", image.size)
    for _ in range((2, 5, 10, 16, 24)[level]):
        x, y = rng.uniform(0, 1, 2) * image.size
        radius = rng.uniform(0.01, 0.045) * side
        one = Image.new("L", image.size)
        pen = ImageDraw.Draw(one)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=40, outline=170, width=max(1, side // 160))
        spark, at = 0.25 * radius, 0.4 * radius
        pen.ellipse((x - at - spark, y - at - spark, x - at + spark, y - at + spark), fill=230)
        light = ImageChops.lighter(light, one)
    return Image.composite(
        Image.new("RGB", image.size, (255, 250, 245)), image, light.filter(ImageFilter.GaussianBlur(0.6))
    )


def _rescale(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Scaled down and up again, as a thumbnail or a messenger does it."""
    share = (0.6, 0.45, 0.3, 0.2, 0.14)[level]
    small = image.resize([max(1, round(share * side)) for side in image.size], Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _rotation(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Turned one way or the other; the corners are filled with the mirrored image."""
    angle = (5, 10, 20, 30, 45)[level] * (1 if rng.random() < 0.5 else -1)
    rows, columns = (round(_MARGIN * side) for side in (image.height, image.width))
    mirrored = np.pad(np.asarray(image), ((rows, rows), (columns, columns), (0, 0)), "symmetric")
    turned = Image.fromarray(mirrored).rotate(angle, Image.Resampling.BICUBIC)
    return turned.crop((columns, rows, columns + image.width, rows + image.height))


def _crop(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """A part of the frame, somewhere within it."""
    share = (0.95, 0.9, 0.8, 0.7, 0.6)[level]
    width, height = (max(1, round(share * side)) for side in image.size)
    left, top = (
        int(rng.uniform(0, 1) * (whole - part)) for whole, part in zip(image.size, (width, height), strict=True)
    )
    return image.crop((left, top, left + width, top + height))


def _of(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray((pixels + 0.5).clip(0, 255).astype(np.uint8))


CORRUPTIONS: dict[str, Callable[[Image.Image, int, np.random.Generator], Image.Image]] = {
    "JPEG": _jpeg, "blur": _blur, "brightness": _brightness, "colour cast": _colour_cast, "hair": _hair,
    "ruler": _ruler, "ink": _ink, "dark corners": _dark_corners, "bubbles": _bubbles, "rescale": _rescale,
    "rotation": _rotation, "crop": _crop,
}  # fmt: skip
"""Each spoils an RGB image at a severity of 0 to 4 with a generator of random numbers."""
