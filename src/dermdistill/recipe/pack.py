"""Carry a recipe's images to another machine and its trainings back, in files of limited size.

    part-000.zip   manifest.parquet  splits.json  weights/NAME.safetensors  images/000000.webp …
    part-001.zip   images/…  images/copies.json                             pack.json (in the last)

Images are shrunk and coded again, but keep the SHA-256 of their originals in the manifest: that identifies them, so
that views replay and the runs belong to the work folder that they are brought back to.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor

from dermdistill.data.manifest import manifest_hash, read_manifest, write_manifest
from dermdistill.data.spec import DataSpec
from dermdistill.data.splits import read_splits
from dermdistill.errors import InputError
from dermdistill.files import read_json, sha256_file, write_bytes, write_json
from dermdistill.images.cache import COPIES
from dermdistill.images.preprocess import load_rgb
from dermdistill.networks.pretrained import package_weights
from dermdistill.recipe.spec import Recipe
from dermdistill.recipe.work import Work
from dermdistill.run import Run

_FACTS = "pack.json"
MIB = 2**20


@dataclass(frozen=True)
class Coding:
    """How images are coded anew."""

    size: int = 256
    """Longest width and height in pixels; a training squashes images to a square anyway."""
    format: str = "WEBP"
    """A format of Pillow's that has a quality."""
    quality: int = 85


DEFAULT = Coding()


@dataclass
class Volumes:
    """Zip files `STEM-000.zip`, `STEM-001.zip`, … of limited size; entries but JSON are stored as they are.

    Args:
        folder: where they go; earlier ones of this stem are removed.
        stem: how their names begin.
        limit: largest size in bytes.
    """

    folder: Path
    stem: str
    limit: int
    paths: list[Path] = field(default_factory=list)
    _open: zipfile.ZipFile | None = None
    _size: int = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob(f"{self.stem}-*.zip"):
            path.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()

    def add(self, name: str, content: bytes) -> None:
        """Add a file.

        Raises:
            InputError: it alone is larger than a volume may be.
        """
        size = len(content) + 2 * len(name.encode()) + 200  # headers, and the end of the archive
        if size > self.limit:
            raise InputError(f"{name} takes {size / MIB:.1f} MiB, a part at most {self.limit / MIB:.1f}: allow larger")
        if self._open is None or self._size + size > self.limit:
            if self._open is not None:
                self._open.close()
            self.paths.append(self.folder / f"{self.stem}-{len(self.paths):03}.zip")
            self._open, self._size = zipfile.ZipFile(self.paths[-1], "w"), 0
        entry = zipfile.ZipInfo(name)  # without a date: the same content gives the same bytes
        entry.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
        self._open.writestr(entry, content)
        self._size += size


def write_pack(
    work: str | Path, out: str | Path, *, coding: Coding = DEFAULT, weights: Iterable[str] = (), part_mib: float = 60
) -> dict[str, Any]:
    """Pack the images, the manifest and the splits of a work folder, and pretrained weights.

    Args:
        work: a work folder whose data and splits are done.
        out: gets the parts.
        coding: how images are coded; a JPEG or WebP file that is small enough already is taken as it is.
        weights: timm models whose ImageNet weights come along, as float16.
        part_mib: largest size of a part in MiB.

    Returns:
        What pack.json says: `images`, `image_bytes`, `manifest_sha256`, `coding`, `weights`, `parts`.

    Raises:
        InputError: no manifest or splits there, or a file that is larger than a part.
    """
    work, weights = Path(work), tuple(weights)
    manifest = read_manifest(work / "manifest.parquet")
    read_splits(work / "splits.json", manifest)
    names, copies, total = [], {}, 0
    with Volumes(Path(out), "part", int(part_mib * MIB)) as volumes, ThreadPoolExecutor(os.cpu_count()) as pool:
        volumes.add("splits.json", (work / "splits.json").read_bytes())
        for name in weights:
            volumes.add(f"weights/{name}.safetensors", save(rounded(package_weights(name))))
        coded = pool.map(lambda path: code_image(Path(path), coding), manifest["path"])
        for row, (suffix, content) in enumerate(coded):
            name = f"{row:06}.{suffix}"
            names.append(f"images/{name}")
            copies[name] = hashlib.sha256(content).hexdigest()
            volumes.add(names[-1], content)
            total += len(content)
        volumes.add(f"images/{COPIES}", json.dumps(copies).encode())
        volumes.add("manifest.parquet", _moved(manifest, names))
        facts = {
            "images": len(manifest), "image_bytes": total, "manifest_sha256": manifest_hash(manifest),
            "coding": asdict(coding), "weights": list(weights),
        }  # fmt: skip
        volumes.add(_FACTS, json.dumps(facts, indent=2).encode())
    return {**facts, "parts": len(volumes.paths)}


