"""The soft-label bank: the logits of each teacher for K views of each image, written once, read often.

A folder:

    bank.json                       header, image order, checksum of each shard, status
    view-00003-block-00000.safetensors   `logits` float32 [images of the block, teachers, classes]

Each shard is written whole or not at all, and bank.json is rewritten after each, so that a killed
`soften` goes on with the next shard. Memory holds one shard while writing and one view while reading,
however many views there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from safetensors.numpy import load_file, save_file
from torch import Tensor

from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.distillation.labels import ensemble, teacher_logits, to_classes
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import atomic_path, read_json, sha256_file, sha256_json, write_json
from dermdistill.images.preprocess import PREPROCESS_VERSION
from dermdistill.images.render import RENDER_VERSION
from dermdistill.images.view_spec import ViewSpec
from dermdistill.images.views import sample_views, view_seed
from dermdistill.training.task import ImageSet

FORMAT = "dermdistill-bank/1"
BLOCK = 4096
"""Images in a shard."""


@dataclass(frozen=True)
class BankSpec:
    """What a bank holds: views of images under one augmentation spec."""

    views: int
    """Views of each image, the plain one included."""
    seed: int
    spec: ViewSpec


def write_bank(
    folder: str | Path,
    bank: BankSpec,
    teachers: Sequence[FrozenTeacher | None],
    headers: Sequence[dict[str, Any]],
    images: Sequence[ImageSet],
    manifest_sha256: str,
    *,
    device: torch.device,
    batch_size: int = 128,
    known: "Bank | None" = None,
) -> "Bank":
    """Write a bank, go on with one, or add views to one.

    Args:
        folder: the bank.
        bank: views, seed and augmentation spec.
        teachers: M frozen teachers, or None for one whose logits are in `known`.
        headers: their run headers.
        images: for each teacher the same images in the same order, at its own size.
        manifest_sha256: the hash of the manifest that the images come from.
        device: where the teachers compute.
        batch_size: images a forward pass.
        known: another bank of the same views of the same images, from which the logits of its teachers are copied.

    Raises:
        InputError: the folder holds a bank of other teachers, images, classes or another spec, the teachers
            do not have the same images, or `known` does not fit or lacks a teacher.
    """
    folder = Path(folder)
    if any(part.sha256s != images[0].sha256s for part in images):
        raise InputError("a teacher read other images than the first one; run `dermdistill data check` first")
    header = _header(bank, headers, images[0], manifest_sha256)
    columns = _stored(known, teachers, header, bank.views)
    state = _open(folder, header, bank.views)
    blocks = [np.arange(start, min(start + BLOCK, len(images[0]))) for start in range(0, len(images[0]), BLOCK)]
    todo = [(view, block) for view in range(state["views"]) for block in range(len(blocks))]
    loaded = [(teacher.to(device), part) for teacher, part in zip(teachers, images, strict=True) if teacher is not None]
    with Progress(transient=True) as bars:
        bar = bars.add_task("soften", total=state["views"] * len(images[0]))
        for view, block in todo:
            name = f"view-{view:05d}-block-{block:05d}.safetensors"
            if not _is_whole(folder / name, state["shards"].get(name)):
                logits = _shard(blocks[block], view, bank, loaded, device, batch_size) if loaded else None
                if known is not None and columns:
                    logits = _joined(logits, known.logits(view)[blocks[block]], columns)
                assert logits is not None
                with atomic_path(folder / name) as temporary:
                    save_file({"logits": logits}, temporary)
                state["shards"][name] = sha256_file(folder / name)
                state["status"] = "running"
                write_json(folder / "bank.json", state)
            bars.advance(bar, len(blocks[block]))
    if state["status"] != "complete":
        write_json(folder / "bank.json", {**state, "status": "complete"})
    return read_bank(folder)


def _header(
    bank: BankSpec, headers: Sequence[dict[str, Any]], images: ImageSet, manifest_sha256: str
) -> dict[str, Any]:
    classes = {tuple(header["classes"]) for header in headers}
    if len(classes) != 1:
        raise InputError(f"the teachers of a bank must share their classes, got {sorted(classes)}")
    header = {
        "format": FORMAT,
        "manifest_sha256": manifest_sha256,
        "classes": list(classes.pop()),
        "teachers": [
            {key: header[key] for key in ("name", "model", "image_size", "mean", "std", "model_sha256")}
            for header in headers
        ],
        "spec": bank.spec.model_dump(mode="json"),
        "seed": bank.seed,
        "preprocess": PREPROCESS_VERSION,
        "render": RENDER_VERSION,
        "block": BLOCK,
        "images": list(images.sha256s),
    }
    if any("synthetic" in teacher.get("data_sources", ()) for teacher in headers):
        header["synthetic"] = True
    return header


def _open(folder: Path, header: dict[str, Any], views: int) -> dict[str, Any]:
    path = folder / "bank.json"
    if not path.exists():
        state = {**header, "views": views, "status": "running", "shards": {}}
        write_json(path, state)
        return state
    state = read_json(path)
    different = [key for key in header if state.get(key) != header[key]]
    if different:
        raise InputError(
            f"{folder} holds another bank: {', '.join(different)} differ from what is asked for; "
            "choose another folder or remove this one"
        )
    if state["status"] == "complete" and state["views"] >= views:
        return state
    return {**state, "views": views, "status": "running"}


def _is_whole(path: Path, checksum: str | None) -> bool:
    return checksum is not None and path.exists() and sha256_file(path) == checksum


def _stored(
    known: "Bank | None", teachers: Sequence[FrozenTeacher | None], header: dict[str, Any], views: int
) -> dict[int, int]:
    """The place of each teacher that is not loaded, and its column in `known`."""
    absent = [place for place, teacher in enumerate(teachers) if teacher is None]
    if not absent:
        return {}
    if known is None:
        raise InputError("a teacher is not loaded, and no bank was given that holds its logits")
    fixed = ("manifest_sha256", "classes", "spec", "seed", "preprocess", "render", "images")
    different = [key for key in fixed if known.header.get(key) != header[key]]
    different += ["views"] if known.views < views else []
    there = [teacher["model_sha256"] for teacher in known.header["teachers"]]
    asked = {place: header["teachers"][place]["model_sha256"] for place in absent}
    if different or set(asked.values()) - set(there):
        why = f"{', '.join(different)} differ" if different else "it lacks a teacher that is not loaded"
        raise InputError(f"the logits of the bank {known.folder} cannot be taken over: {why}")
    return {place: there.index(sha256) for place, sha256 in asked.items()}


def _shard(
    which: np.ndarray, view: int, bank: BankSpec, teachers: Sequence[tuple[FrozenTeacher, ImageSet]],
    device: torch.device, batch_size: int,
) -> np.ndarray:  # fmt: skip
    seed = view_seed(bank.seed, view)
    nets, images = [teacher for teacher, _ in teachers], [part for _, part in teachers]
    parts = []
    for start in range(0, len(which), batch_size):
        rows = which[start : start + batch_size]
        parameters = sample_views([images[0].sha256s[row] for row in rows], seed, bank.spec)
        parts.append(teacher_logits(nets, images, rows, parameters, device).cpu().numpy())
    return np.concatenate(parts)


def _joined(computed: np.ndarray | None, stored: np.ndarray, columns: dict[int, int]) -> np.ndarray:
    """The logits of all teachers [B, M, C]: of those that are stored by their place, the computed ones in between."""
    rest = iter(range(0 if computed is None else computed.shape[1]))
    places = range(len(columns) + (0 if computed is None else computed.shape[1]))
    parts = []
    for place in places:
        source, column = (stored, columns[place]) if place in columns else (computed, next(rest))
        assert source is not None
        parts.append(source[:, column])
    return np.stack(parts, 1)


def is_written(folder: str | Path, views: int, teachers: Sequence[str]) -> bool:
    """Whether a bank is complete and undamaged, so that its teachers need not be loaded.

    Args:
        folder: the bank.
        views: at least so many.
        teachers: the hashes of their weights, in order.
    """
    folder = Path(folder)
    if not (folder / "bank.json").exists():
        return False
    state = read_json(folder / "bank.json")
    return (
        state.get("status") == "complete"
        and state["views"] >= views
        and not _is_blurred(state)
        and [teacher["model_sha256"] for teacher in state["teachers"]] == list(teachers)
        and all(_is_whole(folder / name, checksum) for name, checksum in state["shards"].items())
    )


def knows_some(folder: str | Path, wanted: BankSpec, teachers: Sequence[str]) -> bool:
    """Whether a finished bank holds the wanted views of some of these teachers, and of no other.

    Args:
        folder: the bank.
        wanted: views, seed and augmentation spec.
        teachers: the hashes of their weights.
    """
    folder = Path(folder)
    if not (folder / "bank.json").exists():
        return False
    state = read_json(folder / "bank.json")
    there = {teacher["model_sha256"] for teacher in state["teachers"]}
    same = (state["spec"], state["seed"]) == (wanted.spec.model_dump(mode="json"), wanted.seed)
    same = same and state.get("render") == RENDER_VERSION
    return same and state["status"] == "complete" and state["views"] >= wanted.views and there < set(teachers)


@dataclass(frozen=True)
class Bank:
    """A finished bank on disk."""

    folder: Path
    header: dict[str, Any]

    @property
    def views(self) -> int:
        return int(self.header["views"])

    @property
    def seed(self) -> int:
        return int(self.header["seed"])

    @property
    def spec(self) -> ViewSpec:
        return ViewSpec.model_validate(self.header["spec"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.header["classes"])

    @property
    def sha256(self) -> str:
        """The hash of everything in the bank, shards included."""
        return sha256_json({key: value for key, value in self.header.items() if key != "status"})

    def logits(self, view: int) -> np.ndarray:
        """The logits of one view of all images, float32 [N, M, C].

        Raises:
            InputError: the bank has no such view.
            IntegrityError: a shard is missing or damaged.
        """
        if not 0 <= view < self.views:
            raise InputError(f"{self.folder} holds views 0 to {self.views - 1}, asked for {view}")
        prefix = f"view-{view:05d}-"
        parts = []
        for name in sorted(name for name in self.header["shards"] if name.startswith(prefix)):
            if not _is_whole(self.folder / name, self.header["shards"][name]):
                raise IntegrityError(f"{self.folder / name} is missing or damaged; run `dermdistill soften` again")
            parts.append(load_file(self.folder / name)["logits"])
        return np.concatenate(parts)


def read_bank(folder: str | Path) -> Bank:
    """Open a finished bank.

    Raises:
        InputError: no bank there, or one that is not finished.
        IntegrityError: not a bank.
    """
    folder = Path(folder)
    header = read_json(folder / "bank.json")
    if header.get("format") != FORMAT:
        raise IntegrityError(f"{folder / 'bank.json'} is not a {FORMAT} file, its format is {header.get('format')!r}")
    if header["status"] != "complete":
        raise InputError(f"{folder} is not finished; run `dermdistill soften` again, it goes on where it was")
    return Bank(folder, header)


class BankLabels:
    """A bank's logits as `dermdistill.training.task.Targets` for a student's training images.

    Args:
        bank: the bank.
        images: the student's training images, in training order.
        wanted: the student's classes.
        manifest_sha256: the hash of the student's manifest.
        spec: the augmentation spec that the student will show, by default the bank's.

    Raises:
        InputError: the bank is of another manifest, other images, classes or spec, saying which.
    """

    def __init__(
        self,
        bank: Bank,
        images: ImageSet,
        wanted: Sequence[str],
        manifest_sha256: str,
        spec: ViewSpec | None = None,
    ):
        problems = []
        if bank.header["manifest_sha256"] != manifest_sha256:
            problems.append(f"its manifest is {bank.header['manifest_sha256'][:12]}, the data's {manifest_sha256[:12]}")
        if bank.header["preprocess"] != PREPROCESS_VERSION:
            problems.append(f"its preprocessing is {bank.header['preprocess']}, expected {PREPROCESS_VERSION}")
        if _is_blurred(bank.header):
            problems.append(
                f"its views were rendered by {bank.header.get('render', 'the first version')}, expected "
                f"{RENDER_VERSION}, which shows them as sharp as plain images; run `dermdistill soften` again"
            )
        if spec is not None and spec != bank.spec:
            problems.append("its augmentation spec differs: " + _difference(bank.spec, spec))
        index = {sha256: row for row, sha256 in enumerate(bank.header["images"])}
        missing = [sha256 for sha256 in images.sha256s if sha256 not in index]
        if missing:
            problems.append(f"it lacks {len(missing)} of the {len(images)} training images, e.g. {missing[0][:12]}")
        try:
            to_classes(torch.zeros(1, len(bank.classes)), bank.classes, wanted)
        except InputError as error:
            problems.append(str(error))
        if problems:
            raise InputError(f"the bank {bank.folder} does not fit: " + "; ".join(problems))
        self.bank, self.wanted = bank, wanted
        self.index = np.array([index[sha256] for sha256 in images.sha256s], np.int64)
        self._view: tuple[int, Tensor] | None = None

    def __call__(self, rows: np.ndarray, view: int, device: torch.device) -> Tensor:
        if self._view is None or self._view[0] != view:
            logits = torch.from_numpy(self.bank.logits(view)[self.index])
            self._view = view, to_classes(ensemble(logits), self.bank.classes, self.wanted)
        return self._view[1][rows].to(device)


def _is_blurred(header: dict[str, Any]) -> bool:
    """Whether a bank holds views that were rendered otherwise than now; plain images were not."""
    return header["views"] > 1 and header.get("render") != RENDER_VERSION


def _difference(one: ViewSpec, other: ViewSpec) -> str:
    there, here = dict(one), dict(other)
    return ", ".join(f"{key} {there[key]} there, {here[key]} here" for key in here if here[key] != there[key])
