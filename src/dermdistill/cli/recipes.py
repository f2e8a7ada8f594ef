"""`dermdistill recipes`: list the recipes that travel with the package, and copy one."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk
from dermdistill.cli.completion import recipe_names
from dermdistill.cli.options import JsonOption, print_json

app = typer.Typer(help="List the recipes that come with dermdistill, and copy one.", invoke_without_command=True)


@app.callback()
def _list_by_default(context: typer.Context, as_json: JsonOption = False) -> None:
    if context.invoked_subcommand is None:
        list_recipes(as_json)
    elif as_json:
        raise typer.BadParameter(f"give --json after {context.invoked_subcommand}, if it takes it")


@app.command("list")
def list_recipes(as_json: JsonOption = False) -> None:
    """List the recipes."""
    from rich.console import Console
    from rich.table import Table

    from dermdistill.recipe.shipped import description, shipped_recipes

    if as_json:
        known = shipped_recipes().items()
        print_json([{"name": name, "file": str(path), "description": description(path)} for name, path in known])
        return
    table = Table("recipe", "what it is")
    for name, path in shipped_recipes().items():
        table.add_row(name, description(path))
    Console().print(table)


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="A name that `dermdistill recipes` lists.", autocompletion=recipe_names)],
    out: Annotated[Path | None, typer.Argument(help="The file; by default <name>.toml in this folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy a recipe, to run it or to start one of your own."""
    from dermdistill.errors import InputError
    from dermdistill.files import write_bytes
    from dermdistill.recipe.shipped import find_recipe

    source = find_recipe(name)
    target = out or Path(source.name)
    if target.is_dir():
        target = target / source.name
    if target.exists() and not force:
        raise InputError(f"{target} is there already; choose another name, or replace it with --force")
    write_bytes(target, source.read_bytes())
    talk.say(f"{name} copied to {target}")
