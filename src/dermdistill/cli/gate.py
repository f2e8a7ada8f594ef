"""`dermdistill gate`: what refuses images that a model may not judge."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk
from dermdistill.cli.options import JsonOption, print_json

app = typer.Typer(help="Make a gate, which refuses images that a model may not judge.", no_args_is_help=True)


@app.callback()
def _gates() -> None:
    pass


@app.command()
def fit(
    manifest: Annotated[Path, typer.Argument(help="Dermoscopic images.")],
    out: Annotated[Path, typer.Option(help="The gate's file, such as gate.onnx.")],
    size: Annotated[int, typer.Option(min=16, max=2048, help="Side of the model's input in pixels.")] = 112,
    per_source: Annotated[int, typer.Option(min=1, help="Images of each source, at most.")] = 1200,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the images; those unseen choose the limit.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Decides everything that is random.")] = 0,
    licences: Annotated[
        str | None, typer.Option(help="Learn from images under licences of these kinds alone, by commas.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Measure the gate, and write its figures here, as JSON.")] = None,
    collections: Annotated[
        bool, typer.Option("--collections/--no-collections", help="With --report: leave out each collection in turn.")
    ] = True,
    photographs: Annotated[
        list[Path] | None, typer.Option(help="With --report: a folder of images that are not dermoscopic; repeat.")
    ] = None,
) -> None:
    """Fit a gate on dermoscopic images and on generated ones, and write it as a small ONNX graph.

    `dermdistill gate add` puts it into a bundle. The figures tell how many dermoscopic images are refused wrongly, of
    unseen lesions and of unseen collections, and how many other images are refused rightly.
    """
    from dermdistill.data.licensing import under
    from dermdistill.data.manifest import read_manifest
    from dermdistill.export.gate.fit import Plan, fit_gate, load_photographs
    from dermdistill.export.gate.network import write_gate
    from dermdistill.export.gate.report import examine

    table = read_manifest(manifest)
    kept = under(table, tuple(licences.split(",")))[0] if licences else table
    loaded = load_photographs(kept, size, per_source, seed)
    plan = Plan(size, folds, epochs, seed)
    fitted = fit_gate(loaded, table, plan, talk.note)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_gate(fitted.network, fitted.facts, out)
    talk.say(f"gate in {out}, {out.stat().st_size:,} bytes, from {fitted.facts.images:,} dermoscopic images")
    if report is not None:
        found = examine(
            out, loaded, fitted, plan, folders=tuple(photographs or ()), collections=collections, tell=talk.note
        )
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        whole = found.cross_fitted["all"]
        talk.say(f"refuses {whole.refused} of {whole.n} dermoscopic images of unseen lesions; figures in {report}")


@app.command()
def add(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or a name that `dermdistill models` lists.")],
    gate: Annotated[Path, typer.Argument(help="A file from `dermdistill gate fit`.")],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a copy of a bundle that has this gate; nothing of the model changes."""
    from dermdistill.export.gate.add import add_gate
    from dermdistill.predict.bundle import find_bundle

    add_gate(find_bundle(bundle), gate, out, force=force)
    talk.say(f"bundle with a gate in {out}")


@app.command()
def count(
    folders: Annotated[list[Path], typer.Argument(help="Folders of images; those below count too.")],
    model: Annotated[str | None, typer.Option("--model", help="A bundle, by default the default one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Count the images in folders that a bundle's gate refuses, by reason."""
    from dermdistill.errors import InputError
    from dermdistill.export.gate.examine import of_folders
    from dermdistill.predict.bundle import open_bundle
    from dermdistill.predict.gate import Gate

    bundle = open_bundle(model)
    if bundle.gate is None:
        raise InputError(f"{bundle.folder} has no gate; `dermdistill gate add` gives it one")
    gate = Gate(bundle.gate, bundle.spec.input.size)
    found = of_folders(gate, folders)
    if as_json:
        print_json({folder: counts.model_dump() for folder, counts in found.items()})
        return
    typer.echo("folder,images,refused,reasons")
    for folder, counts in found.items():
        told = " ".join(f"{name}:{number}" for name, number in counts.reasons.items() if number)
        typer.echo(f"{folder},{counts.n},{counts.refused},{told}")
