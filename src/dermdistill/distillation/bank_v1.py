"""Banks of the first format, of all teachers in one file a block of images: read, never written. No torch."""

from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file

from dermdistill.distillation.bank_files import Stored
from dermdistill.distillation.bank_format import MEND, BankIdentity, BankTeacher, Channels
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import read_json, sha256_file, sha256_json
from dermdistill.images.view_spec import RENDER_VERSION, ViewSpec
from dermdistill.specs import Strict, load_header

FORMAT: Final = "dermdistill-bank/1"
FIRST_RENDERING = "the first rendering"
"""Stands for the version of views in banks that name none."""


class FirstTeacher(Strict):
    """A teacher in a header of format 1."""

    name: str
    model: str
    image_size: int
    mean: Channels
    std: Channels
    model_sha256: str


class FirstHeader(Strict):
    """`bank.json` of format 1."""

    format: Literal["dermdistill-bank/1"] = FORMAT
    manifest_sha256: str
    classes: tuple[str, ...]
    teachers: tuple[FirstTeacher, ...]
    spec: ViewSpec
    seed: int
    preprocess: str
    render: str | None = None
    block: int
    """Images in a file."""
    images: tuple[str, ...]
    views: int = Field(ge=1)
    status: Literal["running", "complete"]
    shards: dict[str, str]
    """The SHA-256 of each file."""
    synthetic: bool = False


def is_first(folder: Path) -> bool:
    """Whether a folder holds a bank of the first format."""
    path = folder / "bank.json"
    content = read_json(path) if path.exists() else None
    return isinstance(content, dict) and content.get("format") == FORMAT


def refuse_writing(folder: Path) -> None:
    """Raise `InputError` with the mend if a folder holds a bank of the first format."""
    if is_first(folder):
        raise InputError(f"{folder} is of the format {FORMAT}, which is only read; {MEND}")


def read_first(folder: Path) -> Stored:
    """Read the header of a finished bank of format 1."""
    header = load_header(folder / "bank.json", FirstHeader)
    if header.status != "complete":
        raise InputError(f"{folder} is not finished, and its format {FORMAT} is only read; {MEND}")
    hashes = [teacher.model_sha256 for teacher in header.teachers]
    views = [sorted(name for name in header.shards if name.startswith(f"view-{view:05d}-"))
             for view in range(header.views)]  # fmt: skip
    checksums = tuple(sha256_json([header.shards[name] for name in names]) for names in views)

    def read(teacher: BankTeacher, view: int) -> np.ndarray:
        parts = []
        for name in views[view]:
            path = folder / name
            if not path.exists() or sha256_file(path) != header.shards[name]:
                raise IntegrityError(f"{path} is missing or damaged; copy it again from where the bank was made")
            parts.append(load_file(path)["logits"][:, hashes.index(teacher.model_sha256)])
        return np.concatenate(parts)

    render = RENDER_VERSION if header.views == 1 else header.render or FIRST_RENDERING  # plain images stay the same
    identity = BankIdentity(
        manifest_sha256=header.manifest_sha256, classes=header.classes, seed=header.seed, spec=header.spec,
        preprocess=header.preprocess, render=render, synthetic=header.synthetic,
    )  # fmt: skip
    teachers = tuple(
        BankTeacher(**dict(teacher), synthetic=header.synthetic, checksums=checksums) for teacher in header.teachers
    )
    content = read_json(folder / "bank.json")
    sha256 = sha256_json({key: value for key, value in content.items() if key != "status"})
    return Stored(identity, header.images, teachers, read, sha256)
