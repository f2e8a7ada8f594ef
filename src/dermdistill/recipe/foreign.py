"""The views that a recipe's students are shown, rendered for a teacher that is run elsewhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from dermdistill import talk
from dermdistill.classes import BINARY_CLASSES
from dermdistill.distillation.foreign import VIEWS_ID, views_id
from dermdistill.errors import InputError
from dermdistill.files import atomic_path
from dermdistill.images.render import apply_views
from dermdistill.images.views import sample_views, view_seed
from dermdistill.recipe.session import Session
from dermdistill.training.task import ImageSet, image_sets

INDEX = "views.csv"


@dataclass(frozen=True)
class Rendered:
    """One view of some images, as students see it."""

    view: int
    """0 is the plain image."""
    views_id: str
    """What decides how the views look; a table of logits must name it."""
    image_ids: tuple[str, ...]
    sha256s: tuple[str, ...]
    pixels: Tensor
    """RGB float32 [B, 3, S, S] in [0, 1]."""


def render_views(session: Session, size: int, batch_size: int = 32) -> Iterator[Rendered]:
    """Every view that a table of logits must cover: all views of images that train, the plain image of the others.

    Args:
        session: of a recipe whose data and splits are done.
        size: side S of the views in pixels, the foreign teacher's own.
        batch_size: images at a time.

    Raises:
        InputError: a size or batch size below 1, or no image can be read.
    """
    if size < 1 or batch_size < 1:
        raise InputError(f"size and batch_size must be at least 1, got {size} and {batch_size}")
    soften = session.work.recipe.soften
    which = views_id(soften)
    for view, images in _views(session, size):
        seed = view_seed(soften.seed, view)
        for start in range(0, len(images), batch_size):
            rows = np.arange(start, min(start + batch_size, len(images)))
            sha256s = tuple(images.sha256s[row] for row in rows)
            parameters = torch.from_numpy(sample_views(sha256s, seed, soften.spec))
            pixels = apply_views(images.pixels(rows), parameters, size)
            yield Rendered(view, which, tuple(images.ids[row] for row in rows), sha256s, pixels)


def _views(session: Session, size: int) -> Iterator[tuple[int, ImageSet]]:
    """Each view and the images that need it."""
    roles = [session.cohort(part).roles for part in session.parts]
    train = sorted({name for part in roles for name in part["train"]})
    others = sorted({name for part in roles for ids in part.values() for name in ids} - set(train))
    wanted = {"train": train, "validation": [], "test": others}
    sets = image_sets(session.manifest, wanted, size, BINARY_CLASSES, session.work.cache)
    for view in range(session.work.recipe.soften.views):
        yield view, sets["train"]
    if len(sets["test"]):
        yield 0, sets["test"]


def count_views(session: Session) -> int:
    """How many pictures `render_views` gives at most."""
    roles = [session.cohort(part).roles for part in session.parts]
    train = {name for part in roles for name in part["train"]}
    every = {name for part in roles for ids in part.values() for name in ids}
    return len(train) * session.work.recipe.soften.views + len(every - train)


def write_views(session: Session, folder: str | Path, size: int) -> int:
    """Write every view as a PNG file, and views.csv with image_id, sha256, view, views_id and file.

    Args:
        session: of a recipe whose data and splits are done.
        folder: gets view-00000/SHA256.png, ….
        size: side of the views in pixels.

    Returns:
        How many rows views.csv has. It is written last.
    """
    folder, rows = Path(folder), []
    with talk.bars() as bars:
        bar = bars.add_task(f"views of {size} px", total=count_views(session))
        for part in render_views(session, size):
            place = f"view-{part.view:05d}"
            (folder / place).mkdir(parents=True, exist_ok=True)
            pixels = part.pixels.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            for name, sha256, picture in zip(part.image_ids, part.sha256s, pixels, strict=True):
                with atomic_path(folder / place / f"{sha256}.png") as temporary:
                    Image.fromarray(picture).save(temporary, "PNG")
                rows.append((name, sha256, part.view, part.views_id, f"{place}/{sha256}.png"))
            bars.advance(bar, len(pixels))
    columns = ["image_id", "sha256", "view", VIEWS_ID, "file"]
    with atomic_path(folder / INDEX) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False)
    return len(rows)


def label_views(
    session: Session, teacher: Callable[[Tensor], Any], classes: tuple[str, ...], out: str | Path, size: int,
    batch_size: int = 32,
) -> int:  # fmt: skip
    """Ask any callable for the logits of every view, and write the table that a recipe's `logits.file` names.

    Args:
        session: of a recipe whose data and splits are done.
        teacher: takes RGB float32 [B, 3, S, S] in [0, 1] and gives logits [B, C], a tensor or an array, or an object
            that has them as `logits`, as Hugging Face's models do.
        classes: the C classes in the teacher's order and words.
        out: the Parquet table.
        size: side S in pixels.
        batch_size: images at a time.

    Returns:
        How many rows the table has.

    Raises:
        InputError: the teacher gives something else, or logits that are not finite.
    """
    if len(set(classes)) != len(classes):
        raise InputError(f"the teacher's classes must differ, got {list(classes)}")
    tables = []
    with talk.bars() as bars, torch.inference_mode():
        bar = bars.add_task("label views", total=count_views(session))
        for part in render_views(session, size, batch_size):
            logits = _logits(teacher(part.pixels), len(part.image_ids), classes)
            table = pd.DataFrame(logits, columns=[f"logit_{name}" for name in classes])
            for name, values in (
                (VIEWS_ID, part.views_id), ("view", part.view), ("sha256", part.sha256s), ("image_id", part.image_ids),
            ):  # fmt: skip
                table.insert(0, name, values)
            tables.append(table)
            bars.advance(bar, len(logits))
    whole = pd.concat(tables, ignore_index=True)
    with atomic_path(out) as temporary:
        whole.to_parquet(temporary, index=False)
    return len(whole)


def _logits(answer: Any, count: int, classes: tuple[str, ...]) -> np.ndarray:
    """A teacher's answer as float32 [B, C]."""
    found = getattr(answer, "logits", answer)
    values = found.float().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found, np.float32)
    if values.shape != (count, len(classes)):
        raise InputError(
            f"the teacher must give logits of shape ({count}, {len(classes)}) for {count} images and the classes "
            f"{list(classes)}, got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise InputError("the teacher gives logits that are not finite; check its weights and its normalisation")
    return values
