"""The headers of a soft-label bank, and what makes two banks the same. No torch."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field

from dermdistill.errors import InputError
from dermdistill.files import sha256_json
from dermdistill.images.preprocess import PREPROCESS_VERSION
from dermdistill.images.view_spec import RENDER_VERSION, ViewSpec
from dermdistill.specs import Strict, parse

FORMAT: Final = "dermdistill-bank/2"
TEACHER_FORMAT: Final = "dermdistill-bank-teacher/2"
SHARD = 16
"""Views in a file."""
MEND = "choose another folder with --out, or move this bank aside with `dermdistill run RECIPE --redo soften`"
"""What to do about a bank that differs."""

NETWORK = ("model", "model_sha256", "image_size", "mean", "std")
"""The keys of a teacher's header that decide its logits."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Channels = tuple[float, float, float]


class BankIdentity(Strict):
    """What decides the views and the meaning of a bank's logits; where one key differs, it is another bank."""

    manifest_sha256: Sha256
    """Of the manifest that the images come from."""
    classes: tuple[str, ...] = Field(min_length=2)
    """Of the logits, in order."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Of the views."""
    spec: ViewSpec = ViewSpec()
    """The views' ranges."""
    preprocess: str = PREPROCESS_VERSION
    render: str = RENDER_VERSION
    synthetic: bool = False
    """Whether some of the images are generated."""
    turns: Literal[1, 2, 4, 8] = Field(1, exclude_if=lambda value: value == 1)
    """Symmetries of each view over which the logits are averaged."""

    def differences(self, asked: "BankIdentity", but: Collection[str] = ()) -> list[str]:
        """A phrase for each key in which `asked` is another bank, with both values; keys in `but` are passed over."""
        there, here = (_flat(one, but) for one in (self, asked))
        return [
            f"{key} is {_shown(there.get(key))} there, {_shown(here.get(key))} is asked for"
            for key in dict.fromkeys([*there, *here])
            if there.get(key) != here.get(key)
        ]

    def sha256(self) -> str:
        """The hash of all keys; of `spec` those that are not at their defaults, so that it outlives new keys."""
        return sha256_json({**self.model_dump(mode="json"), "spec": self.spec.model_dump(exclude_defaults=True)})


class BankHeader(BankIdentity):
    """`bank.json`, which never changes: the identity, and which images there are."""

    format: Literal["dermdistill-bank/2"] = FORMAT
    image_count: int = Field(ge=1)
    images_sha256: Sha256
    """Of `images.txt`, the images' SHA-256 digests in ascending order, one a line."""
    shard: int = Field(ge=1)
    """Views in a file."""

    @property
    def identity(self) -> BankIdentity:
        """What the bank was made for."""
        return BankIdentity.model_validate({key: getattr(self, key) for key in BankIdentity.model_fields})


class BankTeacher(Strict):
    """`teacher.json` in a teacher's folder: who it is, and a checksum of each view that is done."""

    format: Literal["dermdistill-bank-teacher/2"] = TEACHER_FORMAT
    name: str
    model: str
    """Architecture, or for logits from elsewhere `table`."""
    model_sha256: Sha256
    """Of its weights, or of logits from elsewhere."""
    image_size: int | None = Field(None, ge=1)
    """Side of the square input in pixels; None where it is not known, as mean and std."""
    mean: Channels | None = None
    std: Channels | None = None
    synthetic: bool = False
    """Whether the teacher learned from generated images."""
    licences: tuple[str, ...] | None = None
    """Of the images that it learned from; None where that is not known."""
    checksums: tuple[Sha256, ...] = ()
    """SHA-256 of each view's logits, as little-endian float16 [images, classes]."""

    @property
    def views(self) -> int:
        """How many views are done."""
        return len(self.checksums)

    @property
    def folder(self) -> str:
        """The name of its folder in a bank."""
        return self.model_sha256[:16]

    @classmethod
    def of_run(cls, header: Mapping[str, Any]) -> Self:
        """The teacher of a run header.

        Raises:
            InputError: the header lacks a key, or a value does not fit.
        """
        keys = ("name", *NETWORK)
        known = {key: header[key] for key in keys if key in header}
        known["licences"] = header.get("data_licences")
        known["synthetic"] = "synthetic" in header.get("data_sources", ())
        return parse(cls, known, f"the run header of the teacher '{header.get('name')}'")


def refuse_another(folder: Path, stored: BankIdentity, asked: BankIdentity, but: Collection[str] = ()) -> None:
    """Raise `InputError` with all differences and how to mend them, if there are any."""
    different = stored.differences(asked, but)
    if different:
        raise InputError(f"{folder} holds another bank: {'; '.join(different)}; {MEND}")


def _flat(one: BankIdentity, but: Collection[str]) -> dict[str, Any]:
    """The values of an identity with the keys of `spec` one by one, those too that its dump leaves out."""
    content = {key: getattr(one, key) for key in BankIdentity.model_fields if key not in but}
    views = dict(content.pop("spec", {}))
    return {**content, **{f"spec.{key}": value for key, value in views.items()}}


def _shown(value: Any) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
