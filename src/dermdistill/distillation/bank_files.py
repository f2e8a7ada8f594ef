"""The files of a bank, each written whole or not at all. No torch."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from dermdistill.distillation.bank_format import NETWORK, SHARD, BankHeader, BankIdentity, BankTeacher, refuse_another
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import atomic_path, write_bytes, write_json
from dermdistill.specs import load_header

LOWEST = float(np.finfo(np.float16).min)


@dataclass(frozen=True)
class Stored:
    """What a bank's folder holds, whatever its format."""

    identity: BankIdentity
    images: tuple[str, ...]
    """SHA-256 of each image, in the order of the logits."""
    teachers: tuple[BankTeacher, ...]
    read: Callable[[BankTeacher, int], np.ndarray]
    """(teacher, view) to its logits [images, classes]; raises `IntegrityError` if they are missing or damaged."""
    sha256: str | None = None
    """The hash of a whole bank of format 1."""


def read_stored(folder: Path) -> Stored:
    """Read the headers of a bank of format 2."""
    header = load_header(folder / "bank.json", BankHeader)
    images = _read_images(folder, header)
    found = [load_header(path, BankTeacher) for path in sorted(folder.glob("*/teacher.json"))]
    return Stored(
        header.identity, images, tuple(found), lambda teacher, view: read_view(folder, header.shard, teacher, view)
    )


def open_folder(folder: Path, identity: BankIdentity, images: Sequence[str]) -> tuple[BankHeader, tuple[str, ...]]:
    """Make a bank's folder, or open the one that is there if it is the same bank.

    Args:
        folder: the bank.
        identity: what the bank is asked for.
        images: SHA-256 of each image, in any order.

    Returns:
        The header, and the images in ascending order.

    Raises:
        InputError: the folder holds another bank, or one of other images.
    """
    wanted = tuple(sorted(set(images)))
    if not wanted:
        raise InputError("a bank needs at least one image")
    content = "".join(f"{sha256}\n" for sha256 in wanted).encode()
    if not (folder / "bank.json").exists():
        write_bytes(folder / "images.txt", content)
        digest = hashlib.sha256(content).hexdigest()
        header = BankHeader(**dict(identity), image_count=len(wanted), images_sha256=digest, shard=SHARD)
        write_json(folder / "bank.json", header.model_dump(mode="json"))
        return header, wanted
    header = load_header(folder / "bank.json", BankHeader)
    refuse_another(folder, header.identity, identity)
    there = set(_read_images(folder, header))
    if there != set(wanted):
        missing, more = len(there - set(wanted)), len(set(wanted) - there)
        raise InputError(
            f"these are other images than the bank {folder} holds: {missing} of its {len(there)} are not among them, "
            f"and {more} are new; run `dermdistill data check` first, or choose another folder with --out"
        )
    return header, wanted


def _read_images(folder: Path, header: BankHeader) -> tuple[str, ...]:
    path = folder / "images.txt"
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != header.images_sha256:
        raise IntegrityError(f"{path} is missing or damaged; copy it again from where the bank was made")
    return tuple(content.decode().split())


def open_teacher(folder: Path, wanted: BankTeacher) -> BankTeacher:
    """The teacher with the views that are done, or as it comes if the bank has none of it yet.

    Raises:
        InputError: the bank holds the same weights behind another preprocessing.
    """
    path = folder / wanted.folder / "teacher.json"
    if not path.exists():
        return wanted
    there = load_header(path, BankTeacher)
    different = [
        f"{key} is {getattr(there, key)} there, {getattr(wanted, key)} is asked for"
        for key in NETWORK
        if getattr(there, key) != getattr(wanted, key)
    ]
    if different:
        raise InputError(f"{path} is of another teacher: {'; '.join(different)}; remove that folder first")
    return there


