"""What all commands have in common: how much they say, tracebacks, their place in the help, and examples."""

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from dermdistill import talk
from dermdistill.cli.catalogue import PANELS
from dermdistill.errors import ExitCode
from dermdistill.talk import Loudness
from dermdistill.threads import use

DEBUG = "DERMDISTILL_DEBUG"
"""The variable that `--debug` stands for."""
EVERYWHERE = "Of every command"

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Only results, warnings and errors; no bars.", rich_help_panel=EVERYWHERE),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say from what and with what, too.", rich_help_panel=EVERYWHERE)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.", rich_help_panel=EVERYWHERE)]
OPTIONS = {"quiet": Quiet, "verbose": Verbose, "debug": Debug}
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the processor that compute; by default one for each core.")
]
"""Of every command that trains, which is told by its option `--accelerator`."""

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_debug = False


def begin(quiet: bool, verbose: bool, debug: bool) -> None:
    """Choose how much is said by a command that begins."""
    global _debug
    _debug = bool(os.environ.get(DEBUG))
    talk.set_loudness(Loudness.NORMAL)
    choose(quiet, verbose, debug)


def choose(quiet: bool, verbose: bool, debug: bool) -> None:
    """Change it by the options that are given.

    Raises:
        BadParameter: both quiet and verbose.
    """
    global _debug
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose contradict each other; give one of them")
    if quiet or verbose:
        talk.set_loudness(Loudness.QUIET if quiet else Loudness.VERBOSE)
    _debug = _debug or debug


def debugs() -> bool:
    """Whether errors show where they come from."""
    return _debug


def hear_libraries() -> None:
    """Let what libraries log be heard as loudly as the command speaks."""
    import logging
    import warnings

    levels = {Loudness.QUIET: logging.ERROR, Loudness.NORMAL: logging.WARNING, Loudness.VERBOSE: logging.INFO}
    logging.basicConfig(level=levels[talk.loudness()], format="%(message)s")
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")


@contextlib.contextmanager
def stopped_in_words() -> Iterator[None]:
    """A stop by the user ends the command in words; what was done stays."""
    try:
        yield
    except KeyboardInterrupt:
        talk.warn("stopped; the same command goes on where it was")
        raise typer.Exit(ExitCode.STOPPED) from None


def with_manners(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that takes the options of every command, besides its own, and `--threads` if it trains."""
    signature = inspect.signature(command)
    if OPTIONS.keys() <= signature.parameters.keys():
        return command  # it takes them already
    trains = "accelerator" in signature.parameters

    @functools.wraps(command)
    def mannered(*args: Any, quiet: bool, verbose: bool, debug: bool, **own: Any) -> Any:
        choose(quiet, verbose, debug)
        if trains and (threads := own.pop("threads")) is not None:
            use(threads)
        return command(*args, **own)

    own = [*signature.parameters.values()]
    if trains:
        own.append(inspect.Parameter("threads", _KEYWORD, default=None, annotation=Threads))
    more = [
        inspect.Parameter(name, _KEYWORD, default=False, annotation=annotation) for name, annotation in OPTIONS.items()
    ]
    mannered.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    mannered.__annotations__ = {**command.__annotations__, **({"threads": Threads} if trains else {}), **OPTIONS}
    return mannered


def give_manners(app: typer.Typer, path: str = "") -> None:
    """Give all commands beneath an application the options of every command, their panel and their examples.

    Args:
        app: its groups and commands are all there already.
        path: the names of the groups that lead to it, each with a space behind it.
    """
    panels = {name: (panel, examples) for panel, commands in PANELS.items() for name, examples in commands.items()}
    for info in app.registered_commands:
        if info.callback is None:
            continue
        name = path + (info.name or info.callback.__name__.strip("_").replace("_", "-"))
        panel, examples = panels.get(name, (None, ()))
        info.callback = with_manners(info.callback)
        info.epilog = example_text(examples)
        info.rich_help_panel = panel if not path else info.rich_help_panel
    for group in app.registered_groups:
        if group.typer_instance is None:
            continue
        give_manners(group.typer_instance, f"{path}{group.name} " if group.name else path)
        callback = group.typer_instance.registered_callback
        if group.name and callback is not None and callback.callback is not None:
            panel, examples = panels.get(path + group.name, (None, ()))
            callback.callback = with_manners(callback.callback)
            group.epilog, group.rich_help_panel = example_text(examples), panel


def example_text(examples: tuple[str, ...]) -> str | None:
    """Command lines as the end of a help text, each in a line of its own."""
    if not examples:
        return None
    return "\n".join(["[bold]Examples[/bold]", *(f"$ {line}" for line in examples)])
