"""A bank in shares: several processes, on one machine or many, each compute the logits of some of its images.

A share is a bank of its own, of neighbouring images in the order of their digests, and of whole batches: so each of
its forward passes is one that the whole bank would make, and its logits are the same, bit for bit. `soften` copies
them into the bank.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from dermdistill.errors import InputError
from dermdistill.training.task import ImageSet

_FORM = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")


@dataclass(frozen=True)
class Share:
    """The `number`-th of `count` shares, counted from 1."""

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> Self:
        """A share such as '2/8'.

        Raises:
            InputError: another form, or a number above the count.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None or int(found[1]) > int(found[2]):
            raise InputError(f"--part must be K/N with K from 1 to N, such as 2/8, got '{text}'")
        return cls(int(found[1]), int(found[2]))

    def folder(self, bank: Path) -> Path:
        """Where the share of a bank lies, beside it."""
        return shares_folder(bank) / f"{self.number}-of-{self.count}"

    def of(self, images: ImageSet, batch_size: int) -> ImageSet:
        """The images of the share.

        Args:
            images: all of the bank, in any order.
            batch_size: of the bank's forward passes.

        Raises:
            InputError: there are fewer batches than shares.
        """
        order = sorted(set(images.sha256s))
        batches = -(-len(order) // batch_size)
        if batches < self.count:
            raise InputError(
                f"{len(order)} images in batches of {batch_size} make {batches} parts at most, {self.count} are asked "
                "for; ask for fewer, or lower soften.batch_size"
            )
        start, end = (place * batches // self.count * batch_size for place in (self.number - 1, self.number))
        return subset(images, order[start:end])


def shares_folder(bank: Path) -> Path:
    """The folder of a bank's shares."""
    return bank.with_name(f"{bank.name}-parts")


def shares_of(bank: Path) -> list[Path]:
    """The folders of the shares of a bank that are there."""
    return sorted(path.parent for path in shares_folder(bank).glob("*-of-*/bank.json"))


def subset(images: ImageSet, sha256s: Sequence[str]) -> ImageSet:
    """The images of these digests, in the order that they have.

    Args:
        images: all.
        sha256s: of those that are wanted.
    """
    wanted = set(sha256s)
    which = np.array([place for place, sha256 in enumerate(images.sha256s) if sha256 in wanted], np.int64)
    return replace(
        images,
        ids=tuple(images.ids[place] for place in which),
        sha256s=tuple(images.sha256s[place] for place in which),
        rows=images.rows[which],
        labels=images.labels[which],
        photographs=None if images.photographs is None else images.photographs[which],
        lesions=None if images.lesions is None else images.lesions[which],
        resident=None if images.resident is None else images.resident[which],
    )
