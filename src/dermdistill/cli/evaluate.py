"""`dermdistill evaluate`."""

from dataclasses import replace
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

    from dermdistill.evaluate.analyses.explanations import Explained
    from dermdistill.evaluate.analyses.robustness import Answerer
    from dermdistill.evaluate.predictions import ModelPredictions

app = typer.Typer()

_OF_TABLE = "A table by itself"


@app.command()
def evaluate(
    table: Annotated[Path, typer.Argument(help="The manifest; or, without --model, a table of probabilities.")],
    model: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH of a run folder or a predictions table; repeat.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The report's folder; of a table, by default TABLE-report.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Compare with this one; by default the first.")] = None,
    role: Annotated[str, typer.Option(help="The rows to judge.")] = "test",
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    samples: Annotated[
        int, typer.Option(min=0, help="Images shown in report.html, where they can be opened; 0 to pass it on.")
    ] = 6,
    robustness: Annotated[
        list[str] | None, typer.Option(help="NAME=BUNDLE to judge under resampling and JPEG compression; repeat.")
    ] = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(help="NAME=BUNDLE of a model: for its external tests, its time and maps of its cases; repeat."),
    ] = None,
    cases: Annotated[
        int, typer.Option(min=0, help="Best and worst images shown of each kind, where they can be opened.")
    ] = 0,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show the cases themselves, or only their maps.")
    ] = True,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH of what a model learned from, a manifest or a run's training-keys.npz; repeat."),
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Flag images that a model has learned from, and do not refuse them.")
    ] = False,
    cross_fit: Annotated[
        bool, typer.Option("--cross-fit", help="Without validation rows, let a test's images calibrate each other.")
    ] = False,
    without_source: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH of what a model predicts if trained without the source of each image; repeat."),
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Where it is written that the test was opened; by default beside the split.")
    ] = None,
    corruptions: Annotated[
        list[str] | None, typer.Option(help="NAME=BUNDLE to judge on spoiled images, the first as baseline; repeat.")
    ] = None,
    corruption_images: Annotated[
        int | None, typer.Option(min=2, help="On how many images, half of them melanomas; by default on all.")
    ] = None,
    explain: Annotated[
        list[str] | None, typer.Option(help="NAME=BUNDLE whose maps are examined, the first as baseline; repeat.")
    ] = None,
    explain_images: Annotated[int, typer.Option(min=1, help="On how many images maps are examined.")] = 20,
    common: Annotated[bool, typer.Option("--common", help="Judge only the images that all models predicted.")] = False,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Tables named a, a-1, a-2, … are seeds of one recipe: compare means.")
    ] = False,
    id_column: Annotated[str | None, typer.Option(rich_help_panel=_OF_TABLE, help="Its ids.")] = None,
    label_column: Annotated[str | None, typer.Option(rich_help_panel=_OF_TABLE, help="0 or 1, or a word.")] = None,
    probability_column: Annotated[
        list[str] | None, typer.Option(rich_help_panel=_OF_TABLE, help="Of melanoma, one a model; repeat.")
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(rich_help_panel=_OF_TABLE, help="Rows of one lesion or patient.")
    ] = None,
    positive: Annotated[str | None, typer.Option(rich_help_panel=_OF_TABLE, help="The label of melanoma.")] = None,
    subgroup: SubgroupOption = None,
    prevalence: PrevalenceOption = None,
    margin: MarginOption = None,
    readers: ReadersOption = None,
    skin_tone: SkinToneOption = False,
) -> None:
    """Judge models on the same images: figures with intervals, paired differences, plots.

    Give a manifest and the models, or one table with an id, a label and a probability of melanoma in each row.
    """
    from rich.console import Console

    from dermdistill.cli.evidence import Allowed, bundles_of, circumstances, left_out, told_training
    from dermdistill.cli.key_table import key_table
    from dermdistill.evaluate.predictions import by_seeds, cut_to_common
    from dermdistill.evaluate.render.markdown import gap_rows
    from dermdistill.evaluate.render.text import verdict
    from dermdistill.evaluate.report import FromImages
    from dermdistill.evaluate.report import evaluate as judge
    from dermdistill.evaluate.tables import Columns, read_predictions

    columns = Columns(id_column, label_column, tuple(probability_column or ()), group_column, positive)
    if model:
        if columns != Columns():
            raise InputError("--id-column and its like describe a table by itself; leave them out with --model")
        manifest, models = _of_manifest(table, model)
    else:
        manifest, models = read_predictions(table, columns, subgroup or ())
    if common:
        models = cut_to_common(models, role)
    if seeds:
        models = by_seeds(models)
    if out is None and model:
        raise InputError("name the report's folder with --out")
    folder = out or table.with_name(f"{table.stem}-report")
    models = told_training(models, _named(trained_on or [], "--trained-on"))
    models, explainers = bundles_of(models, _named(bundle or [], "--bundle"))
    answerers = {name: _answerer(path) for name, path in _named(robustness or [], "--robustness").items()}
    corrupted = {name: _answerer(path) for name, path in _named(corruptions or [], "--corruptions").items()}
    explained = {name: _explained(path) for name, path in _named(explain or [], "--explain").items()}
    report = judge(
        manifest, models, folder, baseline=baseline, replicates=replicates, seed=seed, role=role,
        images=FromImages(
            samples, answerers, skin_tone, cases, pictures, explainers, corrupted, corruption_images, explained,
            explain_images,
        ),
        settings=settings_of(subgroup, prevalence, margin, readers),
        circumstances=replace(
            circumstances(table, models, role, ledger, Allowed(allow_overlap, cross_fit)),
            without_source=left_out(_named(without_source or [], "--without-source")),
        ),
    )  # fmt: skip
    Console().print(key_table(report))
    for name, other, gap, inside in gap_rows(report)[1]:
        typer.echo(f"mean of the seeds of {name} minus that of {other}: AUROC {gap}, within collections {inside}")
    typer.echo(" ".join(verdict(report)))
    talk.say(f"report: {folder / 'report.html'} (figures: {folder / 'report.json'}, table: {folder / 'table.md'})")


