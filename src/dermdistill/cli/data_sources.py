"""`dermdistill data fetch` and `data synth`: where images come from."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk
from dermdistill.cli.options import JsonOption, print_json
from dermdistill.errors import ExitCode, InputError

app = typer.Typer()


@app.command()
def fetch(
    name: Annotated[
        str | None, typer.Argument(help="Name of the data set (see --list), or isic-collection:NUMBER.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the images. [default: data/NAME]")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images (ISIC only).")] = None,
    size: Annotated[int, typer.Option(help="Side of DermaMNIST's images: 28, 64, 128 or 224.")] = 224,
    api_url: Annotated[
        str | None, typer.Option(envvar="DERMDISTILL_ISIC_API", help="Address of the ISIC archive.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show the known data sets and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Download a public data set; run it again to go on where it stopped.

    Exit code 0: all is there. 1: images failed (named in failures.csv), or the publisher cannot be reached.
    """
    if as_json and not show:
        raise InputError("--json shows the known data sets; give --list with it")
    if show:
        _list(as_json)
        return
    if name is None:
        raise InputError("name a data set; `dermdistill data fetch --list` shows them")
    from dermdistill.data.fetch import download

    folder = out or Path("data") / name.replace(":", "-")
    result = download.fetch(name, folder, api_url=api_url or download.ISIC_API, limit=limit, size=size)
    there = result.present + result.downloaded
    counts = f"{result.downloaded} downloaded, {result.present} before"
    talk.say(f"{folder}: {there} of {result.expected} there ({counts})")
    for licence, count in sorted(result.licences.items()):
        talk.say(f"licence {licence}: {count} images; whom to name: {folder / 'attribution.txt'}")
    if result.failures:
        for what, reason in result.failures[:10]:
            talk.blame(f"failed: {what}: {reason}")
        talk.blame(
            f"{len(result.failures)} failed, all named in {folder / 'failures.csv'}; "
            "run the same command again to fetch what is missing"
        )
        raise typer.Exit(ExitCode.FAILED)


def _list(as_json: bool) -> None:
    from dermdistill.data.fetch.download import COLLECTIONS, ISIC_PREFIX, NAMES
    from dermdistill.data.sources import SOURCES

    if as_json:
        print_json([
            {"name": name, "licence": SOURCES[name].licence, "citation": SOURCES[name].citation,
             "collections": [{"name": one.name, "number": one.number} for one in COLLECTIONS.get(name, ())]}
            for name in NAMES
        ])  # fmt: skip
        return
    for name, collections in COLLECTIONS.items():
        typer.echo(f"{name} ({SOURCES[name].licence}; {SOURCES[name].citation})")
        for one in collections:
            typer.echo(f"    ISIC archive, '{one.name}', number {one.number} according to: {one.seen}")
    typer.echo(f"dermamnist ({SOURCES['dermamnist'].licence}; {SOURCES['dermamnist'].citation})")
    typer.echo("    address and checksum from the package medmnist")
    typer.echo(f"{ISIC_PREFIX}NUMBER\n    any public collection of the ISIC archive")


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="A new or empty folder, or one with an earlier synthetic set.")],
    images: Annotated[int, typer.Option("--images", "-n", min=1, help="How many images.")] = 1000,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side in pixels.")] = 112,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images.")] = 0,
) -> None:
    """Draw synthetic dermoscopy-like images and their manifest, for demos and tests."""
    from dermdistill.data.synthetic.generate import generate

    manifest = generate(out, n=images, size=size, seed=seed)
    counts = ", ".join(f"{name} {count}" for name, count in manifest["diagnosis"].value_counts().items())
    talk.say(f"{out / 'manifest.parquet'}: {len(manifest)} synthetic images ({counts})")
