"""`dermdistill sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk
from dermdistill.cli.options import AcceleratorOption
from dermdistill.cli.train import CacheOption, DataOption, OutOption, RecipeArgument, open_work

app = typer.Typer()


@app.command()
def sweep(
    recipe: RecipeArgument,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUES", help="A student's key, and LOW..HIGH, LOW..HIGH(log) or ONE,OTHER."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many in all, those of earlier calls included.")] = 20,
    student: Annotated[str | None, typer.Option("--student", help="By default the recipe's first.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="What processes share: sqlite:///FILE, another database, or the path of a journal."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="A name in the storage.")] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The sweep's folder; by default sweep/ in the work folder.")
    ] = None,
    data: DataOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Try values of a student's keys; the best has the highest validation AUROC. Test images are never read.

    The same command goes on where it was, and several at once share the trials of one storage. A trial that is below
    the median of the others in an epoch ends there.
    """
    from dermdistill.recipe.space import read_axes

    axes = read_axes(set_ or [])
    work = open_work(recipe, data, out, cache)
    from dermdistill.cli.manners import hear_libraries, stopped_in_words
    from dermdistill.recipe.sweep import Reporter, carry_out, open_study, prepare, write_results
    from dermdistill.training.loop import make_fabric

    hear_libraries()
    reporter = Reporter()
    fabric = make_fabric(accelerator, 1, work.recipe.precision, loggers=[reporter])
    fabric.launch()
    asked = prepare(work, fabric, axes, to or work.folder / "sweep", student, talk.say)
    opened = open_study(asked, storage, study)
    with stopped_in_words():
        carry_out(asked, opened, trials, reporter)
    found = write_results(asked, opened)
    if found["best"] is not None:
        best = found["best"]
        talk.say(f"best: validation AUROC {best['validation_auroc']:.4f}, trial {best['trial']}")
        for key, value in best["set"].items():
            talk.say(f"  {key} = {value!r}")
    talk.say(f"table and plots in {asked.folder}")
