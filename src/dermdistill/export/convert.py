"""From a bundle to one with further forms of its network, each compared with model.onnx before anything is written."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dermdistill.errors import DermdistillError, InputError, IntegrityError
from dermdistill.export.agreement import compare, misfits
from dermdistill.export.formats.form import INT8, Format, Source, installed, probabilities
from dermdistill.export.formats.table import choose
from dermdistill.export.images import Photos, load_photos
from dermdistill.export.place import check_place, swap
from dermdistill.files import read_json, sha256_file, write_json
from dermdistill.predict.bundle import Bundle, read_bundle
from dermdistill.predict.header import GRAPH
from dermdistill.predict.runtime import OnnxRuntime
from dermdistill.predict.variants import CERTIFICATE, Agreement, Certificate, Images, Variant, read_certificate
from dermdistill.predict.vectors import resized
from dermdistill.run import hardware

_PACKAGES = (
    "numpy", "onnx", "onnxruntime", "openvino", "nncf", "torch", "torchao", "executorch", "ai-edge-litert",
    "coremltools",
)  # fmt: skip
COUNT = 600
"""Images, by default: 100 to calibrate, and 500 to compare."""
TUNED_BEYOND = 0.002
"""Loss of AUROC in 8 bits beyond which the weights are fine-tuned for them."""
_TUNING = ("torch", "timm", "onnxscript")
"""Packages that fine-tuning needs, of the extra `export`; some forms of 8 bits are made without them."""


@dataclass(frozen=True)
class Reference:
    """A bundle, and what its model.onnx answers."""

    bundle: Bundle
    photos: Photos
    answers: np.ndarray
    """Probabilities of `photos.compared`."""
    vectors: np.ndarray
    """The test vectors, resized by Pillow: uint8 [N, S, S, 3]."""

    @cached_property
    def tuned(self) -> bytes:
        """model.onnx with weights that were fine-tuned for 8 bits on the images for calibration."""
        from dermdistill.export.rounding import write_tuned

        with tempfile.TemporaryDirectory(prefix="dermdistill-tuned-") as name:
            path = Path(name) / GRAPH
            write_tuned(self.bundle, self.photos.calibration, path)
            return path.read_bytes()

    @property
    def threshold(self) -> float:
        return self.bundle.spec.thresholds[self.bundle.spec.default_threshold].value


def convert(
    bundle: str | Path,
    formats: Sequence[str],
    out: str | Path,
    *,
    images: str | Path | None = None,
    count: int = COUNT,
    force: bool = False,
    tell: Callable[[str], None] = print,
) -> Path:
    """Write a copy of a bundle that has further forms of its network, and a certificate of how they agree.

    Forms that the bundle has already are kept, unless they are made again.

    Args:
        bundle: a bundle's folder; it may be `out` itself, with `force`.
        formats: names of formats, or 'all'.
        out: the new bundle's folder.
        images: a folder of images or a manifest; by default HAM10000 beneath `DERMDISTILL_DATA`, else generated ones.
        count: images to calibrate and to compare.
        force: replace a bundle that is there.
        tell: gets a line about each format.

    Returns:
        The folder.

    Raises:
        InputError: an unknown format, no format that can be made here, too few images, or `out` is taken.
        IntegrityError: a format is beyond its tolerance, or cannot be made or run; nothing was written.
    """
    chosen, out = choose(formats), Path(out)
    check_place(out, force)
    lacking = {format.name: reason for format in chosen if (reason := format.needs())}
    for name, reason in lacking.items():
        tell(f"{name}: not made: {reason}")
    possible = [format for format in chosen if format.name not in lacking]
    if not possible:
        raise InputError("none of these formats can be made here: see the lines above")
    reference = _reference(read_bundle(bundle), Path(images) if images else None, count)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".formats-", dir=out.absolute().parent) as name:
        folder = Path(name) / "bundle"
        shutil.copytree(bundle, folder)
        made = {}
        for format in possible:
            made[format.name] = make_variant(format, reference, folder)
            tell(f"{format.name}: {told(made[format.name])}")
        _certify(reference, folder, made, lacking)
        swap(folder, out)
    return out


def make_variant(format: Format, reference: Reference, folder: Path) -> Variant:
    """Make a format in a folder, run it, and compare.

    Raises:
        IntegrityError: it cannot be made or run, or is beyond its tolerance.
    """
    how, agreement = _attempt(format, reference, reference.bundle.graph, folder)
    if agreement is not None:
        how, agreement = _tuned(format, reference, folder, how, agreement)
        if wrong := misfits(agreement, format.tolerance, reference.photos.melanoma):
            raise IntegrityError(
                f"{format.name} differs from {GRAPH} beyond its tolerance on {agreement.images} images: "
                f"{'; '.join(wrong)}; nothing was written. {_told_how(how)}In all: {_figures(agreement)}. Leave this "
                "format out, or calibrate on other images with --images"
            )
    asked = agreement is not None and len(reference.vectors) > 0
    answers = format.run(folder, reference.vectors) if asked else np.empty((0, 0))
    return Variant(
        files={name: sha256_file(folder / name) for name in format.files},
        bytes=sum((folder / name).stat().st_size for name in format.files),
        made_with=installed(_PACKAGES),
        how=how,
        agreement=agreement,
        not_run=format.not_run,
        tolerance=format.tolerance,
        answers=tuple(tuple(row) for row in np.clip(answers, 0, 1).astype(float).round(7).tolist()),
    )


def _attempt(
    format: Format, reference: Reference, graph: Path, folder: Path
) -> tuple[dict[str, str], Agreement | None]:
    """Make a format of a graph, in a folder: what its maker tells, and how it agrees with model.onnx if it is run."""
    spec, photos = reference.bundle.spec, reference.photos
    source = Source(graph, spec.input.size, spec.melanoma_index, photos.calibration, tuple(spec.classes))
    try:
        how = format.make(source, folder)
    except DermdistillError:
        raise
    except Exception as error:  # converters raise exception classes of their own
        reason = " ".join(str(error).split())[:400]
        raise IntegrityError(
            f"{format.name} cannot be made of {source.graph}: {type(error).__name__}: {reason}; nothing was written"
        ) from error
    if format.not_run is not None:
        return how, None
    found = format.run(folder, photos.compared)
    return how, compare(reference.answers, found, spec.melanoma_index, reference.threshold, photos.melanoma)


def _tuned(
    format: Format, reference: Reference, folder: Path, how: dict[str, str], agreement: Agreement
) -> tuple[dict[str, str], Agreement]:
    """Where 8 bits lose more than `TUNED_BEYOND`, the same of fine-tuned weights, if their answers are closer.

    How close is told by the melanoma probability of all images: the AUROC of a few melanomas is a coarser measure.
    """
    lost = -(agreement.auroc_difference or 0.0)
    if format.tolerance != INT8 or reference.photos.origin != "photographs" or lost <= TUNED_BEYOND:
        return how, agreement
    if any(find_spec(name) is None for name in _TUNING):
        return {**how, "fine-tuning": "not tried; it needs: pip install 'dermdistill[export]'"}, agreement
    with tempfile.TemporaryDirectory(prefix="dermdistill-tuned-") as name:
        graph, beside = Path(name) / GRAPH, Path(name) / "made"
        graph.write_bytes(reference.tuned)
        beside.mkdir()
        again, found = _attempt(format, reference, graph, beside)
        if found is None:
            return how, agreement
        with_, without = found.melanoma_mean_abs_difference, agreement.melanoma_mean_abs_difference
        told = {
            "AUROC": f"after fine-tuning {found.auroc_difference or 0.0:+.4f}, without {-lost:+.4f}",
            "mean difference": f"after fine-tuning {with_:.5f}, without {without:.5f}",
        }
        if with_ >= without:
            return {**how, **told, "fine-tuning": "not kept"}, agreement
        for file in format.files:
            shutil.copyfile(beside / file, folder / file)
    return {**again, **told, "fine-tuning": "kept"}, found


def _told_how(how: dict[str, str]) -> str:
    return "".join(f"{key}: {value}. " for key, value in how.items())


def told(variant: Variant) -> str:
    """A variant's figures on one line."""
    if variant.agreement is None:
        return f"{variant.bytes:,} bytes; {variant.not_run}"
    return f"{variant.bytes:,} bytes; {_figures(variant.agreement)}"


