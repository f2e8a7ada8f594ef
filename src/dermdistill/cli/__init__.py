"""The `dermdistill` command: one thin subcommand a stage.

Modules here import only typer and the standard library at the top, so that `dermdistill predict`
starts fast and runs with the core install alone; a command imports its stage when it is called.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable
from typing import Annotated, NoReturn, cast

import typer
from typer.core import TyperGroup

from dermdistill import talk
from dermdistill.classes import DISCLAIMER
from dermdistill.cli.catalogue import FIRST, GROUPS, MODULES, PANELS
from dermdistill.cli.manners import Debug, Quiet, Verbose, begin, debugs, example_text, give_manners
from dermdistill.cli.stdout import abandon_stdout, printing
from dermdistill.errors import EXIT_CODES, DermdistillError, FaultError, InputError, MissingExtraError, explain_os_error
from dermdistill.version import __version__

EXTRA_OF = {
    "ai_edge_litert": "litert",
    "ai_edge_quantizer": "litert",
    "anyio": "serve",
    "coremltools": "coreml",
    "executorch": "executorch",
    "cykooz_resizer": "fast",
    "dicomweb_client": "dicom",
    "docx": "report",
    "fastapi": "serve",
    "fsspec": "remote",
    "h5py": "fetch",
    "highdicom": "dicom",
    "imagehash": "data",
    "huggingface_hub": "train",
    "isic_cli": "fetch",
    "jinja2": "eval",
    "lightning_fabric": "train",
    "litert_torch": "litert",
    "markupsafe": "eval",
    "matplotlib": "eval",
    "medmnist": "fetch",
    "nncf": "quantize",
    "onnx": "export",
    "onnxscript": "export",
    "openpyxl": "data",
    "openvino": "openvino",
    "pandas": "data",
    "pillow_heif": "heic",
    "optuna": "sweep",
    "prometheus_client": "serve",
    "psutil": "train",
    "pyarrow": "data",
    "pydicom": "dicom",
    "python_multipart": "serve",
    "ray": "ray",
    "requests": "fetch",
    "retrying": "dicom",
    "safetensors": "train",
    "scipy": "eval",
    "sklearn": "data",
    "starlette": "serve",
    "tensorboard": "tensorboard",
    "timm": "train",
    "torch": "train",
    "torchao": "executorch",
    "torchvision": "train",
    "urllib3": "fetch",
    "uvicorn": "serve",
}


class InPanels(TyperGroup):
    """The commands in the order of their panels."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """The names, those without a panel last."""
        order = [name for commands in PANELS.values() for name in commands]
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _epilog() -> str:
    codes = "\n".join(f"{code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    return f"{example_text(FIRST)}\n\n[bold]Exit codes[/bold]\n{codes}"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dermdistill {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    begin(quiet, verbose, debug)


def _application(modules: Iterable[str] = MODULES) -> typer.Typer:
    """The command with the subcommands of some modules of this package; by default with all."""
    whole = typer.Typer(
        name="dermdistill",
        cls=InPanels,
        help=f"Distil dermoscopy classifiers into tiny melanoma detectors. {DISCLAIMER}",
        epilog=_epilog(),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    whole.callback()(_root)
    for name in modules:
        module = importlib.import_module(f"dermdistill.cli.{name}")
        whole.add_typer(module.app, name=name if name in GROUPS else None)
    give_manners(whole)
    return whole


def __getattr__(name: str) -> typer.Typer:
    """`app`, with all subcommands, is made when it is first asked for: one subcommand starts without the others."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = _application()
    return cast(typer.Typer, globals()[name])


def main() -> None:
    """Run the command line; an error is told without a traceback, which `--debug` shows."""
    try:
        _run()
    except Exception as error:
        _fail(_in_words(error), error)


def _run() -> None:
    """The command, and what it printed is out before it ends."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    _start_fast(asked)
    try:
        _application([name for name, commands in MODULES.items() if asked in commands] or MODULES)()
    finally:
        with printing():
            pass


def _start_fast(command: str) -> None:
    """Spare what takes time before anything is done, unless the user has chosen otherwise."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it searches all installed packages for some
    if command == "predict":  # it multiplies no matrices in NumPy, whose OpenBLAS would start threads that spin
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _in_words(error: Exception) -> DermdistillError:
    """The error that people are told."""
    if isinstance(error, DermdistillError):
        return error
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").split(".")[0]
        if package in EXTRA_OF:
            return MissingExtraError(EXTRA_OF[package], package)
    if isinstance(error, OSError) and error.errno is not None:  # else not the system's: a package has made its own kind
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return InputError(f"{where}{explain_os_error(error)}")
    return FaultError(error)


def _fail(error: DermdistillError, cause: BaseException) -> NoReturn:
    with contextlib.suppress(OSError):  # standard error may be full too
        if debugs():
            import traceback

            traceback.print_exception(cause)
        talk.blame(f"error: {error}")
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        abandon_stdout()
    sys.exit(error.exit_code)
