"""`dermdistill completion`: what a shell needs to complete commands, options and names; and the names themselves."""

import contextlib
import os
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer()
VARIABLE = "_DERMDISTILL_COMPLETE"
"""Through which a shell asks the command line for completions."""


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


@app.command()
def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(help="For which shell.", show_default=False)]
) -> None:
    """Print the script with which a shell completes commands, options, and the names of models and recipes.

    `dermdistill --install-completion` finds the shell by itself and puts the script where it looks for it.
    """
    os.environ[VARIABLE] = f"source_{shell.value}"
    try:
        context.find_root().command.main(args=[], prog_name="dermdistill", complete_var=VARIABLE)
    finally:
        del os.environ[VARIABLE]


def model_names(incomplete: str) -> list[str]:
    """The models that ship whose names begin so; a shell goes on with files where there are none."""
    from dermdistill.predict.bundle import shipped_bundles

    return [name for name in shipped_bundles() if name.startswith(incomplete)]


def recipe_names(incomplete: str) -> list[str]:
    """The recipes that come with the package whose names begin so."""
    from dermdistill.recipe.shipped import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def threshold_names(context: typer.Context, incomplete: str) -> list[str]:
    """The thresholds of the model that the command line names so far whose names begin so."""
    from dermdistill.predict.bundle import default_bundle, find_bundle
    from dermdistill.predict.header import read_header

    with contextlib.suppress(Exception):  # a shell that asks must not be shown an error
        model = context.params.get("model")
        known = read_header(find_bundle(model) if model else default_bundle()).thresholds
        return [name for name in known if name.startswith(incomplete)]
    return []