def _figures(of: Agreement) -> str:
    auroc = f"not known, {of.auroc_undefined}" if of.auroc_difference is None else f"{of.auroc_difference:+.5f}"
    return (
        f"probabilities differ by {of.probabilities_max_abs_difference:.2g} at most, of melanoma by "
        f"{of.melanoma_mean_abs_difference:.2g} on average; AUROC {auroc}; "
        f"{of.decision_flips} of {of.images} decisions change"
    )


def _reference(bundle: Bundle, images: Path | None, count: int) -> Reference:
    photos = load_photos(images, bundle.spec.input.size, count)
    answers = probabilities(OnnxRuntime(bundle.graph, 1), photos.compared)
    return Reference(bundle, photos, answers, resized(bundle.spec))


def _certify(reference: Reference, folder: Path, made: dict[str, Variant], lacking: dict[str, str]) -> None:
    """Write parity.json of what was made and of what was there before, and enter it into bundle.json."""
    bundle, photos = reference.bundle, reference.photos
    before = read_certificate(bundle)
    labels = photos.melanoma
    certificate = Certificate(
        format="dermdistill-parity/1",
        reference_sha256=bundle.spec.files[GRAPH],
        images=Images(
            origin=photos.origin, calibration=len(photos.calibration), compared=len(photos.compared),
            melanomas=None if labels is None else int(labels.sum()),
        ),
        hardware=hardware(),
        variants={**(before.variants if before else {}), **made},
        not_made=lacking,
    )  # fmt: skip
    _enter(folder, certificate)


def _enter(folder: Path, certificate: Certificate, gone: Collection[str] = ()) -> None:
    """Write a certificate, tell bundle.json which files came and went, and read both as users will."""
    write_json(folder / CERTIFICATE, certificate.model_dump(mode="json"))
    header: dict[str, Any] = read_json(folder / "bundle.json")
    files = {file: sha for file, sha in header["files"].items() if file not in gone}
    for variant in certificate.variants.values():
        files |= variant.files
    header["files"] = {**files, CERTIFICATE: sha256_file(folder / CERTIFICATE)}
    write_json(folder / "bundle.json", header)
    read_certificate(read_bundle(folder))


def keep(bundle: str | Path, names: Collection[str]) -> None:
    """Take all further forms out of a bundle but some.

    Raises:
        InputError: no bundle there.
        IntegrityError: it is damaged.
    """
    read = read_bundle(bundle)
    certificate = read_certificate(read)
    if certificate is None:
        return
    kept = {name: variant for name, variant in certificate.variants.items() if name in names}
    gone = {file for name, variant in certificate.variants.items() if name not in kept for file in variant.files}
    with tempfile.TemporaryDirectory(prefix=".formats-", dir=read.folder.absolute().parent) as name:
        folder = Path(name) / "bundle"
        shutil.copytree(read.folder, folder, ignore=lambda *_: gone)
        _enter(folder, certificate.model_copy(update={"variants": kept}), gone)
        swap(folder, read.folder)
