"""The judged images on which a model is most right and most wrong, with what it reacts to."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dermdistill.classes import CLASS_NAMES
from dermdistill.evaluate.comparison import Comparison
from dermdistill.images.preprocess import ImageError, load_rgb

SIDE = 160
"""The longer side of a picture in pixels."""
Explainer = Callable[[Image.Image], Image.Image]
"""Gives the map of what the model reacts to in an upright RGB image: RGBA, of any size, to be laid over the image."""


@dataclass(frozen=True)
class Shown:
    """What is shown of a case."""

    explain: Explainer | None = None
    """Draws the map; None for none."""
    picture: bool = True
    """Whether the image itself is shown; without it, its map lies on white."""


@dataclass(frozen=True)
class Case:
    """One image."""

    image_id: str
    truth: str
    p: float
    """The calibrated probability of melanoma."""
    uri: str | None
    """The image; None for a page that is passed on without images."""
    overlay: str | None
    """Its map, laid over the image if that is shown; None where no bundle was given."""


@dataclass(frozen=True)
class Cases:
    """The images of one model, by what happened to them."""

    model: str
    groups: dict[str, list[Case]]


def cases(comparison: Comparison, model: str, count: int, shown: Shown = Shown()) -> Cases | None:
    """Melanomas and other lesions with the highest and the lowest probabilities; None if no image can be opened.

    Args:
        comparison: the judged images, at the manifest's paths.
        model: whose probabilities order them.
        count: how many of each kind.
        shown: what is shown of each; of the images themselves nothing lies in the page without their pictures.
    """
    scored = comparison.judged[model].scored
    rising = np.argsort(scored.p, kind="stable")
    is_melanoma = scored.y[rising].astype(bool)
    kinds = {
        "Melanomas that it misses most": rising[is_melanoma],
        "Other lesions that it suspects most": rising[~is_melanoma][::-1],
        "Melanomas that it is surest of": rising[is_melanoma][::-1],
        "Other lesions that it is surest of": rising[~is_melanoma],
    }
    groups = {title: _first(comparison, scored.p, rows, count, shown) for title, rows in kinds.items()}
    found = {title: known for title, known in groups.items() if known}
    return Cases(model, found) if found else None


def _first(comparison: Comparison, p: np.ndarray, rows: np.ndarray, count: int, shown: Shown) -> list[Case]:
    """The first images that can be opened, one a lesion; after a few times as many as are wanted it gives up."""
    found: list[Case] = []
    first = np.sort(np.unique(comparison.cluster[rows], return_index=True)[1])
    for row in rows[first[: 3 * count]]:
        of = comparison.table.iloc[int(row)]
        try:
            image = load_rgb(of["path"])
        except ImageError:
            continue
        melanoma = "melanoma" if of["melanoma"] else "not melanoma"
        truth = CLASS_NAMES.get(of["diagnosis"], melanoma) if isinstance(of["diagnosis"], str) else melanoma
        overlay = None if shown.explain is None else _uri(_mapped(image, shown.explain(image), shown.picture))
        picture = _uri(image) if shown.picture else None
        found.append(Case(str(of["image_id"]), truth, float(p[row]), picture, overlay))
        if len(found) == count:
            break
    return found


def _mapped(image: Image.Image, over: Image.Image, picture: bool) -> Image.Image:
    """The map over the image, or over white of the same shape."""
    below = image.copy() if picture else Image.new("RGB", image.size, "white")
    over = over.resize(below.size, Image.Resampling.BICUBIC)
    below.paste(over, mask=over.getchannel("A"))
    return below


def _uri(image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
