"""`dermdistill export` and `dermdistill verify`."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk
from dermdistill.cli.completion import model_names
from dermdistill.cli.options import Calibration, JsonOption, Precision, Runtime, print_json
from dermdistill.errors import InputError

app = typer.Typer()


@app.command()
def export(
    run: Annotated[Path | None, typer.Argument(help="A finished student or teacher.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="The manifest that it was trained on.")] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle's folder.")] = None,
    from_bundle: Annotated[
        str | None, typer.Option("--from", help="In place of a run: a bundle, or the name of one that ships.")
    ] = None,
    formats: Annotated[
        str | None, typer.Option(help="Further forms of the network, by commas, or `all`; see docs/how-to/formats.md.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="What forms are calibrated and compared on: a folder of images, or a manifest."),
    ] = None,
    count: Annotated[int, typer.Option(min=20, help="How many of these images.")] = 600,
    for_this_machine: Annotated[
        bool, typer.Option("--for-this-machine", help="Keep only the form that is fastest here.")
    ] = False,
    calibration: Annotated[
        Calibration, typer.Option(help="How a run's probabilities are calibrated, on its validation images.")
    ] = Calibration.temperature,
    name: Annotated[str | None, typer.Option(help="The bundle's name; by default the run's.")] = None,
    report: Annotated[Path | None, typer.Option(help="A report.json whose figures go into the card.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a verified bundle: ONNX graph, preprocessing, classes, thresholds, licence, card.

    With --formats, further forms of the network come into it, for other runtimes and precisions, each compared with
    the ONNX graph on images before anything is written. A form that cannot be made here is named with the reason.
    """
    if (run is None) == (from_bundle is None) or out is None:
        raise InputError("name a finished run or --from BUNDLE, not both, and a folder with --out")
    if run is None and calibration is not Calibration.temperature:
        raise InputError("--calibration needs a run, whose validation images it is fitted on; a bundle keeps its own")
    if for_this_machine and formats is None:
        formats = "all"
    if run is not None:
        if manifest is None:
            raise InputError("--manifest is missing: the manifest that the run was trained on")
        from dermdistill.data.manifest import read_manifest
        from dermdistill.export.bundle import export_bundle

        export_bundle(
            run, out, read_manifest(manifest), name=name, report=report, force=force, calibration=calibration.value
        )
    elif formats is None:
        raise InputError("--from needs --formats: which forms are to be made; `all` makes every one")
    if formats is not None:
        from dermdistill.export.convert import convert
        from dermdistill.predict.bundle import find_bundle

        source = out if from_bundle is None else find_bundle(from_bundle)
        convert(
            source, formats.split(","), out, images=images or manifest, count=count, force=force or run is not None,
            tell=talk.say,
        )  # fmt: skip
        if for_this_machine:
            _keep_fastest(out)
    talk.say(f"verified bundle in {out}")


def _keep_fastest(bundle: Path) -> None:
    from dermdistill.bench.measure import FULL
    from dermdistill.bench.run import fastest
    from dermdistill.export.convert import keep
    from dermdistill.predict.variants import form_for

    found = fastest(bundle, FULL, talk.note)
    form = form_for(found.runtime, found.precision)
    keep(bundle, () if form is None else (form.name,))
    timing = found.timings[0]
    talk.say(
        f"fastest here: {timing.median_ms:.2f} ms an image ({timing.low_ms:.2f} to {timing.high_ms:.2f}), "
        f"`dermdistill predict --model {bundle} --runtime {found.runtime} --precision {found.precision}`"
    )


@app.command()
def verify(
    bundle: Annotated[
        str | None,
        typer.Argument(
            help="A bundle's folder, or a name that `dermdistill models` lists; by default the first of them.",
            autocompletion=model_names,
        ),
    ] = None,
    runtime: Annotated[Runtime, typer.Option(help="What runs the graphs.")] = Runtime.onnxruntime,
    precision: Annotated[Precision, typer.Option(help="Of a further form of the network.")] = Precision.fp32,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle on this machine: its hashes, its graphs, and its answers to its own test vectors.

    With a further form of the network (executorch, litert, fp16, int8) its own answers are compared.

    Exit code 0: all fits; 2: something differs, and what.
    """
    from dermdistill.predict.bundle import open_bundle
    from dermdistill.predict.vectors import verify as run_vectors
    from dermdistill.predict.vectors import verify_form

    read = open_bundle(bundle)
    whole = precision is Precision.fp32 and runtime in (Runtime.onnxruntime, Runtime.openvino)
    checked = list(run_vectors(read, runtime.value) if whole else verify_form(read, runtime.value, precision.value))
    if as_json:
        vectors = [
            {
                "graph": one.graph, "vector": one.vector, "pixels_max_abs_difference": float(one.pixels),
                "probability_max_abs_difference": float(one.probability),
            }
            for one in checked
        ]  # fmt: skip
        print_json({"model": read.spec.name, "folder": str(read.folder), "files": dict(read.spec.files),
                    "runtime": runtime.value, "precision": precision.value, "vectors": vectors})  # fmt: skip
        return
    typer.echo("graph,vector,pixels_max_abs_difference,probability_max_abs_difference")
    for one in checked:
        typer.echo(f"{one.graph},{one.vector},{one.pixels},{one.probability:.2g}")
    talk.note(f"{read.folder} gives its own answers here: {len(read.spec.files)} files, {read.spec.name}")
