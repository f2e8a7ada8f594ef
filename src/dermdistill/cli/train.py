"""`dermdistill run | status | teach | soften | distill | students`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dermdistill.errors import InputError

app = typer.Typer()

RecipeArgument = Annotated[Path, typer.Argument(help="A TOML recipe.", show_default=False)]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the recipe's sources.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Work folder; by default work/<recipe's name>.")]
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder of decoded images.")]
AcceleratorOption = Annotated[str, typer.Option(help="auto, cpu or gpu.")]
DevicesOption = Annotated[int, typer.Option(help="How many devices; more than one trains with DDP.", min=1)]
TensorboardOption = Annotated[bool, typer.Option("--tensorboard", help="Write curves to <out>/tensorboard as well.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Only the one of this name.")]
RedoOption = Annotated[
    list[str] | None,
    typer.Option(
        "--redo", metavar="STAGE", help="Move a stage's result aside and make it anew, with what depends on it."
    ),
]
COPY = "recipe.toml"
"""The recipe in its work folder, for `status`."""


def _work(recipe: Path, data: Path | None, out: Path | None, cache: Path | None) -> Any:
    from dermdistill.recipe.spec import load_recipe
    from dermdistill.recipe.work import Work

    loaded = load_recipe(recipe)
    return Work(loaded, out or Path("work") / loaded.name, data, cache)


@contextmanager
def _launched(work: Any, accelerator: str, devices: int = 1, tensorboard: bool = False) -> Iterator[Any]:
    """Fabric with its processes; a stop by the user ends the command in words."""
    import logging
    import warnings

    from dermdistill.training.loop import make_fabric

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
    folder = work.folder / "tensorboard" if tensorboard else None
    fabric = make_fabric(accelerator, devices, work.recipe.precision, folder)
    fabric.launch()
    try:
        yield fabric
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on where it was", err=True)
        raise typer.Exit(130) from None


def _tell(fabric: Any, log: Path) -> Callable[[str], None]:
    """Say a line on the terminal and, with the time, in the log; only the first process does."""
    from datetime import UTC, datetime

    def tell(line: str) -> None:
        typer.echo(line)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")

    return tell if fabric.is_global_zero else lambda line: None


@app.command()
def run(
    recipe: RecipeArgument,
    data: DataOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = 1,
    tensorboard: TensorboardOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, check that it can start, and stop.")
    ] = False,
    redo: RedoOption = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="STAGE", help="Carry out one stage, such as 'evaluate'.")
    ] = None,
) -> None:
    """Carry out a recipe: data, teachers, soft labels, students, report, bundles; skip what is done."""
    import time

    began, work = time.monotonic(), _work(recipe, data, out, cache)
    if dry_run:
        _show_plan(work, redo or (), check=True)
        return
    carry_out(work, recipe, accelerator, devices, tensorboard, redo=redo or (), only=_one(work, only))
    if only is None:
        conclude(work, time.monotonic() - began)


def _one(work: Any, name: str | None) -> Any:
    from dermdistill.recipe.plan import plan
    from dermdistill.recipe.run import dependents

    if name is None:
        return lambda _: True
    dependents(plan(work), [name])  # refuses an unknown name
    return lambda stage: stage.name == name


@app.command()
def status(
    work: Annotated[Path, typer.Argument(help="A work folder, or a recipe.", show_default=False)],
    out: OutOption = None,
) -> None:
    """Show each stage of a recipe and how it stands: done, to do, or differs from what the recipe asks for."""
    folder = work if work.is_dir() else None
    recipe = work / COPY if work.is_dir() else work
    if folder is not None and not recipe.is_file():
        raise InputError(
            f"{folder} has no {COPY}, which `dermdistill run` leaves there: give the recipe, and the folder with --out"
        )
    _show_plan(_work(recipe, None, out or folder, None), (), check=False)


def _show_plan(work: Any, redo: Any, check: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from dermdistill.recipe.checks import refuse_problems
    from dermdistill.recipe.run import intended
    from dermdistill.recipe.stage import mend

    table = Table("stage", "state", "what changed", title=f"{work.recipe.name} in {work.folder}")
    standing = intended(work, redo)
    for stage, state in standing:
        table.add_row(stage.name, state.standing, "\n".join(map(str, state.changes)))
    Console().print(table)
    different = [stage for stage, state in standing if state.standing == "differs"]
    if different:
        typer.echo(
            "What differs was made from something else than the recipe asks for now, and is never replaced in silence: "
            f"{mend(different[0])}."
        )
    elif check:
        refuse_problems(work, standing)


def carry_out(
    work: Any, recipe: Path, accelerator: str, devices: int = 1, tensorboard: bool = False, **how: Any
) -> None:
    """Run a recipe's stages, with a copy of the recipe and a log in the work folder.

    Args:
        work: the recipe and its folder.
        recipe: the file that the recipe comes from.
        accelerator: auto, cpu or gpu.
        devices: how many.
        tensorboard: write curves as well.
        how: `redo` and `only` of `dermdistill.recipe.run.run_recipe`.
    """
    from dermdistill.recipe.run import run_recipe

    with _launched(work, accelerator, devices, tensorboard) as fabric:
        run_recipe(work, fabric, _tell(fabric, work.folder / "log.txt"), started=lambda: _keep(work, recipe), **how)


def _keep(work: Any, recipe: Path) -> None:
    """Leave a copy of the recipe in its work folder."""
    from dermdistill.files import write_bytes

    content, copy = recipe.read_bytes(), work.folder / COPY
    if not copy.exists() or copy.read_bytes() != content:
        write_bytes(copy, content)


def conclude(work: Any, seconds: float, more: dict[str, str] | None = None) -> None:
    """Show the key figures and where everything is.

    Args:
        work: a recipe that was carried out.
        seconds: how long it took.
        more: further paths, by what they are.
    """
    import os

    from rich.console import Console

    from dermdistill.classes import DISCLAIMER
    from dermdistill.cli.key_table import key_table
    from dermdistill.evaluate.document import load_report

    console, report = Console(), load_report(work.report / "report.json")
    console.print(key_table(report))
    if report.data.synthetic:
        console.print("[bold]These figures are of synthetic images and say nothing about skin.[/bold]")
    bundles = {"bundle": ", ".join(str(work.bundle(name)) for name in work.exported)}
    shown = {"report": str(work.report / "report.html"), **bundles, **(more or {})}
    shown["time"] = f"{seconds / 60:.1f} minutes on {os.cpu_count()} cores"
    for what, where in shown.items():
        console.print(f"{what:<12} {where}", soft_wrap=True, highlight=False)
    console.print(DISCLAIMER)


def _stage_command(kind: Any, name: str | None, work: Any, recipe: Path, accelerator: str, *options: Any) -> None:
    from dermdistill.recipe.plan import plan
    from dermdistill.recipe.run import of_kind

    known = [stage.model for stage in plan(work) if stage.kind == kind]
    if not known:
        raise InputError(f"the recipe has no stage '{kind}'; `dermdistill run --dry-run` shows those that it has")
    if name is not None and name not in known:
        raise InputError(f"the recipe has no '{name}', it has {', '.join(dict.fromkeys(known))}")
    carry_out(work, recipe, accelerator, *options, only=of_kind(kind, name))


@app.command()
def teach(
    recipe: RecipeArgument,
    name: NameOption = None,
    data: DataOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = 1,
    tensorboard: TensorboardOption = False,
) -> None:
    """Fine-tune a recipe's teachers."""
    _stage_command("teach", name, _work(recipe, data, out, cache), recipe, accelerator, devices, tensorboard)


@app.command()
def soften(
    recipe: RecipeArgument,
    data: DataOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Write the soft-label bank: every teacher's logits for every view of every training image."""
    _stage_command("soften", None, _work(recipe, data, out, cache), recipe, accelerator)


@app.command()
def distill(
    recipe: RecipeArgument,
    name: NameOption = None,
    data: DataOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = 1,
    tensorboard: TensorboardOption = False,
) -> None:
    """Train a recipe's students from the bank, with the teacher in the loop, or alone."""
    _stage_command("distill", name, _work(recipe, data, out, cache), recipe, accelerator, devices, tensorboard)


@app.command()
def students() -> None:
    """List the students with their parameters and multiply-accumulates."""
    from rich.console import Console
    from rich.table import Table

    from dermdistill.networks.registry import BUDGET, table

    shown = Table("student", "image", "parameters", "million MACs", "fits", "what it is")
    for spec, count in table():
        fits = "yes" if count.parameters <= BUDGET else "no"
        shown.add_row(
            spec.name,
            f"{spec.image_size} px",
            f"{count.parameters:,}",
            f"{count.macs / 1e6:.1f}",
            fits,
            spec.description,
        )
    Console().print(shown)
