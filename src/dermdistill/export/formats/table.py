"""All formats by their names, in the order in which they are made."""

from collections.abc import Iterable

from dermdistill.errors import InputError
from dermdistill.export.formats import coreml, executorch, litert, onnx_fp16, onnx_int8, openvino
from dermdistill.export.formats.form import Format

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        onnx_fp16.FORMAT, onnx_int8.FORMAT, openvino.FP32, openvino.FP16, openvino.INT8_FORMAT, executorch.FP32,
        executorch.INT8_FORMAT, litert.FP32, litert.INT8_FORMAT, coreml.FORMAT,
    )
}  # fmt: skip
ALL = "all"


def choose(names: Iterable[str]) -> list[Format]:
    """The formats of some names; 'all' stands for every one.

    Raises:
        InputError: none was named, or a name is not known.
    """
    asked = [name.strip() for name in names if name.strip()]
    unknown = [name for name in asked if name not in FORMATS and name != ALL]
    if unknown or not asked:
        got = f"'{unknown[0]}'" if unknown else "none"
        raise InputError(f"formats must be {ALL} or some of {', '.join(FORMATS)}, got {got}")
    return [format for name, format in FORMATS.items() if name in asked or ALL in asked]
