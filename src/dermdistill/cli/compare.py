"""`dermdistill compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dermdistill import talk
from dermdistill.cli.statistics import (
    MarginOption,
    PrevalenceOption,
    ReadersOption,
    SkinToneOption,
    SubgroupOption,
    settings_of,
)
from dermdistill.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dermdistill.evaluate.predictions import ModelPredictions

app = typer.Typer()


@app.command()
def compare(
    models: Annotated[
        list[str],
        typer.Argument(help="Bundles, names that ship, run folders or tables of predictions, each perhaps NAME=PATH."),
    ],
    on: Annotated[Path, typer.Option("--on", help="The manifest of the images, all of which are judged.")],
    out: Annotated[Path, typer.Option(help="The report's folder.")],
    baseline: Annotated[str | None, typer.Option(help="Compare with this one; by default the first.")] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Flag images that a model has learned from, and do not refuse them.")
    ] = False,
    samples: Annotated[int, typer.Option(min=0, help="Images shown in report.html; 0 to pass it on.")] = 6,
    subgroup: SubgroupOption = None,
    prevalence: PrevalenceOption = None,
    margin: MarginOption = None,
    readers: ReadersOption = None,
    skin_tone: SkinToneOption = False,
) -> None:
    """Judge several models on the same images, side by side: bundles, and beside them what runs or tables predicted.

    Images that one of them did not answer are left out for all. A bundle's own thresholds are applied. Images that
    one has learned from are refused, as far as its bundle or run names them.
    """
    from rich.console import Console

    from dermdistill.cli.key_table import key_table
    from dermdistill.data.manifest import read_manifest
    from dermdistill.evaluate.predictions import cut_to_common
    from dermdistill.evaluate.render.text import verdict
    from dermdistill.evaluate.report import Circumstances, FromImages, evaluate

    named = _named(models)
    manifest = read_manifest(on)
    found = cut_to_common({name: _answers(place, manifest) for name, place in named.items()})
    report = evaluate(
        manifest, found, out, baseline=baseline, replicates=replicates, seed=seed,
        images=FromImages(samples, skin_tone=skin_tone),
        settings=settings_of(subgroup, prevalence, margin, readers),
        circumstances=Circumstances(allow_overlap=allow_overlap),
    )  # fmt: skip
    Console().print(key_table(report))
    typer.echo(" ".join(verdict(report)))
    talk.say(f"report: {out / 'report.html'} (figures: {out / 'report.json'}, table: {out / 'table.md'})")


def _named(given: list[str]) -> dict[str, str]:
    """Paths by name: what stands before a '=', else the last part of the path."""
    named: dict[str, str] = {}
    for text in given:
        name, sign, place = text.partition("=")
        if not sign:
            name, place = Path(text).stem if Path(text).is_file() else Path(text).name, text
        if not name or not place:
            raise InputError(f"a model is a path, or NAME=PATH; got '{text}'")
        if name in named:
            raise InputError(f"two models are called '{name}'; give one another name with NAME=PATH")
        named[name] = place
    return named


def _answers(place: str, manifest: "pd.DataFrame") -> "ModelPredictions":
    from dataclasses import replace

    from dermdistill.evaluate.predictions import read_model
    from dermdistill.export.answers import answers

    path = Path(place)
    if path.is_file() or (path / "run.json").is_file():
        model = read_model(path)
        return replace(model, table=model.table[model.table["image_id"].isin(manifest["image_id"])])
    return answers(place, manifest)
