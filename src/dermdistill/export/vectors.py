"""The test vectors of a bundle, with the answers of the network itself."""

from typing import Any

import torch
from PIL import Image

from dermdistill.export.formats.onnx import Deployed
from dermdistill.export.parity import PIXEL_TOLERANCE, RESIZED_TOLERANCE
from dermdistill.images.preprocess import resize_square
from dermdistill.predict.header import Pattern, Vector, Vectors
from dermdistill.predict.runtime import as_batch
from dermdistill.predict.vectors import draw, encode_samples, sha256_pixels


def make_vectors(model: Deployed, size: int) -> dict[str, Any]:
    """Draw the images, resize them as training does, and ask the network.

    Args:
        model: the network as it was exported.
        size: side of its input in pixels.

    Returns:
        `dermdistill.predict.header.Vectors`, as plain values.
    """
    images = []
    for name, pattern in _patterns(size).items():
        image = draw(pattern)
        resized = resize_square(Image.fromarray(image), size)
        with torch.inference_mode():
            logits, probabilities = (part[0].double() for part in model(torch.from_numpy(as_batch(resized[None]))))
        images.append(
            Vector(
                name=name, image=pattern, image_sha256=sha256_pixels(image), resized_sha256=sha256_pixels(resized),
                resized_samples=encode_samples(resized), logits=tuple(logits.tolist()),
                probabilities=tuple(probabilities.clamp(0, 1).tolist()),
            )
        )  # fmt: skip
    made = Vectors(pixel_tolerance=PIXEL_TOLERANCE, probability_tolerance=RESIZED_TOLERANCE, images=tuple(images))
    return made.model_dump(mode="json")


def _patterns(size: int) -> dict[str, Pattern]:
    """Images that are enlarged, shrunk, both, and left as they are."""
    return {
        "single": Pattern(width=1, height=1, base=(160, 110, 90), xx=0, xy=0, yy=0),
        "same": Pattern(width=size, height=size, base=(170, 120, 100), xx=1, xy=2, yy=1),
        "enlarged": Pattern(width=31, height=24, base=(150, 90, 70), xx=9, xy=7, yy=5),
        "shrunk": Pattern(width=600, height=450, base=(170, 120, 100), xx=1, xy=0, yy=1),
        "tall": Pattern(width=37, height=500, base=(120, 70, 60), xx=5, xy=3, yy=1),
        "wide": Pattern(width=1023, height=29, base=(190, 150, 130), xx=1, xy=3, yy=7),
        "large": Pattern(width=1200, height=900, base=(100, 60, 40), xx=3, xy=5, yy=2),
    }
