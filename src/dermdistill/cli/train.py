"""`dermdistill teach | soften | distill | students | run`."""

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


def _work(recipe: Path, data: Path | None, out: Path | None, cache: Path | None) -> Any:
    from dermdistill.recipe.spec import load_recipe
    from dermdistill.recipe.work import Work

    loaded = load_recipe(recipe)
    return Work(loaded, out or Path("work") / loaded.name, data, cache)


def _launch(work: Any, accelerator: str, devices: int = 1, tensorboard: bool = False) -> Any:
    import logging
    import warnings

    from dermdistill.training.loop import make_fabric

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
    folder = work.folder / "tensorboard" if tensorboard else None
    fabric = make_fabric(accelerator, devices, work.recipe.precision, folder)
    fabric.launch()
    return fabric


def _tell(fabric: Any, log: Path | None = None) -> Any:
    """Say a line on the terminal and, with the time, in the log; only the first process does."""
    from datetime import UTC, datetime

    def tell(line: str) -> None:
        typer.echo(line)
        if log is not None:
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
) -> None:
    """Carry out a recipe: data, teachers, soft labels, students, report, bundles; skip what is done."""
    work = _work(recipe, data, out, cache)
    if dry_run:
        _show_plan(work)
        return
    _carry_out(work, accelerator, devices, tensorboard)


def _show_plan(work: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from dermdistill.recipe.stages import MEND, stages

    table = Table("stage", "state", title=f"{work.recipe.name} in {work.folder}")
    plan = stages(work)
    for stage, state in plan:
        table.add_row(stage, state)
    Console().print(table)
    if any(state == "differs" for _, state in plan):
        typer.echo(f"What differs was trained from another recipe, seed or teachers and is never replaced: {MEND}.")


def _carry_out(work: Any, accelerator: str, devices: int = 1, tensorboard: bool = False) -> None:
    from dermdistill.recipe.stages import run_recipe

    fabric = _launch(work, accelerator, devices, tensorboard)
    try:
        run_recipe(work, fabric, _tell(fabric, work.folder / "log.txt"))
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on where it was", err=True)
        raise typer.Exit(130) from None


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
    from dermdistill.distillation.teach import teach as teach_one
    from dermdistill.recipe import stages as pipeline

    work = _work(recipe, data, out, cache)
    fabric = _launch(work, accelerator, devices, tensorboard)
    manifest, splits = pipeline.prepare(work, fabric, _tell(fabric))
    part = _only_part(work, manifest, splits)
    for spec in _chosen(work.recipe.teachers, name):
        done = teach_one(
            spec,
            manifest,
            splits,
            part,
            work.teacher(spec.name),
            seed=work.seed(spec),
            fabric=fabric,
            cache=cache,
        )
        _tell(fabric)(pipeline._trained(done))


@app.command()
def soften(
    recipe: RecipeArgument,
    data: DataOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Write the soft-label bank: every teacher's logits for every view of every training image."""
    from dermdistill.recipe import stages as pipeline

    work = _work(recipe, data, out, cache)
    fabric = _launch(work, accelerator)
    manifest, splits = pipeline.prepare(work, fabric, _tell(fabric))
    bank = pipeline.soften(work, manifest, _only_part(work, manifest, splits), fabric)
    typer.echo(f"{bank.views} views of {len(bank.images)} images in {bank.folder}")


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
    from dermdistill.distillation.distill import distill as distill_one
    from dermdistill.recipe import stages as pipeline

    work = _work(recipe, data, out, cache)
    fabric = _launch(work, accelerator, devices, tensorboard)
    manifest, splits = pipeline.prepare(work, fabric, _tell(fabric))
    part = _only_part(work, manifest, splits)
    teachers = [work.teacher(spec.name) for spec in work.recipe.teachers]
    for spec in _chosen(work.recipe.students, name):
        done = distill_one(
            spec, manifest, splits, part, work.student(spec.name),
            bank=pipeline.open_bank(work, manifest) if spec.labels == "bank" else None,
            teachers=teachers if spec.labels == "online" else (),
            views=work.recipe.soften, seed=work.seed(spec), fabric=fabric, cache=cache,
        )  # fmt: skip
        _tell(fabric)(pipeline._trained(done))


def _only_part(work: Any, manifest: Any, splits: Any) -> Any:
    from dermdistill.recipe.parts import parts

    scheme = work.recipe.split.scheme
    if scheme != "hold-out":
        raise InputError(
            f"this recipe has split.scheme = '{scheme}', several trainings of each model: `dermdistill run`"
        )
    return parts(work.recipe.split, manifest, splits)[0].roles


def _chosen(specs: Any, name: str | None) -> Any:
    chosen = [spec for spec in specs if name in (None, spec.name)]
    if not chosen:
        raise InputError(f"the recipe has no '{name}', it has {', '.join(spec.name for spec in specs)}")
    return chosen


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