def code_image(path: Path, coding: Coding) -> tuple[str, bytes]:
    """An image's suffix and bytes, shrunk to the size and coded; or its own, if these are fewer and it is small enough.

    Raises:
        ImageError: the file is no image.
    """
    image = load_rgb(path)
    width, height = image.size
    side = (min(width, coding.size), min(height, coding.size))
    shrunk = image if side == image.size else image.resize(side, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shrunk.save(stream, coding.format, quality=coding.quality)
    own = path.suffix.lower().lstrip(".")
    if shrunk is image and own in ("jpg", "jpeg", "webp") and path.stat().st_size <= stream.tell():
        return own, path.read_bytes()
    return {"JPEG": "jpg"}.get(coding.format, coding.format.lower()), stream.getvalue()


def rounded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in half the space: kernels and matrices as float16, the rest (biases, statistics) as they are."""
    return {
        name: (tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in tensors.items()
    }


def _moved(manifest: pd.DataFrame, names: list[str]) -> bytes:
    """The manifest with other paths, as Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.parquet"
        write_manifest(manifest.assign(path=[str(path.parent / name) for name in names]), path)
        return path.read_bytes()


def unpack(pack: str | Path, folder: str | Path) -> dict[str, Any]:
    """Unpack what has arrived of a pack; parts that were unpacked before need not be there.

    Args:
        pack: the folder of the parts.
        folder: gets manifest.parquet, splits.json, images/, weights/, pack.json.

    Returns:
        What pack.json says.

    Raises:
        InputError: there are parts still to come, or these are of another pack.
    """
    folder = Path(folder)
    for path in sorted(Path(pack).glob("part-*.zip")):
        done = folder / "parts" / f"{path.stem}.json"
        identity = {"sha256": sha256_file(path)}
        if done.exists() and read_json(done) == identity:
            continue
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        write_json(done, identity)
    if not (folder / _FACTS).exists():
        raise InputError(f"{pack} lacks the last part of the pack, which holds {_FACTS}; unpack it as well")
    facts = read_json(folder / _FACTS)
    manifest = read_manifest(folder / "manifest.parquet")
    missing = [path for path in manifest["path"] if not Path(path).is_file()]
    if missing or manifest_hash(manifest) != facts["manifest_sha256"]:
        raise InputError(
            f"{len(missing)} of {facts['images']} images are still to come: unpack the other parts too "
            f"(so far {', '.join(path.stem for path in sorted((folder / 'parts').iterdir()))})"
        )
    return facts


def on_pack(recipe: Recipe, folder: str | Path) -> Recipe:
    """The same recipe on an unpacked pack; its runs are those of the recipe itself.

    Args:
        recipe: with the sources that the packed manifest was made from.
        folder: where the pack was unpacked.
    """
    manifest, splits = Path(folder) / "manifest.parquet", Path(folder) / "splits.json"
    return recipe.model_copy(
        update={
            "data": DataSpec(manifest=str(manifest)),
            "split": recipe.split.model_copy(update={"file": str(splits)}),
        }
    )


def round_run(run: Run) -> None:
    """Round the weights of a finished run to float16, and say so in its header; to be done before they are used."""
    header = run.load()
    if header.rounded:
        return
    content = save(rounded(load_file(run.weights())))
    write_bytes(run.model, content)
    write_json(run.header_path, {**header.plain(), "model_sha256": sha256_file(run.model), "rounded": "float16"})


def write_runs(
    works: Sequence[Work], out: Path, stem: str, part_mib: float, weights: Literal["all", "students", "none"] = "all"
) -> list[Path]:
    """Pack finished runs without their checkpoints, to be unzipped into the folder that holds the work folders.

    Args:
        works: the recipes and their folders.
        out: gets `STEM-000.zip`, …
        stem: how their names begin.
        part_mib: largest size of a file in MiB.
        weights: whose weights come along; those of teachers are not needed once the students are trained.

    Returns:
        The files.
    """
    with Volumes(out, stem, int(part_mib * MIB)) as volumes:
        for work in works:
            for header in sorted(work.folder.glob("**/run.json")):
                run = Run(header.parent)
                if not run.is_complete():
                    continue
                kept = weights == "all" or (weights == "students" and run.load().stage == "student")
                for path in (run.header_path, run.metrics, run.predictions, *([run.model] if kept else [])):
                    if path.exists():
                        volumes.add(path.relative_to(work.folder.parent).as_posix(), path.read_bytes())
    return volumes.paths
