"""`dermdistill fetch-artifacts`: weights and soft labels of published runs, from a release."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk
from dermdistill.cli.options import JsonOption, print_json
from dermdistill.errors import InputError

app = typer.Typer()


@app.command()
def fetch_artifacts(
    names: Annotated[list[str] | None, typer.Argument(help="Artefacts; by default all.")] = None,
    source: Annotated[str | None, typer.Option("--from", metavar="URL|FOLDER", help="Where the archives are.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the work folders.")] = Path("work"),
    index: Annotated[Path | None, typer.Option(help="Another index than the package's own.")] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Show what there is and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring weights and soft labels of published runs, check their hashes, and put them where runs expect them."""
    from dermdistill.publish.artifacts import fetch, read_index

    artifacts = read_index(index).find(names or [])
    if as_json and not list_only:
        raise InputError("--json shows what there is; give --list with it")
    if as_json:
        print_json([artifact.model_dump(mode="json") for artifact in artifacts])
        return
    if list_only:
        for artifact in artifacts:
            typer.echo(f"{artifact.name}  {artifact.bytes / 1e6:.1f} MB  {artifact.contents}")
        return
    if source is None:
        raise InputError("say with --from where the archives are: a release's download address, or a folder")
    fetch(artifacts, source, out, talk.say)
