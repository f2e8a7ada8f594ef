"""The graph that takes a photograph's own pixels: resize, scaling and the network of model.onnx in one.

ONNX has `Resize` with antialiasing, which this graph does not use. ONNX Runtime's rounds some values in another way
than Pillow, which moves probabilities by up to 0.005, and OpenVINO's leaves the antialiasing out without a word. Here
the resize is two matrix products of whole numbers, which runtimes give alike, value for value as Pillow.
"""

from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from dermdistill.errors import IntegrityError

_OWN = "pixels."
"""Begins the names of what is put around the network."""
BITS = 22
"""Weights of the resize are counted in 2**-BITS, as Pillow does."""
_LOW = 2048
"""Weights are split into a multiple of this and a rest, so that float32 holds each sum of products exactly."""


def write_pixels(network: Path, size: int, path: Path, metadata: dict[str, str]) -> None:
    """Write the graph: input `image`, uint8 [H, W, 3]; outputs `logits` and `probabilities` [C], `resized` [S, S, 3].

    Args:
        network: model.onnx, of which nodes and weights are taken.
        size: side of the network's input in pixels, S.
        path: the file.
        metadata: stored in the graph's metadata_props.

    Raises:
        IntegrityError: the network uses a name that this graph needs.
    """
    model = onnx.load(network)
    graph = model.graph
    (logits,) = [output for output in graph.output if output.name == "logits"]
    classes = logits.type.tensor_type.shape.dim[1].dim_value
    _rename(model, {name: f"{_OWN}network.{name}" for name in ("image", "logits", "probabilities")})
    around = _Around()
    around.resize(size)
    nodes = [*around.nodes, *graph.node, *_ends(around.whole(0))]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(around.constants.values())
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["height", "width", 3]))
    graph.output.extend([
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [classes]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [classes]),
        helper.make_tensor_value_info("resized", TensorProto.UINT8, [size, size, 3]),
    ])  # fmt: skip
    model.ClearField("metadata_props")
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


class _Around:
    """Nodes and constants that come before the network."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def constant(self, kind: int, value: int) -> str:
        """The name of a constant without dimensions."""
        return self._constant(kind, [], (value,))

    def whole(self, *values: int) -> str:
        """The name of a constant, int64 [number of values]."""
        return self._constant(TensorProto.INT64, [len(values)], values)

    def _constant(self, kind: int, dimensions: list[int], values: tuple[int, ...]) -> str:
        name = f"{_OWN}{TensorProto.DataType.Name(kind).lower()}{dimensions}.{'.'.join(map(str, values[:2]))}"
        self.constants[name] = helper.make_tensor(name, kind, dimensions, values)
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of the output of a new node."""
        name = f"{_OWN}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def resize(self, size: int) -> None:
        """From `image` to the network's input, by way of `resized`: first columns, then rows."""
        planes = self.add("Transpose", "image", perm=[2, 0, 1])
        values = self.add("Cast", planes, to=TensorProto.FLOAT)
        columns = self.add("MatMul", values, self.add("Transpose", self.weights(size, 1), perm=[1, 0]))
        narrow = self.add("Cast", self.rounded(columns, 2), to=TensorProto.FLOAT)
        rows = self.add("MatMul", self.weights(size, 0), narrow)
        resized = self.rounded(rows, 1)
        scaled = self.add("Div", self.add("Cast", resized, to=TensorProto.FLOAT), self.constant(TensorProto.FLOAT, 255))
        shown = self.add("Cast", resized, to=TensorProto.UINT8)
        self.nodes += [
            helper.make_node("Unsqueeze", [scaled, self.whole(0)], [f"{_OWN}network.image"]),
            helper.make_node("Transpose", [shown], ["resized"], perm=[1, 2, 0]),
        ]

    def weights(self, size: int, axis: int) -> str:
        """Float32 [2 S, n]: for each side of the output the weights of the n sides of the image, in 2**-BITS.

        The first S rows hold them divided by `_LOW`, rounded, the others what is left. With whole numbers, place x of
        the image weighs max(0, 2 max(n, S) - |(2 x + 1) S - (2 i + 1) n|) in place i of the output, divided by the sum
        over all x.
        """
        length = self.add("Shape", "image", start=axis, end=axis + 1)
        double = self.add("Mul", length, self.whole(2))
        odd = self.add("Add", self.add("Mul", self.range(length), self.whole(2)), self.whole(1))
        places = self.whole(*range(1, 2 * size, 2))
        wanted = self.add("Mul", self.add("Unsqueeze", places, self.whole(1)), length)
        distance = self.add("Abs", self.add("Sub", self.add("Mul", odd, self.whole(size)), wanted))
        reach = self.add("Max", double, self.whole(2 * size))
        share = self.add("Max", self.add("Sub", reach, distance), self.whole(0))
        parts = self.add("Cast", share, to=TensorProto.DOUBLE)
        total = self.add("ReduceSum", parts, self.whole(1), keepdims=1)
        one = self.constant(TensorProto.DOUBLE, 2**BITS)
        weights = self.nearest(self.add("Div", self.add("Mul", parts, one), total))
        low = self.constant(TensorProto.DOUBLE, _LOW)
        high = self.nearest(self.add("Div", weights, low))
        rest = self.add("Sub", weights, self.add("Mul", high, low))
        return self.add("Cast", self.add("Concat", high, rest, axis=0), to=TensorProto.FLOAT)

    def range(self, length: str) -> str:
        zero, one = self.constant(TensorProto.INT64, 0), self.constant(TensorProto.INT64, 1)
        return self.add("Range", zero, self.add("Squeeze", length, self.whole(0)), one)

    def nearest(self, values: str) -> str:
        """Doubles rounded to the nearest whole number, halves up."""
        half = self.add("Div", self.constant(TensorProto.DOUBLE, 1), self.constant(TensorProto.DOUBLE, 2))
        return self.add("Floor", self.add("Add", values, half))

    def rounded(self, sums: str, axis: int) -> str:
        """From sums of both parts of the weights to values of 0 to 255, int32, rounded as Pillow does."""
        name = f"{_OWN}{len(self.nodes)}"
        parts = [f"{name}.high", f"{name}.rest"]
        self.nodes.append(helper.make_node("Split", [sums], parts, axis=axis, num_outputs=2))
        high, rest = (self.add("Cast", part, to=TensorProto.INT32) for part in parts)
        whole = self.add("Add", self.add("Mul", high, self.constant(TensorProto.INT32, _LOW)), rest)
        up = self.add("Add", whole, self.constant(TensorProto.INT32, 2 ** (BITS - 1)))
        return self.add("Div", up, self.constant(TensorProto.INT32, 2**BITS))


def _ends(first: str) -> list[NodeProto]:
    return [
        helper.make_node("Squeeze", [f"{_OWN}network.{name}", first], [name]) for name in ("logits", "probabilities")
    ]


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    """Give tensors other names wherever they are used."""
    used = {name for node in model.graph.node for name in (*node.input, *node.output)}
    if clash := sorted(name for name in used if name.startswith(_OWN) or name == "resized"):
        raise IntegrityError(f"the network's graph has a tensor '{clash[0]}', a name that pixels.onnx needs")
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                tensors[index] = names.get(name, name)
