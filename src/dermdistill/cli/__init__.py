"""The `dermdistill` command: one thin subcommand a stage.

Modules here import only typer and the standard library at the top, so that `dermdistill predict`
starts fast and runs with the core install alone; a command imports its stage when it is called.
"""

import contextlib
import os
import sys
from typing import Annotated, NoReturn

import typer

from dermdistill.classes import DISCLAIMER
from dermdistill.cli.stdout import abandon_stdout, printing
from dermdistill.errors import DermdistillError, InputError, MissingExtraError, explain_os_error
from dermdistill.version import __version__

EXTRA_OF = {
    "anyio": "serve",
    "dicomweb_client": "dicom",
    "fastapi": "serve",
    "h5py": "fetch",
    "highdicom": "dicom",
    "imagehash": "data",
    "isic_cli": "fetch",
    "jinja2": "eval",
    "lightning_fabric": "train",
    "matplotlib": "eval",
    "medmnist": "fetch",
    "onnx": "export",
    "onnxscript": "export",
    "openpyxl": "data",
    "openvino": "openvino",
    "pandas": "data",
    "pillow_heif": "heic",
    "prometheus_client": "serve",
    "psutil": "train",
    "pyarrow": "data",
    "pydicom": "dicom",
    "python_multipart": "serve",
    "requests": "fetch",
    "retrying": "dicom",
    "safetensors": "train",
    "scipy": "eval",
    "sklearn": "data",
    "starlette": "serve",
    "tensorboard": "tensorboard",
    "timm": "train",
    "torch": "train",
    "torchvision": "train",
    "urllib3": "fetch",
    "uvicorn": "serve",
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
    from dermdistill.cli import artifacts, data, demo, deploy, evaluate, models, page, recipes, reproduce, serve, train

    for module in (demo, train, evaluate, deploy, models, page, serve, artifacts):
        app.add_typer(module.app)
    app.add_typer(data.app, name="data")
    app.add_typer(reproduce.app, name="reproduce")
    app.add_typer(recipes.app, name="recipes")


_register()


def main() -> None:
    """Run the command line; errors meant for people, and those of the system, are printed without a traceback."""
    try:
        _run()
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRA_OF:
            raise
        _fail(MissingExtraError(EXTRA_OF[package], package))
    except DermdistillError as error:
        _fail(error)
    except OSError as error:
        if error.errno is None:  # not the system's: a package has made its own kind
            raise
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _fail(InputError(f"{where}{explain_os_error(error)}"), error)


def _run() -> None:
    """The command, and what it printed is out before it ends."""
    try:
        app()
    finally:
        with printing():
            pass


def _fail(error: DermdistillError, cause: BaseException | None = None) -> NoReturn:
    if os.environ.get("DERMDISTILL_DEBUG"):
        raise cause or error
    with contextlib.suppress(OSError):  # standard error may be full too
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        abandon_stdout()
    sys.exit(error.exit_code)
