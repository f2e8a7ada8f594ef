"""`dermdistill export` and `dermdistill predict`."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from dermdistill.errors import InputError

app = typer.Typer()


class Format(StrEnum):
    csv = "csv"
    json = "json"
    jsonl = "jsonl"


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A finished student or teacher.")],
    manifest: Annotated[Path, typer.Option(help="The manifest that it was trained on.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder.")],
    name: Annotated[str | None, typer.Option(help="The bundle's name; by default the run's.")] = None,
    report: Annotated[Path | None, typer.Option(help="A report.json whose figures go into the card.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a verified bundle: ONNX graph, preprocessing, classes, thresholds, licence, card."""
    from dermdistill.data.manifest import read_manifest
    from dermdistill.export.bundle import export_bundle

    folder = export_bundle(run, out, read_manifest(manifest), name=name, report=report, force=force)
    typer.echo(f"verified bundle in {folder}")


@app.command()
def predict(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, patterns, or - for a list on standard input.")],
    model: Annotated[Path | None, typer.Option(help="A bundle; by default the one that ships.")] = None,
    format: Annotated[Format, typer.Option(help="Form of the output.")] = Format.csv,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="A file; by default standard output.")] = None,
    threshold: Annotated[str | None, typer.Option(help="One of the bundle's thresholds, or a number.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a forward pass.")] = 16,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the runtime.")] = None,
) -> None:
    """Melanoma probabilities of dermoscopic images. Exit code 0: all well, 1: some failed, 2: usage."""
    from dermdistill.predict.inputs import expand
    from dermdistill.predict.predictor import Predictor

    _accept_any_name(sys.stdin, "surrogateescape")
    _accept_any_name(sys.stdout, "backslashreplace")
    files = expand(paths, sys.stdin if "-" in paths else ())
    predictor = Predictor(model, threshold=threshold, threads=threads)
    typer.echo(predictor.bundle.spec.intended_use, err=True)
    failed = _write_all(predictor, files, format.value, out, batch_size)
    if failed:
        typer.echo(f"{failed} of {len(files)} images could not be read; their rows say why", err=True)
        raise typer.Exit(1)


def _write_all(predictor: Any, files: list[Path], kind: Any, out: Path | None, batch_size: int) -> int:
    from dermdistill.predict.output import write

    failed = 0

    def counted() -> Iterator[Any]:
        nonlocal failed
        for result in _shown(predictor.predict(files, batch_size), len(files)):
            failed += result.status != "ok"
            yield result

    spec = predictor.bundle.spec
    about = {"model": spec.name, "model_version": spec.version, "threshold": predictor.threshold}
    try:
        with _output(out) as stream:
            write(counted(), predictor.classes, stream, kind, about)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; end quietly
    except OSError as error:
        if out is None:
            raise
        raise InputError(f"{out} cannot be written: {error}") from None
    return failed


def _accept_any_name(stream: TextIO, errors: str) -> None:
    """File names need not be Unicode: one that is not must not end the whole batch."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)


@contextlib.contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    from dermdistill.files import atomic_path

    with (
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        yield stream


def _shown(results: Iterator[Any], total: int) -> Iterator[Any]:
    """Results with a progress bar on standard error, for a person who waits for many."""
    if total < 64 or not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(results, "predict", total, console=Console(stderr=True), transient=True)
