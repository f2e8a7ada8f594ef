"""The `dermdistill` command: one thin subcommand a stage.

Modules here import only typer and the standard library at the top, so that `dermdistill predict`
starts fast and runs with the core install alone; a command imports its stage when it is called.
"""

import os
import sys
from typing import Annotated

import typer

from dermdistill import __version__
from dermdistill.classes import DISCLAIMER
from dermdistill.errors import DermdistillError, MissingExtraError

EXTRA_OF = {
    "imagehash": "data",
    "isic_cli": "fetch",
    "jinja2": "eval",
    "lightning_fabric": "train",
    "matplotlib": "eval",
    "medmnist": "fetch",
    "onnx": "export",
    "onnxscript": "export",
    "pandas": "data",
    "psutil": "train",
    "pyarrow": "data",
    "requests": "fetch",
    "safetensors": "train",
    "scipy": "eval",
    "sklearn": "data",
    "tensorboard": "tensorboard",
    "timm": "train",
    "torch": "train",
    "torchvision": "train",
    "urllib3": "fetch",
}

app = typer.Typer(
    name="dermdistill",
    help=f"Distil dermoscopy classifiers into tiny melanoma detectors. {DISCLAIMER}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dermdistill {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _register() -> None:
    from dermdistill.cli import artifacts, data, demo, deploy, evaluate, recipes, reproduce, train

    for module in (demo, train, evaluate, deploy, artifacts):
        app.add_typer(module.app)
    app.add_typer(data.app, name="data")
    app.add_typer(reproduce.app, name="reproduce")
    app.add_typer(recipes.app, name="recipes")


_register()


def main() -> None:
    """Run the command line; errors meant for people are printed without a traceback."""
    try:
        app()
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRA_OF:
            raise
        _fail(MissingExtraError(EXTRA_OF[package], package))
    except DermdistillError as error:
        _fail(error)


def _fail(error: DermdistillError) -> None:
    if os.environ.get("DERMDISTILL_DEBUG"):
        raise error
    typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
    sys.exit(error.exit_code)
