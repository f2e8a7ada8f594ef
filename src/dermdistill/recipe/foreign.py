"""The views that a recipe's students are shown, rendered for a teacher that is run elsewhere.

Rendering and labelling can be stopped: what is finished lies in files of its own, and the same call goes on from there.
"""

import shutil
import time
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
from dermdistill.files import atomic_path, read_json, sha256_json, write_json
from dermdistill.images.render import apply_views
from dermdistill.images.views import sample_views, view_seed
from dermdistill.recipe.session import Session
from dermdistill.training.task import ImageSet, image_sets

INDEX = "views.csv"
HEADER = "views.json"
"""Beside views or parts of a table: what they are of, so that no others are taken for them."""
PART_SECONDS = 30.0
"""Labelling keeps a part of its table each time so many seconds have passed."""


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
    return (_render(session, size, batch) for batch in _batches(session, size, batch_size))


@dataclass(frozen=True)
class _Batch:
    """Some rows of a set of images, and the view that they are to be shown in."""

    view: int
    images: ImageSet
    rows: np.ndarray

    @property
    def sha256s(self) -> tuple[str, ...]:
        return tuple(self.images.sha256s[row] for row in self.rows)

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(self.images.ids[row] for row in self.rows)


def _batches(session: Session, size: int, batch_size: int) -> list[_Batch]:
    """All batches in their order, none of them rendered yet."""
    if size < 1 or batch_size < 1:
        raise InputError(f"size and batch_size must be at least 1, got {size} and {batch_size}")
    return [
        _Batch(view, images, np.arange(start, min(start + batch_size, len(images))))
        for view, images in _views(session, size)
        for start in range(0, len(images), batch_size)
    ]


def _render(session: Session, size: int, batch: _Batch) -> Rendered:
    soften = session.work.recipe.soften
    parameters = torch.from_numpy(sample_views(batch.sha256s, view_seed(soften.seed, batch.view), soften.spec))
    pixels = apply_views(batch.images.pixels(batch.rows), parameters, size)
    return Rendered(batch.view, views_id(soften), batch.image_ids, batch.sha256s, pixels)


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


def _claim(folder: Path, what: dict[str, Any], batches: list[_Batch]) -> None:
    """Say in a folder what its files are of, or refuse one whose files are of something else.

    Raises:
        InputError: it holds files of other views, or files that do not tell.
    """
    batch_rows = [[batch.view, *batch.sha256s] for batch in batches]
    what = {**what, "images_sha256": sha256_json(batch_rows)}
    if not (folder / HEADER).exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder} holds files but no {HEADER} that says of which views; name a new or empty folder"
            )
        write_json(folder / HEADER, what)
    held = read_json(folder / HEADER)
    if held != what:
        differs = [key for key in what if not isinstance(held, dict) or held.get(key) != what[key]]
        told = ", ".join(
            f"{key} is {held.get(key) if isinstance(held, dict) else None}, not {what[key]}" for key in differs
        )
        raise InputError(
            f"{folder} holds the work of another call ({told}); delete it to begin anew, or call as before"
        )


def write_views(session: Session, folder: str | Path, size: int) -> int:
    """Write every view as a PNG file, and views.csv with image_id, sha256, view, views_id and file.

    Pictures that an earlier call of the same kind has written stay as they are.

    Args:
        session: of a recipe whose data and splits are done.
        folder: gets view-00000/SHA256.png, ….
        size: side of the views in pixels.

    Returns:
        How many rows views.csv has. It is written last.

    Raises:
        InputError: the folder holds something else, or views of another recipe or size.
    """
    folder, rows = Path(folder), []
    batches, which = _batches(session, size, 32), views_id(session.work.recipe.soften)
    _claim(folder, {"size": size, VIEWS_ID: which}, batches)
    with talk.bars() as bars:
        bar = bars.add_task(f"views of {size} px", total=sum(len(batch.rows) for batch in batches))
        for batch in batches:
            places = [f"view-{batch.view:05d}/{sha256}.png" for sha256 in batch.sha256s]
            if not all((folder / place).exists() for place in places):
                _draw(_render(session, size, batch), [folder / place for place in places])
            rows += [
                (name, sha256, batch.view, which, place)
                for name, sha256, place in zip(batch.image_ids, batch.sha256s, places, strict=True)
            ]
            bars.advance(bar, len(batch.rows))
    columns = ["image_id", "sha256", "view", VIEWS_ID, "file"]
    with atomic_path(folder / INDEX) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False)
    return len(rows)


