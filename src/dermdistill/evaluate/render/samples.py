"""Some of the judged images with the models' answers, as thumbnails that lie inside the page."""

import base64
import io
from dataclasses import dataclass
from itertools import islice

import numpy as np

from dermdistill.classes import CLASS_NAMES
from dermdistill.evaluate.comparison import Comparison
from dermdistill.images.preprocess import ImageError, load_rgb

SIDE = 160
"""The longer side of a thumbnail in pixels."""
POINT = "sensitivity_95"
"""The operating point of the answers that are shown."""


@dataclass(frozen=True)
class Answer:
    """What one model says of an image."""

    model: str
    p: float
    """The calibrated probability of melanoma."""
    positive: bool | None
    """Whether it reaches the model's threshold; None if there is none."""


@dataclass(frozen=True)
class Sample:
    """One image with all models' answers."""

    image_id: str
    uri: str
    melanoma: bool
    truth: str
    answers: list[Answer]


def samples(comparison: Comparison, count: int) -> list[Sample]:
    """Images drawn at random by the bootstrap's seed, half of them melanomas; those that cannot be opened are left out.

    Args:
        comparison: the judged images, at the manifest's paths.
        count: how many at most.
    """
    if count == 0:
        return []
    generator = np.random.default_rng(comparison.spec.seed)
    y = comparison.table["melanoma"].to_numpy(int)
    wanted = {1: count // 2, 0: count - count // 2}
    found = []
    for label, number in wanted.items():
        rows = generator.permutation(np.flatnonzero(y == label))[: 4 * number]
        thumbnails = ((int(row), _thumbnail(comparison.table["path"].iloc[row])) for row in rows)
        readable = ((row, uri) for row, uri in thumbnails if uri is not None)
        found += [_sample(comparison, row, uri) for row, uri in islice(readable, number)]
    return found


def _sample(comparison: Comparison, row: int, uri: str) -> Sample:
    image = comparison.table.iloc[row]
    melanoma = bool(image["melanoma"])
    diagnosis = image["diagnosis"] if isinstance(image["diagnosis"], str) else None
    answers = []
    for name, judged in comparison.judged.items():
        p = float(judged.scored.p[row])
        threshold = judged.thresholds.get(POINT)
        answers.append(Answer(name, p, None if threshold is None else bool(p >= threshold[row])))
    truth = CLASS_NAMES.get(diagnosis or "", "melanoma" if melanoma else "not melanoma")
    return Sample(str(image["image_id"]), uri, melanoma, truth, answers)


def _thumbnail(path: str) -> str | None:
    try:
        image = load_rgb(path)
    except ImageError:
        return None
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
