"""Whether a stranger's ONNX graph is data only: arithmetic that is known, and weights that it holds itself.

The graph is parsed with protobuf, which ONNX Runtime brings along, and with the few fields of onnx.proto that tell what
a graph is made of. The package `onnx` is not needed.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from dermdistill.errors import IntegrityError

MAX_GRAPH = 512 * 2**20
"""Bytes of a graph."""
MAX_NODES = 20_000
OPSETS = range(7, 27)
"""Versions of the ONNX operators that are read; exports have 18."""
_NAMES = """
Abs Add And AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv DepthToSpace
DequantizeLinear Div Elu Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu
Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Min Mish Mod Mul Neg Not Or PRelu Pad Pow QuantizeLinear Range
Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round
Selu Shape Sigmoid Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze
Where
"""
OPERATORS = frozenset(_NAMES.split())
"""Operators of ONNX's own domain from which networks for images are made. None has a subgraph, draws random numbers, or
touches files, strings or sequences."""

_INT, _TEXT, _BYTES = "int", "text", "bytes"
_FIELDS: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Model": {
        "opset_import": (8, "Opset", True), "graph": (7, "Graph", False), "metadata_props": (14, "Entry", True),
        "training_info": (20, _BYTES, True), "functions": (25, _BYTES, True),
    },
    "Entry": {"key": (1, _TEXT, False), "value": (2, _TEXT, False)},
    "Opset": {"domain": (1, _TEXT, False), "version": (2, _INT, False)},
    "Graph": {
        "node": (1, "Node", True), "initializer": (5, "Tensor", True), "sparse_initializer": (15, _BYTES, True),
    },
    "Node": {
        "op_type": (4, _TEXT, False), "attribute": (5, "Attribute", True), "domain": (7, _TEXT, False),
    },
    "Attribute": {
        "t": (5, "Tensor", False), "g": (6, _BYTES, False), "tensors": (10, "Tensor", True),
        "graphs": (11, _BYTES, True), "sparse_tensor": (22, _BYTES, False), "sparse_tensors": (23, _BYTES, True),
    },
    "Tensor": {"external_data": (13, _BYTES, True), "data_location": (14, _INT, False)},
}  # fmt: skip
"""Of each message of onnx.proto the fields that are looked at: number, type, whether repeated."""


def check_graph(path: Path) -> None:
    """Check what a graph is made of, before any runtime sees it.

    Raises:
        IntegrityError: it is no ONNX graph, is too large, has operators other than `OPERATORS`, or has functions,
            subgraphs, sparse tensors, or weights in other files.
    """
    if (size := path.stat().st_size) > MAX_GRAPH:
        raise IntegrityError(f"{path} has {size} bytes, at most {MAX_GRAPH} are read")
    model = _parse(path)
    if found := next(_faults(model), None):
        raise IntegrityError(
            f"{path} {found}; a bundle's graph may only be arithmetic with weights of its own; "
            "export it with dermdistill"
        )


def read_metadata(path: Path) -> dict[str, str]:
    """What a graph says of itself, by its keys.

    Raises:
        IntegrityError: it is no ONNX graph.
    """
    return {entry.key: entry.value for entry in _parse(path).metadata_props}


def _faults(model: Any) -> Iterator[str]:
    """What is wrong with a graph, in words."""
    if model.functions or model.training_info:
        yield "defines functions or training"
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx"):
            yield f"uses operators of the domain '{opset.domain[:40]}'"
        elif opset.version not in OPSETS:
            yield f"uses version {opset.version} of the ONNX operators, expected {OPSETS[0]} to {OPSETS[-1]}"
    if len(model.graph.node) > MAX_NODES:
        yield f"has {len(model.graph.node)} nodes, at most {MAX_NODES} are allowed"
    if model.graph.sparse_initializer:
        yield "has sparse weights"
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            yield f"uses the operator '{f'{node.domain}:{node.op_type}'.lstrip(':')[:80]}', which is not allowed"
        for attribute in node.attribute:
            if attribute.graphs or attribute.HasField("g"):
                yield f"has a subgraph in an operator '{node.op_type}'"
            if attribute.sparse_tensors or attribute.HasField("sparse_tensor"):
                yield "has sparse weights"
            yield from _tensor_faults((*attribute.tensors, attribute.t))
    yield from _tensor_faults(model.graph.initializer)


def _tensor_faults(tensors: Any) -> Iterator[str]:
    if any(tensor.data_location or tensor.external_data for tensor in tensors):
        yield "keeps weights in another file"


def _parse(path: Path) -> Any:
    from google.protobuf.message import DecodeError

    model = _messages()["Model"]()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, ValueError):
        raise IntegrityError(f"{path} is not an ONNX graph; export it again") from None
    if not model.graph.node:
        raise IntegrityError(f"{path} is not an ONNX graph: it has no operators; export it again")
    return model


@cache
def _messages() -> dict[str, Any]:
    """The classes of the messages in `_FIELDS`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = {_INT: "TYPE_INT64", _TEXT: "TYPE_STRING", _BYTES: "TYPE_BYTES"}
    file = descriptor_pb2.FileDescriptorProto(name="outline.proto", package="outline", syntax="proto2")
    for message, fields in _FIELDS.items():
        made = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            label = "LABEL_REPEATED" if repeated else "LABEL_OPTIONAL"
            field = made.field.add(name=name, number=number, label=label)
            field.type = field.Type.Value(kinds.get(kind, "TYPE_MESSAGE"))
            if kind not in kinds:
                field.type_name = f".outline.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"outline.{name}")) for name in _FIELDS}
