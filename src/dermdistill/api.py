"""What Python programs use: the functions behind the names that `import dermdistill` offers.

Each takes paths where a command takes them. Everything beneath is importable too, but may change between versions.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dermdistill.evaluate.paths import evaluate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dermdistill.export.module import Classifier
    from dermdistill.recipe.foreign import Rendered
    from dermdistill.recipe.session import Session
    from dermdistill.recipe.spec import Recipe
    from dermdistill.recipe.work import Work

__all__ = ["build_student", "evaluate", "label_views", "load_module", "render_views", "run_recipe"]


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
    from dermdistill.training.loop import make_fabric

    work = _work(recipe, out, data, cache)
    fabric = make_fabric(accelerator, 1, work.recipe.precision)
    fabric.launch()
    run(work, fabric, tell)
    return work


def _work(
    recipe: "Recipe | str | Path", out: str | Path | None, data: str | Path | None, cache: str | Path | None
) -> "Work":
    from dermdistill.recipe.spec import load_recipe
    from dermdistill.recipe.work import Work

    loaded = load_recipe(recipe) if isinstance(recipe, str | Path) else recipe
    return Work(
        loaded, Path(out) if out else Path("work") / loaded.name, Path(data) if data else None,
        Path(cache) if cache else None,
    )  # fmt: skip


def _prepared(work: "Work", tell: Callable[[str], None]) -> "Session":
    """The data and the splits of a recipe, made if they are not there."""
    from dermdistill.recipe.run import run_recipe as run
    from dermdistill.recipe.session import Session
    from dermdistill.training.loop import make_fabric

    fabric = make_fabric("cpu", 1)
    fabric.launch()
    run(work, fabric, tell, only=lambda _: False)
    return Session(work, fabric, tell)


def render_views(
    recipe: "Recipe | str | Path",
    size: int,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    batch_size: int = 32,
    tell: Callable[[str], None] = print,
) -> "Iterator[Rendered]":
    """Go through the views that a recipe's students are shown, for a teacher that is run elsewhere.

    All views of the images that train in some part of the recipe, and the plain image (view 0) of the others: what a
    table of logits must cover. The recipe's data and splits are made first if they are not there.

    Args:
        recipe: a recipe, or the path of one.
        size: side of the views in pixels, the foreign teacher's own.
        out: the work folder, by default work/<recipe's name>.
        data: the folder that holds the recipe's sources, by default that of `DERMDISTILL_DATA`.
        cache: folder of decoded images.
        batch_size: images at a time.
        tell: gets a line about each stage that was carried out.

    Returns:
        Batches with `view`, `views_id`, `image_ids`, `sha256s`, and `pixels`, RGB float32 [B, 3, size, size] in [0, 1].

    Raises:
        InputError: the recipe does not fit, or its data are not there.
    """
    from dermdistill.recipe.foreign import render_views as render

    return render(_prepared(_work(recipe, out, data, cache), tell), size, batch_size)


def label_views(
    recipe: "Recipe | str | Path",
    teacher: "Callable[[Tensor], Any]",
    classes: Sequence[str],
    size: int,
    to: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    batch_size: int = 32,
    tell: Callable[[str], None] = print,
) -> int:
    """Ask any callable for its logits of a recipe's views, and write the table that `teachers.logits.file` names.

    It can be stopped: the same call goes on from the parts in the folder <to>.parts, which goes away in the end.

    Args:
        recipe: a recipe, or the path of one; the table need not be there yet.
        teacher: takes RGB float32 [B, 3, size, size] in [0, 1] and gives logits [B, C], a tensor or an array, or an
            object that has them as `logits`. Normalisation and devices are its own affair.
        classes: its C classes in its order; those that the recipe does not know are folded by `teachers.logits.fold`.
        size: side of its input in pixels.
        to: the Parquet table.
        out: the work folder, by default work/<recipe's name>.
        data: the folder that holds the recipe's sources, by default that of `DERMDISTILL_DATA`.
        cache: folder of decoded images.
        batch_size: images at a time.
        tell: gets a line about each stage that was carried out.

    Returns:
        How many rows the table has.

    Raises:
        InputError: the recipe does not fit, its data are not there, the teacher gives something else, or there are
            parts of another call or another teacher.
    """
    from dermdistill.recipe.foreign import label_views as label

    session = _prepared(_work(recipe, out, data, cache), tell)
    return label(session, teacher, tuple(classes), to, size, batch_size)


def load_module(model: str | Path | None = None) -> "Classifier":
    """A model as a plain `torch.nn.Module`: RGB images in, logits out.

    Args:
        model: a bundle's folder, or the name of one that ships, by default the default one.

    Returns:
        The module in evaluation mode on the CPU, checked on the bundle's test vectors. It takes RGB uint8
        [N, 3, H, W], or floating in [0, 1], and gives logits [N, C]; `probabilities` gives calibrated ones. `classes`,
        `image_size` and `temperature` are its facts, `network` is the inner network, which can be trained further.

    Raises:
        InputError: no such bundle, or one without test vectors.
        IntegrityError: the bundle was changed, or the module does not give its answers.

    >>> import torch
    >>> classifier = load_module()
    >>> classifier.classes[4], classifier(torch.zeros(2, 3, 112, 112, dtype=torch.uint8)).shape
    ('mel', torch.Size([2, 7]))
    """
    from dermdistill.export.module import build_classifier
    from dermdistill.predict.bundle import open_bundle

    return build_classifier(open_bundle(model))


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
