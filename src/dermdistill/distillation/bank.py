"""The soft-label bank: the logits of each teacher for many views of each image, written once, read often.

A folder, in which each teacher has one of its own, so that adding or removing one touches no other:

    bank.json                        which views of which images (`BankHeader`); never changes
    images.txt                       the images' SHA-256 digests in ascending order
    0123456789abcdef/teacher.json    the teacher, named by its hash, and a checksum of each view (`BankTeacher`)
    0123456789abcdef/views-00000.safetensors    `logits` float16 [16 views, images, classes]

Each file is written whole or not at all, so that a killed `soften` goes on with the next view. More views can be added
at any time. Reading takes only the views that are asked for, one at a time. No torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from dermdistill.distillation.bank_files import Stored, checksum, read_stored, to_half, undone, write_teacher_views
from dermdistill.distillation.bank_format import BankIdentity, BankTeacher, refuse_another
from dermdistill.distillation.bank_v1 import is_first, read_first, refuse_writing
from dermdistill.errors import InputError
from dermdistill.files import sha256_json
from dermdistill.run import TABLE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bank:
    """The chosen teachers and views of a bank on disk.

    Example:
        Two images, their plain view and one other, and the logits of a teacher that was run elsewhere:

        >>> import pandas as pd, tempfile
        >>> table = pd.DataFrame({
        ...     "sha256": ["a" * 64, "b" * 64] * 2, "view": [0, 0, 1, 1],
        ...     "logit_other": [0.0, 2.0, 1.0, 1.0], "logit_mel": [3.0, 0.0, 2.0, 0.0],
        ... })
        >>> identity = BankIdentity(manifest_sha256="c" * 64, classes=("other", "mel"))
        >>> folder = tempfile.mkdtemp()
        >>> bank = Bank.add_logits(folder, identity, "elsewhere", table)
        >>> bank.views, [teacher.name for teacher in bank.teachers], len(bank.images)
        (2, ['elsewhere'], 2)
        >>> bank.logits(0).tolist()
        [[[-3.0, 0.0]], [[0.0, -2.0]]]
        >>> Bank.open(folder, views=1).views
        1
    """

    folder: Path
    stored: Stored
    """All that the folder holds."""
    teachers: tuple[BankTeacher, ...]
    """M, in the order of the logits."""
    views: int
    """Views of each image, view 0 being the plain image."""

    @classmethod
    def open(
        cls, folder: str | Path, *, teachers: Sequence[str] | None = None, views: int | None = None,
        identity: BankIdentity | None = None,
    ) -> Self:  # fmt: skip
        """Open a bank of either format.

        Args:
            folder: the bank.
            teachers: full hashes of the teachers' weights, in the wanted order; by default all of the bank.
            views: how many; by default as many as each of the teachers has.
            identity: what the bank must have been made for, if that matters.

        Raises:
            InputError: no bank there, another bank, or one that lacks a teacher or views.
            IntegrityError: a header is damaged or of another format.
        """
        folder = Path(folder)
        stored = read_first(folder) if is_first(folder) else read_stored(folder)
        if identity is not None:
            refuse_another(folder, stored.identity, identity)
        whole = cls(folder, stored, stored.teachers, min((one.views for one in stored.teachers), default=0))
        return whole.select(teachers, views)

    def select(self, teachers: Sequence[str] | None = None, views: int | None = None) -> Self:
        """The same bank with other teachers or views, by default with the same.

        Args:
            teachers: full hashes of the teachers' weights, in the wanted order.
            views: how many.

        Raises:
            InputError: the bank lacks one of them.
        """
        there = {teacher.model_sha256: teacher for teacher in self.stored.teachers}
        lacking = [sha256[:16] for sha256 in teachers or () if sha256 not in there]
        if lacking:
            known = ", ".join(f"{one.name} {one.folder}" for one in there.values()) or "none"
            raise InputError(
                f"{self.folder} lacks the teachers {', '.join(lacking)}, it has {known}; run `dermdistill soften` first"
            )
        chosen = self.teachers if teachers is None else tuple(there[sha256] for sha256 in teachers)
        if not chosen:
            raise InputError(f"{self.folder} holds no teacher's logits; run `dermdistill soften` first")
        fewest = min(chosen, key=lambda teacher: teacher.views)
        if views is None:
            views = fewest.views if teachers is not None else self.views
        if not 1 <= views <= fewest.views:
            raise InputError(
                f"{self.folder} holds {fewest.views} views of the teacher '{fewest.name}', {views} are asked for; "
                "run `dermdistill soften` again, it goes on where it was"
            )
        return replace(self, teachers=chosen, views=views)

    @property
    def identity(self) -> BankIdentity:
        """What the bank was made for: manifest, classes, seed and ranges of the views."""
        return self.stored.identity

    @property
    def images(self) -> tuple[str, ...]:
        """SHA-256 of each of the N images, in the order of the logits."""
        return self.stored.images

    @property
    def classes(self) -> tuple[str, ...]:
        """The C classes, in the order of the logits."""
        return self.identity.classes

    @property
    def synthetic(self) -> bool:
        """Whether images, or those that a teacher learned from, are generated."""
        return self.identity.synthetic or any(teacher.synthetic for teacher in self.teachers)

    @property
    def sha256(self) -> str:
        """The hash of the chosen views of the chosen teachers; what is added to the bank later does not change it."""
        if self.stored.sha256 is not None:  # format 1, as its students' runs name it
            whole = self.teachers == self.stored.teachers
            return self.stored.sha256 if whole else sha256_json([self.stored.sha256, self._hashes])
        checksums = [teacher.checksums[: self.views] for teacher in self.teachers]
        return sha256_json([self.identity.sha256(), sha256_json(self.images), self._hashes, checksums])

    @property
    def _hashes(self) -> list[str]:
        return [teacher.model_sha256 for teacher in self.teachers]

    def logits(self, view: int, teachers: Sequence[str] | None = None) -> np.ndarray:
        """The logits of one view of all images.

        Args:
            view: 0 to `views` - 1.
            teachers: full hashes of the teachers' weights; by default the chosen ones.

        Returns:
            float32 [N, M, C], shifted so that the largest of each image and teacher is 0 (in format 1: as the
            teachers gave them). Rounding to float16 changes no probability by 0.001.

        Raises:
            InputError: the bank has no such view or teacher.
            IntegrityError: the view is missing or damaged.
        """
        bank = self if teachers is None else self.select(teachers)
        if not 0 <= view < bank.views:
            raise InputError(f"{self.folder} holds views 0 to {bank.views - 1}, asked for {view}")
        return np.stack([self.stored.read(teacher, view) for teacher in bank.teachers], 1).astype(np.float32)

    @staticmethod
    def missing(folder: str | Path, identity: BankIdentity, teachers: Sequence[str], views: int) -> list[str]:
        """The teachers, by their hashes, of whom some views must still be written; the others need not be loaded.

        Args:
            folder: the bank, which need not be there.
            identity: what it must have been made for.
            teachers: full hashes of the teachers' weights.
            views: how many views of each are needed.

        Raises:
            InputError: the folder holds another bank, or one of format 1 that lacks some.
        """
        folder = Path(folder)
        if not (folder / "bank.json").exists():
            return list(teachers)
        first = is_first(folder)
        stored = read_first(folder) if first else read_stored(folder)
        refuse_another(folder, stored.identity, identity)
        there = {teacher.model_sha256: teacher for teacher in stored.teachers}
        found = [sha256 for sha256 in teachers if sha256 not in there or undone(stored, there[sha256], views)]
        if found and first:
            refuse_writing(folder)
        return found

    @staticmethod
    def add_logits(
        folder: str | Path, identity: BankIdentity, name: str, table: "str | Path | pd.DataFrame", *,
        image_ids: Mapping[str, str] | None = None, fold: Mapping[str, str] | None = None,
    ) -> "Bank":  # fmt: skip
        """Add the logits of a teacher that was run elsewhere, for the views that `identity` describes.

        Args:
            folder: the bank; a new one gets the images of the table.
            identity: what the bank is made for.
            name: of the teacher.
            table: Parquet or a data frame, a row for each image and view: `sha256` (or `image_id`), `view` from 0,
                and `logit_<class>` for each class. Images that the bank does not have are passed over.
            image_ids: the SHA-256 of each `image_id`, for tables without `sha256`.
            fold: classes that only the table has, and the class to whose probability each is added.

        Returns:
            The bank with this teacher chosen.

        Raises:
            InputError: the table lacks columns, images or views, repeats one, has values that are not finite, or has
                classes that the bank does not have and `fold` does not name; or the folder holds another bank.
        """
        from dermdistill.distillation.bank_table import read_table, views_of

        folder = Path(folder)
        refuse_writing(folder)
        rows = read_table(table, identity.classes, image_ids, fold)
        known = read_stored(folder).images if (folder / "bank.json").exists() else tuple(rows["sha256"])
        order = tuple(sorted(set(known)))
        views = [to_half(logits, name) for logits in views_of(rows, order, identity.classes)]
        digest = sha256_json([name, [checksum(view) for view in views]])
        write_teacher_views(folder, identity, BankTeacher(name=name, model=TABLE, model_sha256=digest), order, views)
        return Bank.open(folder, teachers=[digest])
