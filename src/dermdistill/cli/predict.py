"""`dermdistill predict`."""

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
from dermdistill.cli.options import Engine, ModelOption, Precision, Runtime, ThresholdOption, WhenDamaged, WhenRefused
from dermdistill.errors import ExitCode, InputError
from dermdistill.predict.pipeline import BATCH

app = typer.Typer()
DICOM = "DICOM"


class Format(StrEnum):
    csv = "csv"
    json = "json"
    jsonl = "jsonl"


class DicomKind(StrEnum):
    report = "report"
    capture = "capture"


@app.command()
def predict(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, patterns, or - for a list on standard input.")
    ] = None,
    model: ModelOption = None,
    format: Annotated[Format | None, typer.Option(help="Form of the output.", show_default="csv")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="A file or a URL; by default standard output. With a slash at the end a folder of Parquet shards.",
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, help="Write the answers into --out as so many Parquet files; goes on where it was."),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="What judges shards: this process, or a Ray cluster, which needs the extra ray.")
    ] = Engine.local,
    threshold: ThresholdOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a forward pass.")] = BATCH,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that read and judge images; by default one for each core.")
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Decode large JPEG files at a fraction of their size, and resize with the extra fast where it is "
            "installed. It moves probabilities.",
        ),
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
    sharded = shards is not None or engine is not Engine.local or (out or "").endswith("/")
    if sharded:
        _check_shards(out, format, dicom_uid or dicom_sr or dicom_sc or dicomweb)
    _require_streams(paths, out)
    _require_writable(out)
    _accept_any_name(sys.stdin, "surrogateescape")
    _accept_any_name(sys.stdout, "backslashreplace")
    inputs = _expand(paths) if paths else None
    if inputs is not None and inputs.files.any_url and (dicom_uid or dicom.wants_objects):
        raise InputError("DICOM objects are made of local files; copy those that are named by URL here first")
    predictor = Predictor(
        model, threshold=threshold, threads=threads, fast=fast, damaged=damaged.value, gate=gate.value,
        runtime=runtime.value, precision=precision.value,
    )  # fmt: skip
    talk.note(predictor.bundle.spec.intended_use)
    talk.detail(_about(predictor, runtime.value))
    if sharded and inputs is not None and out is not None:
        from dermdistill.predict.shards import Settings

        settings = Settings(
            str(predictor.bundle.folder), predictor.threshold, fast, damaged.value, runtime.value, precision.value,
            batch_size, gate.value,
        )  # fmt: skip
        _tell(_into_shards(settings, inputs.files, out, shards or 0, engine.value, threads))
        return
    results: Iterator[Any]
    if inputs is None:
        results, uid_of = dicom.fetched(predictor)
    else:
        results = dicom.reported(_shown(predictor.predict(inputs.files, batch_size), len(inputs.files)), predictor)
        uid_of = sop_instance_uid
    counts = _write_all(predictor, results, (format or Format.csv).value, out, uid_of if dicom_uid else None)
    dicom.tell()
    _tell(counts)


def _check_shards(out: str | None, format: Format | None, dicom: Any) -> None:
    """Raise InputError if options do not go with shards."""
    if out is None or out.rstrip("/") == "":
        raise InputError("shards go into a folder: name it with --out, a path or a URL of an object store")
    if format is not None:
        raise InputError(f"shards are Parquet files; leave out --format {format.value}, or --shards, --engine and the "
                         "slash at the end of --out")  # fmt: skip
    if dicom:
        raise InputError("no DICOM objects, UIDs or archives go with shards; leave out --shards and --engine")


def _into_shards(settings: Any, files: list[Any], out: str, shards: int, engine: Any, threads: int | None) -> "_Counts":
    """Judge files into shards; says how many of them were there before."""
    from dermdistill.predict.engines import carry_out

    counts, before, made = _Counts(), 0, 0
    found = carry_out(settings, list(map(str, files)), out, shards=shards, engine=engine, threads=threads)
    for one, was_there in found:
        counts.images += one.images
        counts.failed += one.failed
        counts.damaged += one.damaged
        counts.refused += one.refused
        counts.withheld += one.refused if settings.gate == "refuse" else 0
        before, made = before + was_there, made + (not was_there)
        talk.detail(f"{before + made} shards done, {counts.images} images")
    there = f", {before} of them before" if before else ""
    talk.note(f"{before + made} shards in {out}{there}: {counts.images} images")
    return counts


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
    withheld: int = 0
    """Those of them without one."""
    unreported: int = 0
    """Images with one, and without a DICOM object that was asked for."""

    def add(self, result: Any) -> None:
        from dermdistill.predict.predictor import REFUSED, UNREPORTED

        self.images += 1
        self.refused += result.status == REFUSED
        if result.probabilities is None:
            self.failed += 1
            self.withheld += result.status == REFUSED
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
    if broken := counts.failed - counts.withheld:
        talk.warn(f"{broken} of {counts.images} images could not be read or judged; their rows say why")
    if counts.failed or counts.unreported:
        raise typer.Exit(ExitCode.FAILED)


def _write_all(predictor: Any, results: Iterator[Any], kind: Any, out: str | None, uid_of: Any) -> _Counts:
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


def _require_streams(paths: list[str], out: str | None) -> None:
    """Raise InputError if a standard stream that is needed was closed by the caller (`>&-`)."""
    if "-" in paths and sys.stdin is None:
        raise InputError("standard input is closed, - reads a list of files from it; name the files instead")
    if out is None and sys.stdout is None:
        raise InputError("standard output is closed; name a file with --out")


def _require_writable(out: str | None) -> None:
    """Raise InputError if the answers could not be written to a URL."""
    from dermdistill.remote import is_url, require_writable

    if is_url(out):
        require_writable(out)


def _accept_any_name(stream: TextIO | None, errors: str) -> None:
    """File names need not be Unicode: one that is not must not end the whole batch."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)


@contextlib.contextmanager
def _output(out: str | None) -> Iterator[TextIO]:
    if out is None:
        from dermdistill.cli.stdout import printing

        with printing():
            yield sys.stdout
        return
    from dermdistill.files import atomic_path
    from dermdistill.remote import is_url, write

    if is_url(out):
        content = io.StringIO(newline="")
        yield content
        write(out, content.getvalue().encode(errors="backslashreplace"))
        return
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
