"""What would stop a recipe, found before anything is made: data, weights, disk space. No torch, no pandas."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dermdistill.distillation.spec import StudentSpec, TeacherSpec
from dermdistill.errors import InputError
from dermdistill.networks.packages import PACKAGES, carried
from dermdistill.networks.registry import ENTRIES, pretrained
from dermdistill.recipe.stage import Stage, State
from dermdistill.recipe.work import Work

_BYTES_A_PIXEL = 3 * (1 + 2 * 2)
"""The decoded images of a network: plain ones, and for its views sources of twice the side, RGB."""
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def find_data(given: Path | None = None) -> Path:
    """The folder of real images: given, else `DERMDISTILL_DATA`, else ./data.

    Raises:
        InputError: there is none.
    """
    named = given or os.environ.get("DERMDISTILL_DATA")
    folder = Path(named) if named else Path("data")
    if not folder.is_dir():
        raise InputError(
            f"no data folder at {folder}: give --data DIR or set DERMDISTILL_DATA to the folder that holds the "
            "recipe's sources; `dermdistill data fetch` downloads public ones"
        )
    return folder


def refuse_problems(work: Work, stages: list[tuple[Stage, State]]) -> None:
    """Refuse to start where it is known already that a stage will fail.

    Args:
        work: the recipe and its folder.
        stages: all stages, and how they stand.

    Raises:
        InputError: with everything that is missing.
    """
    problems = list(_problems(work, [stage for stage, state in stages if state.standing == "to do"]))
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        raise InputError("the recipe cannot be carried out:\n  " + "\n  ".join(problems))


def _problems(work: Work, to_do: list[Stage]) -> Iterator[str]:
    sources = []
    if any(stage.kind == "data" for stage in to_do) and work.recipe.data.sources:
        try:
            root = find_data(work.data)
        except InputError as error:
            yield str(error)
        else:
            sources = [root / source.path for source in work.recipe.data.sources]
            for folder in sources:
                if not folder.exists():
                    yield f"no source at {folder}; its path in the recipe is beneath the data folder {root}"
    models = {stage.model for stage in to_do}
    specs: list[TeacherSpec | StudentSpec] = [*work.recipe.teachers, *work.recipe.students]
    waiting = [spec for spec in specs if spec.name in models]
    for spec in waiting:
        yield from _weights(spec)
    yield from _space(work, waiting, sources)


def _weights(spec: TeacherSpec | StudentSpec) -> Iterator[str]:
    if isinstance(spec, TeacherSpec) and spec.logits is not None:
        if not Path(spec.logits.file).is_file():
            yield (
                f"'{spec.name}': no table of logits at {spec.logits.file}; `dermdistill views` writes the views that "
                "it must label"
            )
        return
    if spec.weights == "file":
        if spec.weights_file is None:
            yield f"'{spec.name}' has weights = 'file' and no weights_file, a safetensors file"
        elif not Path(spec.weights_file).is_file():
            yield f"'{spec.name}': no such weights file: {spec.weights_file}"
    if spec.weights != "package":
        return
    wanted = pretrained(spec.model)
    if wanted is None:
        return
    if wanted not in PACKAGES:
        known = ", ".join(PACKAGES)
        yield f"'{spec.name}': no package holds weights for '{wanted}', only for {known}; use weights = 'hub'"
    elif carried(wanted) is None and importlib.util.find_spec(PACKAGES[wanted].module) is None:
        package = PACKAGES[wanted].module.replace("_", "-")
        yield (
            f"'{spec.name}' needs the package '{package}', which is not installed; install it with: "
            "pip install 'dermdistill[train]'"
        )


def _space(work: Work, waiting: list[TeacherSpec | StudentSpec], sources: list[Path]) -> Iterator[str]:
    """The cache of decoded images, where it has yet to be made."""
    if not waiting:
        return
    root = work.cache or Path(os.environ.get("DERMDISTILL_CACHE") or Path.home() / ".cache" / "dermdistill")
    sizes = {_size(spec) for spec in waiting if not (isinstance(spec, TeacherSpec) and spec.logits)}
    new = [size for size in sizes if not any((root / "images").glob(f"{size}px-*"))]
    needed = _images(work, sources) * _BYTES_A_PIXEL * sum(size * size for size in new)
    place = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        yield (
            f"the image cache needs up to {needed / 1e9:.1f} GB in {root}, where {free / 1e9:.1f} GB are free; "
            "point --cache or DERMDISTILL_CACHE to a larger disk"
        )


def _size(spec: TeacherSpec | StudentSpec) -> int:
    known = ENTRIES[spec.model].image_size if spec.model in ENTRIES else 128
    return spec.image_size or known


def _images(work: Work, sources: list[Path]) -> int:
    """How many images there will be, at most."""
    data = work.recipe.data
    if data.synthetic is not None:
        return data.synthetic.images
    found = sum(
        Path(name).suffix.lower() in _SUFFIXES
        for source in sources
        for _, _, files in os.walk(source)
        for name in files
    )
    return found if data.limit is None else min(found, data.limit)
