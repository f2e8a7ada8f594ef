"""`dermdistill doctor`: what this installation has, what it lacks, and how to get it."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dermdistill import talk
from dermdistill.cli.options import JsonOption, print_json
from dermdistill.errors import ExitCode

if TYPE_CHECKING:
    from dermdistill.doctor import Data, Disk, Findings, Model

app = typer.Typer()


@app.command()
def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Import no packages, which takes seconds.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at this installation: packages, devices, models, data, disk; what is missing and how to get it.

    Exit code 0: what is installed works, whatever is missing; 1: something that is installed is broken.
    """
    from dermdistill.doctor import examine

    if not quick and not as_json:
        talk.note("importing every package that is installed …")
    found = examine(quick=quick)
    if as_json:
        install = {extra.name: extra.install for extra in found.extras if extra.lacking}
        print_json({**asdict(found), "install": install, "broken": found.broken})
    else:
        _show(found, quick)
    if found.broken:
        raise typer.Exit(ExitCode.FAILED)


def _show(found: "Findings", quick: bool) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "", box=SIMPLE, show_header=False, pad_edge=False)
    for what, words in rows(found):
        table.add_row(what, escape(words))
    console = Console()
    console.print(table)
    if found.broken:
        for problem in found.broken:
            talk.blame(f"broken: {problem}")
    else:
        console.print("What is installed " + ("was not tried." if quick else "works."))


def rows(found: "Findings") -> Iterator[tuple[str, str]]:
    """A row a fact: what it is of, and the fact in words."""
    yield "dermdistill", f"{found.dermdistill}, Python {found.python}, {found.platform}"
    for extra in found.extras:
        lacks = ", ".join(f"{one.name} ({one.state})" if one.version else one.name for one in extra.lacking)
        yield extra.name, f"lacks {lacks}: {extra.install}" if lacks else "installed"
    there = {one.name: str(one.version) for extra in found.extras for one in extra.packages if one.version}
    yield "packages", ", ".join(f"{name} {version}" for name, version in sorted(there.items()))
    yield "devices", "; ".join(_devices(found))
    yield "models", ", ".join(map(_of_model, found.models)) or "none ships with this installation"
    yield "data", "; ".join(_of_data(found.data))
    yield "cache", _of_disk(found.cache) + "; DERMDISTILL_CACHE names another"
    yield "this folder", _of_disk(found.here)


def _devices(found: "Findings") -> Iterator[str]:
    yield f"{found.threads} threads of the processor"
    if "cuda" in found.devices:
        yield f"CUDA: {', '.join(found.devices['cuda']) or 'none'}"
        yield f"MPS: {'yes' if found.devices['mps'] else 'none'}"
    if "onnxruntime" in found.devices:
        yield f"ONNX Runtime: {', '.join(found.devices['onnxruntime'])}"


def _of_model(model: "Model") -> str:
    return f"{model.name}{' (default)' if model.default else ''}: {model.problem or 'hashes fit'}"


def _of_data(data: "Data") -> Iterator[str]:
    yield data.folder or str(data.advice)
    there = [name for name, found in data.sources.items() if found]
    missing = [name for name, found in data.sources.items() if not found]
    if there:
        yield f"has {', '.join(there)}"
    if data.folder and missing:
        yield f"lacks {', '.join(missing)}, which recipes take; `dermdistill data fetch --list` shows what can be had"


def _of_disk(disk: "Disk") -> str:
    used = f"{disk.used_bytes / 1e9:.1f} GB in it, " if disk.used_bytes is not None else ""
    return f"{disk.folder}: {used}{disk.free_bytes / 1e9:.1f} GB free"
