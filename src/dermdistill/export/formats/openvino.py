"""OpenVINO's own form: weights of 32 or 16 bits, or quantised to 8 bits with NNCF.

The extra `openvino` is for predictions alone; `quantize` brings what all three are made with.
"""

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dermdistill.export.formats.form import FLOAT16, FLOAT32, INT8, Format, Source, probabilities
from dermdistill.predict.runtime import OnnxRuntime, OpenVino, as_batch
from dermdistill.predict.signal_stack import kept_signal_stack
from dermdistill.privacy import openvino


def make_fp32(source: Source, folder: Path) -> dict[str, str]:
    _save(_read(source), folder / FP32.files[0], half=False)
    return {}


def make_fp16(source: Source, folder: Path) -> dict[str, str]:
    _save(_read(source), folder / FP16.files[0], half=True)
    return {}


def make_int8(source: Source, folder: Path) -> dict[str, str]:
    """Symmetric weights for each channel, asymmetric activations, and biases corrected: NNCF's preset 'mixed'.

    The range of an activation is the mean of those of single images, or the widest of them. Either can be the better
    one: both are tried, and the one that is closer to model.onnx on the calibration images is kept.
    """
    model = _read(source)  # turns the telemetry off before NNCF is imported
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    logging.getLogger("nncf").setLevel(logging.ERROR)
    images = [as_batch(source.calibration[place : place + 1]) for place in range(len(source.calibration))]
    reference = probabilities(OnnxRuntime(source.graph, 1), source.calibration)[:, source.melanoma]
    ranges = {
        "widest range": RangeEstimatorParametersSet.MINMAX,
        "mean range": RangeEstimatorParametersSet.MEAN_MINMAX,
    }
    differences: dict[str, float] = {}
    for name, estimator in ranges.items():
        with kept_signal_stack():
            quantised = nncf.quantize(
                model, nncf.Dataset(images), preset=nncf.QuantizationPreset.MIXED, subset_size=len(images),
                advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=estimator),
                ignored_scope=nncf.IgnoredScope(names=_after_logits(model)),
            )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="dermdistill-int8-") as made:
            paths = [Path(made) / file for file in INT8_FORMAT.files]
            _save(quantised, paths[0], half=False)
            found = probabilities(OpenVino(paths[0], 1), source.calibration)[:, source.melanoma]
            difference = float(np.abs(found - reference).mean())
            if difference < min(differences.values(), default=np.inf):
                for path in paths:
                    shutil.copyfile(path, folder / path.name)
        differences[name] = difference
    kept = min(differences, key=lambda one: differences[one])
    tried = {f"mean difference, {name}": f"{value:.5f}" for name, value in differences.items()}
    return {"preset": "mixed", "kept": kept, "calibration images": str(len(images)), **tried}


def _after_logits(model: Any) -> list[str]:
    """The names of the operators of a model that come after its logits."""
    (logits,) = [output for output in model.outputs if "logits" in output.get_names()]
    waiting, found = [logits.get_node().input(0).get_source_output()], []
    while waiting:
        for taken in waiting.pop().get_target_inputs():
            node = taken.get_node()
            if node.get_type_name() != "Result" and node.get_friendly_name() not in found:
                found.append(node.get_friendly_name())
                waiting += node.outputs()
    return found


def _read(source: Source) -> Any:
    return openvino().convert_model(str(source.graph))


def _save(model: Any, path: Path, *, half: bool) -> None:
    openvino().save_model(model, str(path), compress_to_fp16=half)


FP32 = Format(name="openvino", extra="quantize", packages=("openvino",), tolerance=FLOAT32, make=make_fp32)
FP16 = Format(name="openvino-fp16", extra="quantize", packages=("openvino",), tolerance=FLOAT16, make=make_fp16)
INT8_FORMAT = Format(
    name="openvino-int8", extra="quantize", packages=("openvino", "nncf"), tolerance=INT8, make=make_int8
)