def _of_manifest(path: Path, given: list[str]) -> "tuple[pd.DataFrame, dict[str, ModelPredictions]]":
    from dermdistill.data.manifest import read_manifest
    from dermdistill.evaluate.predictions import read_model

    models = {name: read_model(folder) for name, folder in _named(given, "--model").items()}
    return read_manifest(path), models


def _named(given: list[str], option: str) -> dict[str, Path]:
    wrong = [text for text in given if not all(text.partition("="))]
    if wrong:
        raise InputError(f"{option} expects NAME=PATH, got {', '.join(wrong)}")
    named = {name: Path(path) for name, _, path in (text.partition("=") for text in given)}
    if len(named) < len(given):
        raise InputError(f"each {option} needs another name, got {', '.join(given)}")
    return named


def _answerer(path: Path) -> "Answerer":
    from dermdistill.evaluate.analyses.robustness import Answerer
    from dermdistill.predict.bundle import find_bundle
    from dermdistill.predict.predictor import Predictor

    predictor = Predictor(find_bundle(path), gate="off")
    spec = predictor.bundle.spec
    return Answerer(
        spec.input.size, predictor.threshold, lambda images: predictor.probabilities(images)[:, spec.melanoma_index]
    )


def _explained(path: Path) -> "Explained":
    import importlib.util

    from dermdistill.evaluate.analyses.explanations import Explained

    answerer, scrambled = _answerer(path), {}
    if importlib.util.find_spec("onnx") is None:
        talk.note("without the extra `export` no weights are scrambled: that check of the maps is left out")
    else:
        from dermdistill.export.scramble import scrambled_answers
        from dermdistill.predict.bundle import open_bundle

        scrambled = scrambled_answers(open_bundle(path))
    return Explained(answerer.size, answerer.melanoma, scrambled)
