"""What Python programs use: the functions behind the names that `import dermdistill` offers.

Each takes paths where a command takes them. Everything beneath is importable too, but may change between versions.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

    from dermdistill.evaluate.document import Report
    from dermdistill.recipe.spec import Recipe
    from dermdistill.recipe.work import Work


def run_recipe(
    recipe: "Recipe | str | Path",
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    accelerator: str = "auto",
    tell: Callable[[str], None] = print,
) -> "Work":
    """Carry out every stage of a recipe that is not done, as `dermdistill run` does on one device.

    Args:
        recipe: a recipe, or the path of one.
        out: the work folder, by default work/<recipe's name>.
        data: the folder that holds the recipe's sources, by default that of `DERMDISTILL_DATA`.
        cache: folder of decoded images.
        accelerator: `auto`, `cpu` or `gpu`.
        tell: gets a line about each stage.

    Returns:
        The work: where the teachers, students, bundles and the report lie.

    Raises:
        InputError: the recipe does not fit, or its data are not there.
    """
    from dermdistill.recipe.run import run_recipe as run
    from dermdistill.recipe.spec import load_recipe
    from dermdistill.recipe.work import Work
    from dermdistill.training.loop import make_fabric

    loaded = load_recipe(recipe) if isinstance(recipe, str | Path) else recipe
    work = Work(
        loaded, Path(out) if out else Path("work") / loaded.name, Path(data) if data else None,
        Path(cache) if cache else None,
    )  # fmt: skip
    fabric = make_fabric(accelerator, 1, loaded.precision)
    fabric.launch()
    run(work, fabric, tell)
    return work


def build_student(
    name: str,
    classes: int = 7,
    *,
    image_size: int | None = None,
    weights: Literal["package", "hub", "none"] = "none",
) -> "nn.Module":
    """Build a student network.

    Args:
        name: a name that `dermdistill students` lists, `timm:<model>`, or `timm:<model>@cut`.
        classes: how many outputs.
        image_size: side of the input in pixels, by default the student's own.
        weights: ImageNet weights, for students that start from them.

    Returns:
        A network that takes normalised float32 [N, 3, S, S] and gives logits [N, classes].

    Raises:
        InputError: no student has this name.

    >>> import torch
    >>> student = build_student("repds")
    >>> student(torch.zeros(2, 3, 128, 128)).shape
    torch.Size([2, 7])
    """
    from dermdistill.networks.registry import build

    return build(name, classes, image_size=image_size, weights=weights)


def evaluate(
    manifest: str | Path,
    models: Mapping[str, str | Path],
    out: str | Path,
    *,
    baseline: str | None = None,
    replicates: int = 2000,
    seed: int = 0,
    role: str = "test",
) -> "Report":
    """Judge models side by side on the same images, and write report.json, report.html and table.md.

    Args:
        manifest: path of the manifest.
        models: for each name a finished run's folder, or a table of predictions.
        out: the report's folder.
        baseline: the model that the others are compared with, by default the first.
        replicates: bootstrap replicates, at least 100.
        seed: of the bootstrap.
        role: `test` or `validation`, the rows that are judged.

    Returns:
        The contents of report.json, typed.

    Raises:
        InputError: predictions do not fit the manifest or each other.
    """
    from dermdistill.data.manifest import read_manifest
    from dermdistill.evaluate.predictions import read_model
    from dermdistill.evaluate.report import evaluate as judge

    predictions = {name: read_model(Path(path)) for name, path in models.items()}
    return judge(
        read_manifest(manifest), predictions, out, baseline=baseline, replicates=replicates, seed=seed, role=role
    )
