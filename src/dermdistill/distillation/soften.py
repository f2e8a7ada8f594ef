"""Write a teacher's logits into a bank."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dermdistill import talk
from dermdistill.distillation.bank_files import open_folder, open_teacher, read_stored, to_half, undone, write_view
from dermdistill.distillation.bank_format import BankIdentity, BankTeacher
from dermdistill.distillation.bank_known import known_logits
from dermdistill.distillation.bank_v1 import refuse_writing
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.distillation.labels import ensemble, teacher_logits
from dermdistill.errors import InputError
from dermdistill.images.views import COLUMNS, sample_views, view_seed
from dermdistill.training.task import ImageSet


def write_teacher(
    folder: str | Path, identity: BankIdentity, teacher: FrozenTeacher, header: dict[str, Any], images: ImageSet,
    views: int, *, device: torch.device, batch_size: int = 128, others: Sequence[Path] = (),
) -> BankTeacher:  # fmt: skip
    """Write one teacher's logits into a bank, go on with them, or add views; those of other teachers stay.

    Views that are there and whole are not computed again, and logits that other banks hold are copied. These are the
    ones that were computed there: computed anew they could differ in their last float16 digit, because a batch of
    other images may be summed in another order. Memory holds the images of one batch and the logits of one
    file, however many views there are.

    Args:
        folder: the bank, which is made if need be.
        identity: what the bank is for.
        teacher: frozen.
        header: its run header.
        images: all training images, in any order, at the size of this teacher.
        views: how many views it shall have at least, the plain one included.
        device: where it computes.
        batch_size: images a forward pass.
        others: folders of banks which may hold some of the logits; those that are not there or do not fit are passed
            over.

    Returns:
        Its header in the bank.

    Raises:
        InputError: the folder holds another bank or other images, the teacher has other classes, or its logits are
            not finite.
    """
    folder = Path(folder)
    refuse_writing(folder)
    if tuple(header["classes"]) != identity.classes:
        raise InputError(
            f"the teachers of a bank must share their classes: '{header['name']}' has {tuple(header['classes'])}, "
            f"the bank {identity.classes}"
        )
    bank, order = open_folder(folder, identity, images.sha256s)
    entry = open_teacher(folder, BankTeacher.of_run(header))
    todo = undone(read_stored(folder), entry, views)
    place = {sha256: row for row, sha256 in enumerate(images.sha256s)}
    rows = np.array([place[sha256] for sha256 in order], np.int64)
    known = known_logits(others, identity, entry, order)
    teacher = teacher.to(device)
    with talk.bars() as bars:
        bar = bars.add_task(f"soften {entry.name}", total=len(todo))
        for view in todo:
            logits, there = known(view)
            if not there.all():
                logits[~there] = _view(teacher, images, rows[~there], view, identity, device, batch_size)
            entry = write_view(folder, bank.shard, entry, view, to_half(logits, entry.name))
            bars.advance(bar)
    return entry


def _view(
    teacher: FrozenTeacher, images: ImageSet, rows: np.ndarray, view: int, identity: BankIdentity,
    device: torch.device, batch_size: int,
) -> np.ndarray:  # fmt: skip
    """The logits of one view of the images at `rows`, float32 [N, C]."""
    seed, parts = view_seed(identity.seed, view), []
    for start in range(0, len(rows), batch_size):
        which = rows[start : start + batch_size]
        parameters = sample_views([images.sha256s[row] for row in which], seed, identity.spec)
        parts.append(_averaged(teacher, images, which, parameters, identity.turns, device))
    return np.concatenate(parts)


def _averaged(
    teacher: FrozenTeacher, images: ImageSet, which: np.ndarray, parameters: np.ndarray, turns: int,
    device: torch.device,
) -> np.ndarray:  # fmt: skip
    """Logits of views, or the log of the probabilities averaged over their symmetries, float32 [B, C]."""
    found = []
    for turn in range(0, 8, 8 // turns):
        turned = parameters.copy()
        turned[:, COLUMNS.index("turn")] = turn
        found.append(teacher_logits([teacher], [images], which, turned, device)[:, 0])
    logits = found[0] if turns == 1 else ensemble(torch.stack(found, 1))
    return logits.cpu().numpy()
