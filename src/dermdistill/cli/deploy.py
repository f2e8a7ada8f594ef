"""`dermdistill export`, `dermdistill verify` and `dermdistill predict`."""

import contextlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from dermdistill import talk
from dermdistill.cli.completion import model_names
from dermdistill.cli.options import JsonOption, ModelOption, ThresholdOption, print_json
from dermdistill.errors import ExitCode, InputError

app = typer.Typer()
DICOM = "DICOM"


class Format(StrEnum):
    csv = "csv"
    json = "json"
    jsonl = "jsonl"


class Runtime(StrEnum):
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    executorch = "executorch"
    litert = "litert"


class Precision(StrEnum):
    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


class WhenDamaged(StrEnum):
    refuse = "refuse"
    judge = "judge"


class WhenRefused(StrEnum):
    refuse = "refuse"
    judge = "judge"
    off = "off"


class DicomKind(StrEnum):
    report = "report"
    capture = "capture"


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
    if for_this_machine and formats is None:
        formats = "all"
    if run is not None:
        if manifest is None:
            raise InputError("--manifest is missing: the manifest that the run was trained on")
        from dermdistill.data.manifest import read_manifest
        from dermdistill.export.bundle import export_bundle

        export_bundle(run, out, read_manifest(manifest), name=name, report=report, force=force)
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


@app.command()
def predict(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, patterns, or - for a list on standard input.")
    ] = None,
    model: ModelOption = None,
    format: Annotated[Format, typer.Option(help="Form of the output.")] = Format.csv,
    out: Annotated[Path | None, typer.Option(help="A file; by default standard output.")] = None,
    threshold: ThresholdOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a forward pass.")] = 16,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that read and judge images; by default one for each core.")
    ] = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Decode large JPEG files at a fraction of their size, which moves probabilities."),
    ] = False,
    runtime: Annotated[
        Runtime, typer.Option(help="What runs the network; all but onnxruntime need the extra of that name.")
    ] = Runtime.onnxruntime,
    precision: Annotated[
        Precision, typer.Option(help="fp16 and int8 need a bundle with such a form: `dermdistill export --formats`.")
    ] = Precision.fp32,
    damaged: Annotated[
        WhenDamaged, typer.Option(help="Whether damaged images get a row without or with a probability.")
    ] = WhenDamaged.refuse,
    gate: Annotated[
        WhenRefused,
        typer.Option(help="Images that the model's gate refuses: a row without a probability, with one, or no gate."),
    ] = WhenRefused.refuse,
    dicom_uid: Annotated[
        bool, typer.Option("--dicom-uid", help="Add each DICOM object's SOP Instance UID.", rich_help_panel=DICOM)
    ] = False,
    dicom_sr: Annotated[
        Path | None,
        typer.Option(
            help="A folder for a Structured Report on each DICOM image; names the patient.", rich_help_panel=DICOM
        ),
    ] = None,
    dicom_sc: Annotated[
        Path | None,
        typer.Option(
            help="A folder for a Secondary Capture of each DICOM image under its map; names the patient.",
            rich_help_panel=DICOM,
        ),
    ] = None,
    dicomweb: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An archive whose photographs are judged instead.", rich_help_panel=DICOM),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEYWORD=VALUE",
            help="What the archive is asked for, such as StudyDate=20260101-; may be repeated.",
            rich_help_panel=DICOM,
        ),
    ] = None,
    store: Annotated[
        list[DicomKind] | None,
        typer.Option(help="Send these objects to the archive; may be repeated.", rich_help_panel=DICOM),
    ] = None,
) -> None:
    """Melanoma probabilities of dermoscopic images.

    Exit code 0: all well; 1: some images have no probability or no DICOM object that was asked for, or the model is
    broken; 2: usage, or the output cannot be written.
    """
    from dermdistill.cli.dicom import Dicom
    from dermdistill.images.dicom.files import sop_instance_uid
    from dermdistill.predict.predictor import Predictor

    paths = paths or []
    dicom = Dicom(dicom_sr, dicom_sc, dicomweb, query or [], [kind.value for kind in store or []])
    dicom.check(paths)
    _require_streams(paths, out)
    _accept_any_name(sys.stdin, "surrogateescape")
    _accept_any_name(sys.stdout, "backslashreplace")
    inputs = _expand(paths) if paths else None
    predictor = Predictor(
        model, threshold=threshold, threads=threads, fast=fast, damaged=damaged.value, gate=gate.value,
        runtime=runtime.value, precision=precision.value,
    )  # fmt: skip
    talk.note(predictor.bundle.spec.intended_use)
    talk.detail(_about(predictor, runtime.value))
    results: Iterator[Any]
    if inputs is None:
        results, uid_of = dicom.fetched(predictor)
    else:
        results = dicom.reported(_shown(predictor.predict(inputs.files, batch_size), len(inputs.files)), predictor)
        uid_of = sop_instance_uid
    counts = _write_all(predictor, results, format.value, out, uid_of if dicom_uid else None)
    dicom.tell()
    _tell(counts)


