"""`dermdistill run | status | teach | soften | distill | students`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dermdistill import talk
from dermdistill.cli.options import AcceleratorOption, Engine, JsonOption, print_json
from dermdistill.errors import InputError, did_you_mean, no_such

if TYPE_CHECKING:
    from dermdistill.evaluate.document import Report

app = typer.Typer()

RecipeArgument = Annotated[Path, typer.Argument(help="A TOML recipe.", show_default=False)]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the recipe's sources.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Work folder; by default work/<recipe's name>.")]
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder of decoded images.")]
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


def open_work(recipe: Path, data: Path | None, out: Path | None, cache: Path | None) -> Any:
    """A recipe and its work folder.

    Raises:
        InputError: no such recipe, or one that does not fit.
    """
    from dermdistill.recipe.spec import load_recipe
    from dermdistill.recipe.work import Work

    if not recipe.exists():
        raise InputError(f"no such recipe: {recipe}{_shipped(recipe)}")
    loaded = load_recipe(recipe)
    return Work(loaded, out or Path("work") / loaded.name, data, cache)


def _shipped(recipe: Path) -> str:
    """What to do about a recipe that is not there, if one of its name, or nearly, comes with the package."""
    from dermdistill.recipe.shipped import shipped_recipes

    name, known = recipe.with_suffix("").as_posix(), shipped_recipes()
    if name in known:
        return f"; one of this name comes with the package: `dermdistill recipes copy {name}`"
    close = did_you_mean(name, known)
    return f"{close} `dermdistill recipes` lists those of the package" if close else ""


@contextmanager
def _launched(work: Any, accelerator: str, devices: int = 1, tensorboard: bool = False) -> Iterator[Any]:
    """Fabric with its processes; a stop by the user ends the command in words."""
    from dermdistill.cli.manners import hear_libraries, stopped_in_words
    from dermdistill.training.loop import make_fabric

    hear_libraries()
    folder = work.folder / "tensorboard" if tensorboard else None
    fabric = make_fabric(accelerator, devices, work.recipe.precision, folder)
    fabric.launch()
    talk.detail(f"work folder {work.folder}; on {fabric.device}, {fabric.world_size} process(es)")
    with stopped_in_words():
        yield fabric


def _tell(fabric: Any, log: Path) -> Callable[[str], None]:
    """Say a line on the terminal and, with the time, in the log; only the first process does."""
    import textwrap
    from datetime import UTC, datetime

    def tell(line: str) -> None:
        talk.say(textwrap.fill(line, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))
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

    began, work = time.monotonic(), open_work(recipe, data, out, cache)
    if dry_run:
        _show_plan(work, redo or ())
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
    as_json: JsonOption = False,
) -> None:
    """Show each stage of a recipe and how it stands: done, running, begun, to do, or not what the recipe asks for.

    Beside it stand the epochs or views that are done, the time that was spent and, where it can be told, what is left.
    """
    if not work.exists():
        near = did_you_mean(work, map(str, (*Path("work").glob("*/"), *Path().glob("*.toml"))))
        raise InputError(f"no such work folder or recipe: {work}{near}")
    folder = work if work.is_dir() else None
    recipe = work / COPY if work.is_dir() else work
    if folder is not None and not recipe.is_file():
        raise InputError(
            f"{folder} has no {COPY}, which `dermdistill run` leaves there: give the recipe, and the folder with --out"
        )
    from dermdistill.recipe.progress import look
    from dermdistill.recipe.run import intended

    meant = open_work(recipe, None, out or folder, None)
    standing = intended(meant)
    progress = look(meant, standing)
    if as_json:
        stages = [one.plain() for one in progress]
        print_json({"recipe": meant.recipe.name, "folder": str(meant.folder), "stages": stages})
        return
    _show_progress(meant, progress)
    _tell_differences(standing)


def _show_progress(work: Any, progress: Any) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    title = f"{work.recipe.name} in {work.folder}"
    table = Table("stage", "state", "steps", "time", "left", "what changed", title=title, box=SIMPLE)
    for one in progress:
        steps = "{}/{} {}".format(*one.steps, one.unit) if one.steps else ""
        changes = "\n".join(map(str, one.state.changes))
        table.add_row(one.stage.name, one.standing, steps, duration(one.seconds), duration(one.seconds_left), changes)
    Console().print(table)
    open_ = [one for one in progress if one.standing != "done"]
    spent = sum(one.seconds or 0 for one in progress)
    words = [f"{len(progress) - len(open_)} of {len(progress)} stages done"]
    if spent:
        words.append(f"trained for {duration(spent)}")
    left = sum(one.seconds_left or 0 for one in open_)
    if left:
        unknown = any(one.seconds_left is None for one in open_ if one.stage.kind in ("teach", "soften", "distill"))
        words.append(f"{'at least' if unknown else 'about'} {duration(left)} of training left")
    typer.echo("; ".join(words))


def duration(seconds: float | None) -> str:
    """A time in words: `42 s`, `7 min`, `3 h 20 min`; nothing if it is not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _show_plan(work: Any, redo: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from dermdistill.recipe.checks import refuse_problems
    from dermdistill.recipe.run import intended

    table = Table("stage", "state", "what changed", title=f"{work.recipe.name} in {work.folder}")
    standing = intended(work, redo)
    for stage, state in standing:
        table.add_row(stage.name, state.standing, "\n".join(map(str, state.changes)))
    Console().print(table)
    if not _tell_differences(standing):
        refuse_problems(work, standing)


def _tell_differences(standing: Any) -> bool:
    """Say what to do about stages that differ; whether there are any."""
    from dermdistill.recipe.stage import mend

    different = [stage for stage, state in standing if state.standing == "differs"]
    if different:
        typer.echo(
            "What differs was made from something else than the recipe asks for now, and is never replaced in silence: "
            f"{mend(different[0])}."
        )
    return bool(different)


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
        how: `redo`, `only` and `share` of `dermdistill.recipe.run.run_recipe`.
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


def conclude(
    work: Any, seconds: float, more: dict[str, str] | None = None,
    lessons: "Callable[[Report], list[str]] | None" = None,
) -> None:  # fmt: skip
    """Show the key figures and where everything is.

    Args:
        work: a recipe that was carried out.
        seconds: how long it took.
        more: further paths, by what they are.
        lessons: gives lines on what the report says.
    """
    import os

    from rich.console import Console

    if talk.loudness() == talk.Loudness.QUIET:
        return
    from dermdistill.classes import DISCLAIMER
    from dermdistill.cli.key_table import key_table
    from dermdistill.evaluate.document import load_report

    console, report = Console(), load_report(work.report / "report.json")
    console.print(key_table(report))
    for line in lessons(report) if lessons else ():
        console.print(line, highlight=False, markup=False)
    if report.data.synthetic:
        console.print("[bold]These figures are of synthetic images and say nothing about skin.[/bold]")
    bundles = {"bundle": ", ".join(str(work.bundle(name)) for name in work.exported)}
    shown = {"report": str(work.report / "report.html"), **bundles, **(more or {})}
    shown["time"] = f"{seconds / 60:.1f} minutes on {os.cpu_count()} cores"
    for what, where in shown.items():
        console.print(f"{what:<12} {where}", soft_wrap=True, highlight=False)
    console.print(DISCLAIMER)


def _stage_command(
    kind: Any, name: str | None, work: Any, recipe: Path, accelerator: str, *options: Any, **how: Any
) -> None:
    from dermdistill.recipe.plan import plan
    from dermdistill.recipe.run import of_kind

    known = [stage.model for stage in plan(work) if stage.kind == kind]
    if not known:
        raise InputError(f"the recipe has no stage '{kind}'; `dermdistill run --dry-run` shows those that it has")
    if name is not None and name not in known:
        raise no_such("model of this recipe", name, dict.fromkeys(known))
    carry_out(work, recipe, accelerator, *options, only=of_kind(kind, name), **how)


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
    _stage_command("teach", name, open_work(recipe, data, out, cache), recipe, accelerator, devices, tensorboard)


@app.command()
def soften(
    recipe: RecipeArgument,
    data: DataOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    accelerator: AcceleratorOption = "auto",
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="K/N", help="Compute one of N parts; `soften` without --part joins them."),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="This process, or the workers of a Ray cluster, which needs the extra ray.")
    ] = Engine.local,
    parts: Annotated[
        int | None, typer.Option(min=1, help="With ray: how many parts; by default one for each GPU or processor.")
    ] = None,
) -> None:
    """Write the soft-label bank: every teacher's logits for every view of every training image.

    With --part, several processes or machines compute it; each writes into bank-parts/ in the work folder. With
    --engine ray, Ray's workers compute the parts, and this process joins them.
    """
    if parts is not None and engine is Engine.local:
        raise InputError("--parts goes with --engine ray; without Ray name one part with --part K/N")
    if part is not None and engine is Engine.ray:
        raise InputError("--part is for schedulers; with --engine ray say how many with --parts")
    work = open_work(recipe, data, out, cache)
    if engine is Engine.ray:
        _soften_on_ray(work, recipe, accelerator, parts)
    _stage_command("soften", None, work, recipe, accelerator, share=_share(part))


def _soften_on_ray(work: Any, recipe: Path, accelerator: str, parts: int | None) -> None:
    from dermdistill.recipe.cluster import Place, soften_parts

    carry_out(work, recipe, "cpu", only=lambda _: False)  # data and splits, once for all workers
    data, cache = (path and path.absolute() for path in (work.data, work.cache))
    soften_parts(Place(recipe.absolute(), work.folder.absolute(), data, cache), parts, accelerator, talk.say)


def _share(part: str | None) -> Any:
    if part is None:
        return None
    from dermdistill.distillation.share import Share

    return Share.read(part)


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
    _stage_command("distill", name, open_work(recipe, data, out, cache), recipe, accelerator, devices, tensorboard)


@app.command()
def students(as_json: JsonOption = False) -> None:
    """List the students with their parameters and multiply-accumulates."""
    from rich.console import Console
    from rich.table import Table

    from dermdistill.networks.registry import BUDGET, table

    if as_json:
        print_json([
            {"name": spec.name, "image_size": spec.image_size, "parameters": count.parameters, "macs": count.macs,
             "fits": count.parameters <= BUDGET, "description": spec.description}
            for spec, count in table()
        ])  # fmt: skip
        return
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
