"""ONNX with weights of 16 bits: half the bytes. Input and outputs stay float32."""

from pathlib import Path

import onnx

from dermdistill.export.formats.form import FLOAT16, Format, Source
from dermdistill.privacy import onnx_runtime_tools


def make(source: Source, folder: Path) -> dict[str, str]:
    convert_float_to_float16 = onnx_runtime_tools("transformers.float16").convert_float_to_float16
    OnnxModel = onnx_runtime_tools("transformers.onnx_model").OnnxModel

    model = convert_float_to_float16(onnx.load(source.graph), keep_io_types=True)
    OnnxModel.graph_topological_sort(model.graph)  # the converter puts its casts last
    onnx.checker.check_model(model, full_check=True)
    (folder / FORMAT.files[0]).write_bytes(model.SerializeToString())
    return {}


FORMAT = Format(name="onnx-fp16", extra="quantize", packages=("onnx",), tolerance=FLOAT16, make=make)
