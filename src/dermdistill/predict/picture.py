"""The picture of a map: an image under its map, and above a band with what must be said beside it."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dermdistill.predict.explain import Explanation, colours

SIDES = 512, 1024
"""Bounds of a picture's longer side without its band, in pixels; smaller images are enlarged."""
WARNING = "RESEARCH ONLY - NOT FOR CLINICAL USE"
_LEGEND = "Covering the warm parts lowers the value, covering the cool ones raises it. Not where a melanoma is."
_PAPER, _INK, _ALARM = (255, 255, 255), (20, 20, 20), (176, 0, 0)


def draw_map(image: Image.Image, explanation: Explanation, facts: str) -> np.ndarray:
    """Draw a map over its image, with the warning, the facts and the legend in a band below.

    Args:
        image: RGB, upright, of any size.
        explanation: of this image.
        facts: a line on the model and its answer; nothing about the patient.

    Returns:
        RGB, uint8 [height, width, 3], the longer side without the band within `SIDES`.
    """
    longest = max(image.size)
    scale = min(SIDES[1], max(SIDES[0], longest)) / longest
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    below = image.resize(size, Image.Resampling.LANCZOS) if size != image.size else image.copy()
    over = Image.fromarray(colours(explanation.effects)).resize(size, Image.Resampling.BICUBIC)
    below.paste(over, mask=over.getchannel("A"))
    return _with_band(below, ((WARNING, _ALARM), (facts, _INK), (_LEGEND, _INK)))


def _with_band(image: Image.Image, texts: tuple[tuple[str, tuple[int, int, int]], ...]) -> np.ndarray:
    letters = max(13, max(image.size) // 48)
    font = ImageFont.load_default(letters)
    width = max(image.width, SIDES[0] // 2)
    room = width - letters
    lines = [(line, colour) for text, colour in texts for line in _wrapped(text, font, room)]
    step = round(1.35 * letters)
    sheet = Image.new("RGB", (width, image.height + step * len(lines) + letters), _PAPER)
    sheet.paste(image, ((width - image.width) // 2, 0))
    pen = ImageDraw.Draw(sheet)
    for at, (line, colour) in enumerate(lines):
        pen.text((letters // 2, image.height + letters // 2 + at * step), line, colour, font)
    return np.array(sheet)


def _wrapped(text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", room: int) -> list[str]:
    """A text in lines that are at most `room` pixels wide, as far as its words allow."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
