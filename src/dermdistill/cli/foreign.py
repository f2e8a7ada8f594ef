"""`dermdistill views`."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk
from dermdistill.cli.train import CacheOption, DataOption, OutOption, RecipeArgument

app = typer.Typer()


@app.command()
def views(
    recipe: RecipeArgument,
    to: Annotated[Path, typer.Option(help="Folder for the pictures and views.csv.")],
    size: Annotated[int, typer.Option(min=1, help="Side of the pictures in pixels.")],
    data: DataOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
) -> None:
    """Write the views that a recipe's students are shown as pictures, for a teacher that is run elsewhere."""
    from dermdistill.cli.train import _keep, open_work
    from dermdistill.recipe.foreign import write_views
    from dermdistill.recipe.run import run_recipe
    from dermdistill.recipe.session import Session
    from dermdistill.training.loop import make_fabric

    work, fabric = open_work(recipe, data, out, cache), make_fabric("cpu", 1)
    fabric.launch()
    run_recipe(work, fabric, talk.say, only=lambda _: False, started=lambda: _keep(work, recipe))
    count = write_views(Session(work, fabric, talk.say), to, size)
    talk.say(f"views: {count} pictures of {size} px, named in {to / 'views.csv'}")