def to_half(logits: np.ndarray, name: str) -> np.ndarray:
    """Logits as they are stored: float16 [N, C], shifted so that the largest of an image is 0.

    The shift changes no probability, and it makes the rounding small where the probabilities are large: each of
    them changes by less than 0.0005 at any temperature from 1.

    Args:
        logits: float [N, C].
        name: of the teacher, for the error.

    Raises:
        InputError: some are not finite.
    """
    bad = ~np.isfinite(logits).all(1)
    if bad.any():
        raise InputError(
            f"the teacher '{name}' gives logits that are not finite for {bad.sum()} of {len(logits)} images, the first "
            f"at position {int(bad.argmax())}; check its weights, or train it with a lower learning rate"
        )
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.maximum(shifted, LOWEST).astype("<f2")


def checksum(view: np.ndarray) -> str:
    """SHA-256 of one view's float16 logits."""
    return hashlib.sha256(np.ascontiguousarray(view, "<f2").tobytes()).hexdigest()


def _shard_path(folder: Path, teacher: BankTeacher, first: int) -> Path:
    return folder / teacher.folder / f"views-{first:05d}.safetensors"


def read_view(folder: Path, shard: int, teacher: BankTeacher, view: int) -> np.ndarray:
    """One view of one teacher, float16 [N, C]; nothing else of the file is read.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    first = view - view % shard
    path = _shard_path(folder, teacher, first)
    found = None
    try:
        with safe_open(path, framework="np") as opened:
            part = opened.get_slice("logits")
            if view - first < part.get_shape()[0]:
                found = part[view - first : view - first + 1][0]
    except (OSError, SafetensorError):
        pass
    if found is None or view >= teacher.views or checksum(found) != teacher.checksums[view]:
        raise IntegrityError(f"view {view} in {path} is missing or damaged; run `dermdistill soften` again")
    return found


def write_view(folder: Path, shard: int, teacher: BankTeacher, view: int, logits: np.ndarray) -> BankTeacher:
    """Add one view of one teacher, or replace a damaged one; all earlier views must be there.

    Args:
        folder: the bank.
        shard: views in a file.
        teacher: with the checksums of its views so far.
        view: from 0 to the number of these.
        logits: float16 [N, C].

    Returns:
        The teacher with the checksum of this view.
    """
    first = view - view % shard
    path = _shard_path(folder, teacher, first)
    try:
        there = load_file(path)["logits"]
    except (OSError, SafetensorError, KeyError):
        there = np.empty((0, *logits.shape), "<f2")
    place = view - first
    with atomic_path(path) as temporary:
        save_file({"logits": np.concatenate([there[:place], logits[None], there[place + 1 :]])}, temporary)
    checksums = (*teacher.checksums[:view], checksum(logits), *teacher.checksums[view + 1 :])
    grown = teacher.model_copy(update={"checksums": checksums})
    write_json(folder / teacher.folder / "teacher.json", grown.model_dump(mode="json"))
    return grown


def write_teacher_views(
    folder: Path, identity: BankIdentity, teacher: BankTeacher, images: Sequence[str], views: Sequence[np.ndarray]
) -> None:
    """Write the views of a teacher that are there already, and not yet in the bank.

    Args:
        folder: the bank, which is made if need be.
        identity: what the bank is for.
        teacher: whose they are.
        images: SHA-256 of each of the N images, in ascending order.
        views: float16 [N, C] each, from view 0 on.

    Raises:
        InputError: the folder holds another bank or other images.
    """
    header, _ = open_folder(folder, identity, images)
    entry = open_teacher(folder, teacher)
    for view in undone(read_stored(folder), entry, len(views)):
        entry = write_view(folder, header.shard, entry, view, views[view])


def undone(stored: Stored, teacher: BankTeacher, views: int) -> list[int]:
    """The first `views` views of a teacher that are not done, or are damaged."""
    return [view for view in range(views) if view >= teacher.views or not _is_whole(stored, teacher, view)]


def _is_whole(stored: Stored, teacher: BankTeacher, view: int) -> bool:
    try:
        stored.read(teacher, view)
    except IntegrityError:
        return False
    return True
