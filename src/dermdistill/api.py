"""What Python programs use: the functions behind the names that `import dermdistill` offers.

Each takes paths where a command takes them. Everything beneath is importable too, but may change between versions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dermdistill.evaluate.paths import evaluate

if TYPE_CHECKING:
    from torch import nn

    from dermdistill.recipe.spec import Recipe
    from dermdistill.recipe.work import Work

__all__ = ["build_student", "evaluate", "run_recipe"]


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
