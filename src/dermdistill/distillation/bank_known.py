"""Logits that other banks hold already, so that a bank copies them instead of computing them again. No torch."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from dermdistill.distillation.bank_files import Stored, read_stored
from dermdistill.distillation.bank_format import NETWORK, BankIdentity, BankTeacher
from dermdistill.distillation.bank_v1 import is_first
from dermdistill.errors import DermdistillError, IntegrityError

Known = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""A view to the logits float32 [N, C], and for which of the N images they are known, bool [N]."""


def known_logits(banks: Iterable[Path], identity: BankIdentity, teacher: BankTeacher, images: Sequence[str]) -> Known:
    """What other banks hold of the same teacher and the same views of some images.

    A bank of another identity, of the first format or with damaged headers is passed over, and so is a view that is
    missing or damaged. Every view's checksum is verified.

    Args:
        banks: folders, which need not be there.
        identity: what their logits must have been made for.
        teacher: whose weights, size, mean and standard deviation must be theirs.
        images: SHA-256 of N images.
    """
    place = {sha256: row for row, sha256 in enumerate(images)}
    held = []
    for stored in filter(None, map(_opened, banks)):
        same = [one for one in stored.teachers if all(getattr(one, key) == getattr(teacher, key) for key in NETWORK)]
        if same and stored.identity == identity:
            rows = np.array([place.get(sha256, -1) for sha256 in stored.images], np.int64)
            held.append((stored, same[0], rows))

    def known(view: int) -> tuple[np.ndarray, np.ndarray]:
        logits = np.zeros((len(images), len(identity.classes)), np.float32)
        there = np.zeros(len(images), bool)
        for stored, one, rows in held:
            try:
                found = stored.read(one, view)
            except IntegrityError:
                continue
            logits[rows[rows >= 0]] = found[rows >= 0]
            there[rows[rows >= 0]] = True
        return logits, there

    return known


def _opened(folder: Path) -> Stored | None:
    try:
        return read_stored(folder) if (folder / "bank.json").exists() and not is_first(folder) else None
    except DermdistillError:
        return None
