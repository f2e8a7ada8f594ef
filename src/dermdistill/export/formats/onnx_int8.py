"""ONNX with weights and activations of 8 bits (static QDQ), ranges from calibration images.

One scale for a whole layer can ruin a network of depthwise convolutions, whose channels differ in size a hundredfold;
one for each channel can ruin another on processors whose sums overflow. Several ways are tried, the one that is closest
to model.onnx on the calibration images is kept, and all are reported.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dermdistill.export.formats.after_logits import calibration_nodes
from dermdistill.export.formats.form import BATCH, INT8, Format, Source, probabilities
from dermdistill.predict.runtime import OnnxRuntime, as_batch
from dermdistill.privacy import onnx_runtime, onnx_runtime_tools

if TYPE_CHECKING:
    import onnx

_QUANTISED = ("Conv", "Clip", "Relu", "Add", "MaxPool", "ReduceMean", "GlobalAveragePool", "Reshape", "Flatten", "Gemm")
"""Normalisation and everything after the logits stay float32."""
_DEPTHWISE_APART = INT8.mean / 2
"""Mean difference of the melanoma probability beyond which depthwise convolutions are tried in float32."""


@dataclass(frozen=True)
class _Way:
    name: str
    per_channel: bool
    keep_depthwise: bool = False
    """In float32."""


_WAYS = (_Way("per tensor", False), _Way("per channel", True))
_FURTHER = _Way("per channel, depthwise in float32", True, keep_depthwise=True)


def make(source: Source, folder: Path) -> dict[str, str]:
    """Try the ways, and write the file of the best one."""
    onnx_runtime()  # turns its telemetry off before the quantiser imports it
    reference = probabilities(OnnxRuntime(source.graph, 1), source.calibration)[:, source.melanoma]
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="dermdistill-int8-") as name:
        prepared = _prepared(source, Path(name))
        for way in (*_WAYS, _FURTHER):
            if way is _FURTHER and min(differences.values()) <= _DEPTHWISE_APART:
                break
            path = Path(name) / f"{len(differences)}.onnx"
            _quantise(prepared, path, way, source)
            found = probabilities(OnnxRuntime(path, 1), source.calibration)[:, source.melanoma]
            difference = float(np.abs(found - reference).mean())
            if difference < min(differences.values(), default=np.inf):
                (folder / FORMAT.files[0]).write_bytes(path.read_bytes())
            differences[way.name] = difference
    kept = min(differences, key=lambda one: differences[one])
    tried = {f"mean difference, {way}": f"{value:.5f}" for way, value in differences.items()}
    return {"kept": kept, "calibration images": str(len(source.calibration)), **tried}


def _prepared(source: Source, folder: Path) -> Path:
    """The graph with the shapes of what is between its operators, which the quantiser asks for."""
    import onnx

    path = folder / "prepared.onnx"
    path.write_bytes(onnx.shape_inference.infer_shapes(onnx.load(source.graph)).SerializeToString())
    return path


def _quantise(graph: Path, path: Path, way: _Way, source: Source) -> None:
    import onnx

    tools = onnx_runtime_tools("quantization")
    kept = [node.name for node in calibration_nodes(onnx.load(graph)) if node.op_type in _QUANTISED]
    kept += _depthwise(graph) if way.keep_depthwise else []
    with _quiet():
        tools.quantize_static(
            str(graph), str(path), _Reader(source.calibration), quant_format=tools.QuantFormat.QDQ,
            per_channel=way.per_channel, activation_type=tools.QuantType.QUInt8, weight_type=tools.QuantType.QInt8,
            op_types_to_quantize=list(_QUANTISED), nodes_to_exclude=kept,
        )  # fmt: skip
    model = onnx.load(path)
    _lighten(model.graph)
    path.write_bytes(model.SerializeToString())


def _lighten(graph: "onnx.GraphProto") -> None:
    """Leave out what a graph of 8 bits does not need: names inside, shapes between, and the zero points of weights.

    They are a sixth of the file. An operator without a zero point takes 0, which all of them are.
    """
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        of_weights = node.op_type == "DequantizeLinear" and node.input[0] in tensors
        if of_weights and len(node.input) == 3 and not numpy_helper.to_array(tensors[node.input[2]]).any():
            del node.input[2]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    short = {one.name: one.name for one in (*graph.input, *graph.output)} | {"": ""}

    def of(name: str) -> str:
        return short.setdefault(name, f"{len(short):x}")

    for tensor in kept:
        tensor.name = of(tensor.name)
    for node in graph.node:
        node.name = ""
        node.input[:], node.output[:] = map(of, node.input), map(of, node.output)
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser warns through the root logger; its level is as before afterwards."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _depthwise(graph: Path) -> list[str]:
    """The names of convolutions in groups, and of the activations that take their outputs."""
    import onnx

    nodes = onnx.load(graph).graph.node
    grouped = [node for node in nodes if any(one.name == "group" and one.i > 1 for one in node.attribute)]
    made = {name for node in grouped for name in node.output}
    return [node.name for node in (*grouped, *(node for node in nodes if made & set(node.input)))
            if node.op_type in ("Conv", "Clip", "Relu")]  # fmt: skip


class _Reader:
    """The calibration images in batches, as the quantiser reads them."""

    def __init__(self, images: np.ndarray):
        self._batches: Iterator[np.ndarray] = iter(
            [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        )

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": as_batch(batch)}


FORMAT = Format(name="onnx-int8", extra="quantize", packages=("onnx",), tolerance=INT8, make=make)