def _about(predictor: Any, runtime: str) -> str:
    """From what and with what images are judged."""
    bundle = predictor.bundle
    return (
        f"{bundle.spec.name} {bundle.spec.version} in {bundle.folder}, threshold {predictor.threshold:.4g}, {runtime}, "
        f"{predictor.threads} threads"
    )


def _expand(paths: list[str]) -> Any:
    """The files that arguments stand for; says what was passed over."""
    from dermdistill.predict.inputs import expand

    inputs = expand(paths, sys.stdin if "-" in paths else ())
    if inputs.passed_over:
        talk.note(f"passed over: {inputs.summary()}")
    return inputs


@dataclass
class _Counts:
    images: int = 0
    failed: int = 0
    """Images without a probability."""
    damaged: int = 0
    """Damaged images with one."""
    refused: int = 0
    """Images that the gate refuses, with or without one."""
    unreported: int = 0
    """Images with one, and without a DICOM object that was asked for."""

    def add(self, result: Any) -> None:
        from dermdistill.predict.predictor import REFUSED, UNREPORTED

        self.images += 1
        self.refused += result.status == REFUSED
        if result.probabilities is None:
            self.failed += 1
        elif result.status == UNREPORTED:
            self.unreported += 1
        elif result.status not in ("ok", REFUSED):
            self.damaged += 1


def _tell(counts: _Counts) -> None:
    """Say what went wrong; raises typer.Exit if images have no probability or no object."""
    if not counts.images:
        talk.warn("the archive has no such photographs; --query SOPClassUID=… asks for other kinds")
    if counts.damaged:
        talk.warn(f"{counts.damaged} of {counts.images} images are damaged and were judged nonetheless")
    if counts.refused:
        talk.warn(f"{counts.refused} of {counts.images} images are refused by the model's gate; their rows say why")
    if counts.unreported:
        talk.warn(f"{counts.unreported} of {counts.images} images have no DICOM object; their rows say why")
    if counts.failed:
        talk.warn(f"{counts.failed} of {counts.images} images could not be read or judged; their rows say why")
    if counts.failed or counts.unreported:
        raise typer.Exit(ExitCode.FAILED)


def _write_all(predictor: Any, results: Iterator[Any], kind: Any, out: Path | None, uid_of: Any) -> _Counts:
    from dermdistill.predict.output import write

    counts = _Counts()

    def counted() -> Iterator[Any]:
        for result in results:
            counts.add(result)
            yield result

    spec = predictor.bundle.spec
    about = {"model": spec.name, "model_version": spec.version, "threshold": predictor.threshold}
    with _output(out) as stream:
        write(counted(), predictor.classes, stream, kind, about, uid_of)
    return counts


def _require_streams(paths: list[str], out: Path | None) -> None:
    """Raise InputError if a standard stream that is needed was closed by the caller (`>&-`)."""
    if "-" in paths and sys.stdin is None:
        raise InputError("standard input is closed, - reads a list of files from it; name the files instead")
    if out is None and sys.stdout is None:
        raise InputError("standard output is closed; name a file with --out")


def _accept_any_name(stream: TextIO | None, errors: str) -> None:
    """File names need not be Unicode: one that is not must not end the whole batch."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)


@contextlib.contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        from dermdistill.cli.stdout import printing

        with printing():
            yield sys.stdout
        return
    from dermdistill.files import atomic_path

    with (
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        yield stream


def _shown(results: Iterator[Any], total: int) -> Iterator[Any]:
    """Results with a progress bar on standard error, for a person who waits for many."""
    if total < 64 or sys.stderr is None or not sys.stderr.isatty():
        yield from results
        return
    with talk.bars() as bars:
        yield from bars.track(results, total, description="predict")
