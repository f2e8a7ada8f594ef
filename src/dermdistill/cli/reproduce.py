"""`dermdistill reproduce`: published studies, made again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dermdistill import talk
from dermdistill.cli.options import AcceleratorOption
from dermdistill.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from dermdistill.khan2022.beside import Beside
    from dermdistill.khan2022.recipe import Row, Settings
    from dermdistill.khan2022.study import Study

app = typer.Typer(help="Make published studies again.", no_args_is_help=True)

_TABLES = ("2", "temperature", "batch", "ablation")
_WEIGHTS = ("hub", "package", "none")


@app.callback()
def _studies() -> None:
    pass


@app.command()
def khan2022(
    table: Annotated[list[str] | None, typer.Option(help="2, temperature, batch or ablation; repeat.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only the row of this name; repeat.")] = None,
    protocol: Annotated[str, typer.Option(help="corrected or as-published.")] = "corrected",
    budget: Annotated[str, typer.Option(help="smoke: every row in minutes; full: the paper's settings.")] = "smoke",
    recipe: Annotated[Path | None, typer.Option(help="Settings in TOML, instead of the budget's.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the four .npy arrays, or a manifest.")] = None,
    weights: Annotated[str | None, typer.Option(help="hub, package or none; by default the budget's.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Another system as the teacher, such as lite0.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of every row.")] = None,
    image_size: Annotated[int | None, typer.Option(min=18, help="Side of the images in pixels.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many epochs.")] = None,
    images: Annotated[int | None, typer.Option(min=8, help="At most so many images, training and test.")] = None,
    timing_images: Annotated[int | None, typer.Option(min=1, help="Images of the prediction clock.")] = None,
    clock_only: Annotated[bool, typer.Option("--clock-only", help="Only time prediction; train nothing.")] = False,
    beside: Annotated[list[str] | None, typer.Option(help="Bundle or model to judge beside; repeat.")] = None,
    beside_splits: Annotated[Path | None, typer.Option(help="The splits.json that it was trained with.")] = None,
    beside_fold: Annotated[int | None, typer.Option(min=0, help="The fold that it has not seen.")] = None,
    out: Annotated[Path | None, typer.Option(help="Study folder; by default work/khan2022-<budget>.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded images.")] = None,
    accelerator: AcceleratorOption = "auto",
    list_rows: Annotated[bool, typer.Option("--list", help="Show the rows and what is done, and stop.")] = False,
) -> None:  # fmt: skip
    """Khan et al. 2022: its systems, its Table 2, its sweeps, and what the faults of its code cost."""
    for value, known, what in ((budget, ("smoke", "full"), "budget"), (weights, (*_WEIGHTS, None), "weights"),
                               (protocol, ("corrected", "as-published"), "protocol")):  # fmt: skip
        if value not in known:
            words = [word for word in known if word]
            raise InputError(f"--{what} is one of {', '.join(words)}, got '{value}'{did_you_mean(value, words)}")
    if unknown := [name for name in table or () if name not in _TABLES]:
        meant = did_you_mean(unknown[0], _TABLES)
        raise InputError(f"--table is one of {', '.join(_TABLES)}, got {', '.join(unknown)}{meant}")
    changes = {
        "weights": weights, "teacher": teacher, "seeds": seeds, "image_size": image_size, "epochs": epochs,
        "images": images, "timing_images": timing_images,
    }  # fmt: skip
    folder = out or Path("work") / f"khan2022-{budget if recipe is None else recipe.stem}"
    if clock_only and (table or row):
        raise InputError("--clock-only times every system and trains no row: leave --table and --row out")
    timed = clock_only or ("2" in (table or _TABLES) and not row)
    tables = [] if clock_only else list(table or _TABLES)
    import dataclasses
    import tempfile

    from dermdistill.khan2022.beside import open_beside
    from dermdistill.khan2022.reproduce import require_sizes, show_rows

    settings, rows = _rows(budget, recipe, changes, tables, row or [], protocol)
    if list_rows:
        with tempfile.TemporaryDirectory() as drawn:  # a look leaves nothing in the study's folder
            study = _study(settings, Path(drawn), data, cache or Path(drawn) / "cache", accelerator)
            show_rows(dataclasses.replace(study, folder=folder), rows)
        return
    require_sizes(settings, rows, timed)
    students = open_beside(beside or [], beside_splits, beside_fold)
    _carry_out(_study(settings, folder, data, cache, accelerator), rows, timed, students)


def _rows(
    budget: Any, recipe: Path | None, changes: dict[str, Any], tables: Any, names: list[str], protocol: Any
) -> "tuple[Settings, list[Row]]":
    from dermdistill.khan2022.recipe import changed, named_rows, settings_of

    settings = changed(settings_of(budget, recipe), **changes)
    return settings, named_rows(names, tables, settings, protocol)


def _study(settings: "Settings", folder: Path, data: Path | None, cache: Path | None, accelerator: str) -> "Study":
    from dermdistill.cli.manners import hear_libraries
    from dermdistill.khan2022.reproduce import open_study
    from dermdistill.training.loop import make_fabric

    hear_libraries()
    fabric = make_fabric(accelerator, precision=settings.precision)
    fabric.launch()
    return open_study(settings, folder, data, cache, fabric, _tell(folder / "log.txt"))


def _carry_out(study: "Study", rows: "list[Row]", timed: bool, students: "list[Beside]") -> None:
    from dermdistill.cli.manners import stopped_in_words
    from dermdistill.khan2022.reproduce import reproduce

    with stopped_in_words():
        reproduce(study, rows, timed, students)
    folder = study.folder
    talk.say(f"report: {folder / 'report.html'} (figures: {folder / 'report.json'}, tables: {folder / 'report.md'})")


def _tell(log: Path) -> Any:
    """Say a line on the terminal and, with the time, in the log."""
    from datetime import UTC, datetime

    def tell(line: str) -> None:
        talk.say(line)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")

    return tell
