"""ONNX with weights of 16 bits: half the bytes. Input, outputs and what makes probabilities of logits stay float32."""

from pathlib import Path
from typing import TYPE_CHECKING

from dermdistill.export.formats.after_logits import calibration_nodes
from dermdistill.export.formats.form import FLOAT16, Format, Source
from dermdistill.privacy import onnx_runtime_tools

if TYPE_CHECKING:
    import onnx


def make(source: Source, folder: Path) -> dict[str, str]:
    import onnx

    convert_float_to_float16 = onnx_runtime_tools("transformers.float16").convert_float_to_float16
    OnnxModel = onnx_runtime_tools("transformers.onnx_model").OnnxModel

    network = onnx.load(source.graph)
    end = _cut(network)
    model = convert_float_to_float16(network, keep_io_types=True)
    OnnxModel.graph_topological_sort(model.graph)  # the converter puts its casts last
    model.graph.node.extend(end.node)
    model.graph.initializer.extend(end.initializer)
    model.graph.output.extend(end.output)
    onnx.checker.check_model(model, full_check=True)
    (folder / FORMAT.files[0]).write_bytes(model.SerializeToString())
    return {}


def _cut(model: "onnx.ModelProto") -> "onnx.GraphProto":
    """Take what comes after the logits out of a graph; the converter would round between any two of its operators."""
    import onnx

    graph, end = model.graph, onnx.GraphProto()
    end.node.extend(calibration_nodes(model))
    made = {name for node in end.node for name in node.output}
    taken = {name for node in end.node for name in node.input}
    for tensor in graph.initializer:
        if tensor.name in taken:
            copied = end.initializer.add()
            copied.CopyFrom(tensor)
            copied.name = f"calibrated.float32.{tensor.name}"
    for node in end.node:
        for place, name in enumerate(node.input):
            if any(tensor.name == name for tensor in graph.initializer):
                node.input[place] = f"calibrated.float32.{name}"
    end.output.extend(output for output in graph.output if output.name in made)
    left = [node for node in graph.node if not made & set(node.output)]
    used = {name for node in left for name in node.input}
    for parts, kept in (
        (graph.node, left),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used]),
        (graph.output, [output for output in graph.output if output.name not in made]),
        (graph.value_info, [value for value in graph.value_info if value.name not in made]),
    ):
        copies = [type(one).FromString(one.SerializeToString()) for one in kept]
        del parts[:]
        parts.extend(copies)
    return end


FORMAT = Format(name="onnx-fp16", extra="quantize", packages=("onnx",), tolerance=FLOAT16, make=make)
