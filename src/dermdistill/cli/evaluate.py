"""`dermdistill evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill.errors import InputError

app = typer.Typer()


@app.command()
def evaluate(
    manifest: Annotated[Path, typer.Argument(help="The manifest.")],
    model: Annotated[list[str], typer.Option(help="NAME=PATH of a run folder or a predictions table; repeat.")],
    out: Annotated[Path, typer.Option(help="The report's folder.")],
    baseline: Annotated[str | None, typer.Option(help="Compare with this one; by default the first.")] = None,
    role: Annotated[str, typer.Option(help="The rows to judge.")] = "test",
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
) -> None:
    """Judge models on the same images: figures with intervals, paired differences, plots."""
    from rich.console import Console

    from dermdistill.cli.key_table import key_table
    from dermdistill.data.manifest import read_manifest
    from dermdistill.evaluate.predictions import read_model
    from dermdistill.evaluate.report import evaluate as judge

    wrong = [text for text in model if not all(text.partition("="))]
    if wrong:
        raise InputError(f"--model expects NAME=PATH, got {', '.join(wrong)}")
    named = {name: Path(path) for name, _, path in (text.partition("=") for text in model)}
    if len(named) < len(model):
        raise InputError(f"each --model needs another name, got {', '.join(model)}")
    models = {name: read_model(path) for name, path in named.items()}
    report = judge(read_manifest(manifest), models, out, baseline=baseline, replicates=replicates, seed=seed, role=role)
    Console().print(key_table(report))
    typer.echo(f"report: {out / 'report.html'} (figures: {out / 'report.json'}, table: {out / 'table.md'})")