def _draw(part: Rendered, paths: list[Path]) -> None:
    pixels = part.pixels.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for path, picture in zip(paths, pixels, strict=True):
        with atomic_path(path) as temporary:
            Image.fromarray(picture).save(temporary, "PNG")


def label_views(
    session: Session, teacher: Callable[[Tensor], Any], classes: tuple[str, ...], out: str | Path, size: int,
    batch_size: int = 32,
) -> int:  # fmt: skip
    """Ask any callable for the logits of every view, and write the table that a recipe's `logits.file` names.

    Until the table is whole, what is labelled lies in parts in a folder beside it, <name>.parts. The same call goes on
    from there, and the table gets the bytes that it would have got without the stop. The teacher is asked for the first
    batch again, so that the parts of another teacher are found.

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
        InputError: the teacher gives something else, or logits that are not finite; or there are parts of another call,
            or of a teacher that gives other logits.
    """
    if len(set(classes)) != len(classes):
        raise InputError(f"the teacher's classes must differ, got {list(classes)}")
    out = Path(out)
    parts, batches = out.with_name(f"{out.name}.parts"), _batches(session, size, batch_size)
    which = views_id(session.work.recipe.soften)
    _claim(parts, {"size": size, VIEWS_ID: which, "batch_size": batch_size, "classes": list(classes)}, batches)

    def ask(batch: _Batch) -> pd.DataFrame:
        return _label(teacher, _render(session, size, batch), classes)

    with talk.bars() as bars, torch.inference_mode():
        bar = bars.add_task("label views", total=sum(len(batch.rows) for batch in batches))
        done = _resumed(parts, ask, batches)
        bars.advance(bar, sum(len(batch.rows) for batch in batches[:done]))
        waiting: list[pd.DataFrame] = []
        began = time.monotonic()
        for number, batch in enumerate(batches[done:], done + 1):
            waiting.append(ask(batch))
            bars.advance(bar, len(batch.rows))
            if number == len(batches) or time.monotonic() - began >= PART_SECONDS:
                _write(pd.concat(waiting, ignore_index=True), parts / f"{done:06d}-{number:06d}.parquet")
                done, waiting, began = number, [], time.monotonic()
    whole = pd.concat([pd.read_parquet(path) for path, _ in _kept(parts)], ignore_index=True)
    _write(whole, out)
    shutil.rmtree(parts)
    return len(whole)


def _kept(parts: Path) -> list[tuple[Path, int]]:
    """The parts that follow one another from the first batch on, and after how many batches each ends."""
    found: list[tuple[Path, int]] = []
    for path in sorted(parts.glob("[0-9]*-[0-9]*.parquet")):
        start, end = map(int, path.stem.split("-"))
        if start == (found[-1][1] if found else 0):
            found.append((path, end))
    return found


def _resumed(parts: Path, ask: Callable[[_Batch], pd.DataFrame], batches: list[_Batch]) -> int:
    """How many batches are labelled already, by this teacher."""
    kept = _kept(parts)
    if not kept:
        return 0
    again = ask(batches[0])
    held = pd.read_parquet(kept[0][0]).head(len(again))
    columns = [name for name in again.columns if name.startswith("logit_")]
    before, now = held[columns].to_numpy(), again[columns].to_numpy()
    if not np.allclose(before, now, rtol=1e-2, atol=1e-2):
        raise InputError(
            f"{parts} holds the logits of another teacher: for the first images they differ by up to "
            f"{np.abs(before - now).max():.3g}; delete it to begin anew"
        )
    return kept[-1][1]


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def _label(teacher: Callable[[Tensor], Any], part: Rendered, classes: tuple[str, ...]) -> pd.DataFrame:
    """The rows of a batch in the table."""
    logits = _logits(teacher(part.pixels), len(part.image_ids), classes)
    table = pd.DataFrame(logits, columns=[f"logit_{name}" for name in classes])
    for name, values in (
        (VIEWS_ID, part.views_id), ("view", part.view), ("sha256", part.sha256s), ("image_id", part.image_ids),
    ):  # fmt: skip
        table.insert(0, name, values)
    return table


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
