"""OpenVINO's own form: weights of 32 or 16 bits, or quantised to 8 bits with NNCF."""

import logging
from pathlib import Path
from typing import Any

from dermdistill.export.formats.form import FLOAT16, FLOAT32, INT8, Format, Source
from dermdistill.predict.runtime import as_batch
from dermdistill.privacy import openvino


def make_fp32(source: Source, folder: Path) -> dict[str, str]:
    _save(_read(source), folder / FP32.files[0], half=False)
    return {}


def make_fp16(source: Source, folder: Path) -> dict[str, str]:
    _save(_read(source), folder / FP16.files[0], half=True)
    return {}


def make_int8(source: Source, folder: Path) -> dict[str, str]:
    """Symmetric weights for each channel, asymmetric activations, and biases corrected: NNCF's preset 'mixed'."""
    model = _read(source)  # turns the telemetry off before NNCF is imported
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    images = [as_batch(source.calibration[place : place + 1]) for place in range(len(source.calibration))]
    quantised = nncf.quantize(
        model, nncf.Dataset(images), preset=nncf.QuantizationPreset.MIXED, subset_size=len(images)
    )
    _save(quantised, folder / INT8_FORMAT.files[0], half=False)
    return {"preset": "mixed", "calibration images": str(len(images))}


def _read(source: Source) -> Any:
    return openvino().convert_model(str(source.graph))


def _save(model: Any, path: Path, *, half: bool) -> None:
    openvino().save_model(model, str(path), compress_to_fp16=half)


FP32 = Format(name="openvino", extra="openvino", packages=("openvino",), tolerance=FLOAT32, make=make_fp32)
FP16 = Format(name="openvino-fp16", extra="openvino", packages=("openvino",), tolerance=FLOAT16, make=make_fp16)
INT8_FORMAT = Format(
    name="openvino-int8", extra="quantize", packages=("openvino", "nncf"), tolerance=INT8, make=make_int8
)
