"""The further forms of a bundle's network, for other runtimes and precisions, and how each agrees with model.onnx."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from dermdistill.errors import InputError, IntegrityError, did_you_mean
from dermdistill.predict.bundle import Bundle
from dermdistill.predict.graphs import check_graph
from dermdistill.predict.header import GRAPH, Count, FileName, Sha256, Share
from dermdistill.predict.runtime import RuntimeName
from dermdistill.specs import Strict, load_header

CERTIFICATE = "parity.json"
Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Form:
    """A form of the network: what runs it, in which precision, and its files."""

    name: str
    runtime: RuntimeName | None
    """None if it is only made here, and run elsewhere."""
    precision: Precision
    files: tuple[str, ...]
    """The first one is what the runtime loads."""


FORMS = {
    form.name: form
    for form in (
        Form("onnx-fp16", "onnxruntime", "fp16", ("model.fp16.onnx",)),
        Form("onnx-int8", "onnxruntime", "int8", ("model.int8.onnx",)),
        Form("openvino", "openvino", "fp32", ("openvino.xml", "openvino.bin")),
        Form("openvino-fp16", "openvino", "fp16", ("openvino.fp16.xml", "openvino.fp16.bin")),
        Form("openvino-int8", "openvino", "int8", ("openvino.int8.xml", "openvino.int8.bin")),
        Form("executorch", "executorch", "fp32", ("model.pte",)),
        Form("executorch-int8", "executorch", "int8", ("model.int8.pte",)),
        Form("litert", "litert", "fp32", ("model.tflite",)),
        Form("litert-int8", "litert", "int8", ("model.int8.tflite",)),
        Form("coreml", None, "fp16", ("model.mlpackage.zip",)),
    )
}
"""All forms that `dermdistill export` makes, by name."""


class Tolerance(Strict):
    """How far a form may be from model.onnx. Beyond any of these it is not written."""

    probability: float = Field(gt=0, le=1)
    """Largest difference of a class's probability, on any image."""
    mean: float = Field(gt=0, le=1)
    """Mean difference of the probability of melanoma."""
    auroc: float = Field(gt=0, le=1)
    """Loss of melanoma AUROC, where the labels of enough images are known."""
    flips: float = Field(ge=0, le=1)
    """Share of images whose decision at the default threshold is another."""


class Agreement(Strict):
    """How far a form's answers are from those of model.onnx in ONNX Runtime, on the same images."""

    probabilities_max_abs_difference: Share
    """Of any class, on any image."""
    melanoma_mean_abs_difference: Share
    auroc_reference: Share | None
    """Melanoma AUROC of model.onnx on these images. It judges the form, not the model, which may know the images."""
    auroc_difference: Annotated[float, Field(ge=-1, le=1)] | None
    """Of the form less that of model.onnx."""
    auroc_undefined: str | None
    """Why there is no difference in AUROC."""
    decision_flips: Count
    """Images whose decision at the default threshold is another."""
    images: Count


class Variant(Strict):
    """A form of the network in a bundle."""

    files: dict[FileName, Sha256]
    bytes: Count
    made_with: dict[str, str]
    """Versions of the packages that made it and ran it."""
    how: dict[str, str]
    """What the conversion chose, and what else it tried."""
    agreement: Agreement | None
    """None if it was not run."""
    not_run: str | None
    """Why it was not run."""
    tolerance: Tolerance
    answers: tuple[tuple[Share, ...], ...]
    """Its own probabilities for the bundle's test vectors, resized by Pillow: another machine should give the same."""


class Images(Strict):
    """What the forms were calibrated and compared on."""

    origin: Literal["photographs", "generated"]
    """Generated lesions say nothing about skin; agreement on photographs is worth more."""
    calibration: Count
    compared: Count
    """Other images than those of the calibration."""
    melanomas: Count | None
    """Among those that were compared; None if their labels are not known."""


class Certificate(Strict):
    """The contents of parity.json."""

    format: Literal["dermdistill-parity/1"]
    reference_sha256: Sha256
    """Of model.onnx, which the forms were made of and compared with."""
    images: Images
    """Of the last conversion; forms that were there before keep their own figures."""
    hardware: str
    variants: dict[str, Variant]
    """By the names of forms, such as 'onnx-int8'."""
    not_made: dict[str, str]
    """Forms that were asked for and could not be made, and why."""

    @model_validator(mode="after")
    def _are_known(self) -> Self:
        for name, variant in self.variants.items():
            if name not in FORMS or set(variant.files) != set(FORMS[name].files):
                raise ValueError(f"'{name}' with the files {sorted(variant.files)} is no form that is known")
        return self


def read_certificate(bundle: Bundle) -> Certificate | None:
    """The certificate of a bundle's further forms; None if it has none.

    Raises:
        IntegrityError: it does not fit its format, or names files or a graph other than those of bundle.json.
    """
    if CERTIFICATE not in bundle.spec.files:
        return None
    path = bundle.folder / CERTIFICATE
    found = load_header(path, Certificate)
    named = {GRAPH: found.reference_sha256, **{k: v for one in found.variants.values() for k, v in one.files.items()}}
    for name, sha256 in named.items():
        if bundle.spec.files.get(name) != sha256:
            raise IntegrityError(f"{path} is of another {name} than bundle.json; run `dermdistill export` again")
    return found


def form_for(runtime: str, precision: str) -> Form | None:
    """The form that a runtime takes in a precision; None for fp32 in ONNX Runtime, which is model.onnx itself.

    Raises:
        InputError: there is no such precision, or no such form.
    """
    if precision not in get_args(Precision):
        known = get_args(Precision)
        raise InputError(
            f"precision must be one of {', '.join(known)}, got '{precision}'{did_you_mean(precision, known)}"
        )
    if runtime not in get_args(RuntimeName):
        known = get_args(RuntimeName)
        raise InputError(f"runtime must be one of {', '.join(known)}, got '{runtime}'{did_you_mean(runtime, known)}")
    if (runtime, precision) == ("onnxruntime", "fp32"):
        return None
    for form in FORMS.values():
        if (form.runtime, form.precision) == (runtime, precision):
            return form
    has = ", ".join(form.precision for form in FORMS.values() if form.runtime == runtime)
    raise InputError(f"there is no {precision} form for {runtime}; it has {has}")


def find_graph(bundle: Bundle, runtime: str = "onnxruntime", precision: str = "fp32") -> Path:
    """The file of a bundle that a runtime loads.

    Where a bundle has no form of its own for OpenVINO in fp32, this is model.onnx, which OpenVINO reads as well.

    Args:
        bundle: checked; the hashes of all of its files are right.
        runtime: one of `RuntimeName`.
        precision: one of `Precision`.

    Raises:
        InputError: there is no such form, or the bundle does not hold it.
        IntegrityError: the certificate does not fit, or an ONNX graph holds what is not allowed.
    """
    form = form_for(runtime, precision)
    if form is None:
        return bundle.graph
    certificate = read_certificate(bundle)
    if certificate is not None and form.name in certificate.variants:
        path = bundle.folder / form.files[0]
        if path.suffix == ".onnx":
            check_graph(path)
        return path
    if (runtime, precision) == ("openvino", "fp32"):
        return bundle.graph
    there = ", ".join(certificate.variants) if certificate is not None and certificate.variants else "none"
    raise InputError(
        f"{bundle.folder} has no form '{form.name}', which {runtime} needs for {precision}; of the further forms it "
        f"has {there}; make it with: dermdistill export --from {bundle.folder} --formats {form.name} --out FOLDER"
    )
