"""An ONNX graph as a torch module, for converters that start from torch.

The module computes node by node what the graph says, with the graph's own weights: `torch.export` turns it into a
program in which no trace of ONNX is left. It knows the operators of which exported students and teachers are made. This
file imports nothing of dermdistill, for it also runs in LiteRT's own environment.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

Values = list[Any]
Attributes = dict[str, Any]


class Rebuilt(nn.Module):
    """The network of a bundle's model.onnx.

    Args:
        path: the graph: input `image`, outputs `logits` and `probabilities`.

    Raises:
        ValueError: the graph has an operator, or an attribute of one, that is not known here.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        graph = onnx.load(path).graph
        self._steps: list[tuple[str, list[str], str, Attributes]] = []
        self._constants: dict[str, np.ndarray] = {}
        for tensor in graph.initializer:
            self._keep(tensor.name, numpy_helper.to_array(tensor))
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], numpy_helper.to_array(attributes["value"]))
                continue
            if node.op_type not in OPERATORS or len(node.output) != 1:
                raise ValueError(
                    f"{path} has the operator '{node.op_type}', from which no torch module is made; "
                    f"known are {', '.join(sorted(OPERATORS))}"
                )
            self._steps.append((node.op_type, list(node.input), node.output[0], attributes))
        self.eval()

    def _keep(self, name: str, value: np.ndarray) -> None:
        """Weights become parameters, so that quantisers see them; whole numbers and single values stay plain."""
        if value.dtype == np.float32 and value.ndim > 0:
            self.register_parameter(_own(name), nn.Parameter(torch.tensor(value), requires_grad=False))
        else:
            self._constants[name] = value

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities [N, C] of RGB images [N, 3, S, S] in [0, 1]."""
        values: dict[str, Any] = {"image": image}

        def value(name: str) -> Any:
            if not name:
                return None
            if name in values:
                return values[name]
            return self._constants[name] if name in self._constants else getattr(self, _own(name))

        for operator, inputs, output, attributes in self._steps:
            values[output] = OPERATORS[operator]([value(name) for name in inputs], attributes)
        return values["logits"], values["probabilities"]


def _own(name: str) -> str:
    return "weight_" + "".join(sign if sign.isalnum() else "_" for sign in name)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _whole(value: Any) -> list[int]:
    return [int(part) for part in np.asarray(value).reshape(-1)]


def _padded(image: Tensor, attributes: Attributes, fill: float) -> Tensor:
    """With the graph's margins, which may differ from side to side."""
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ValueError(f"padding '{attributes['auto_pad'].decode()}' is not known")
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if not any((top, left, bottom, right)):
        return image
    return functional.pad(image, (left, right, top, bottom), value=fill)


def _conv(values: Values, attributes: Attributes) -> Tensor:
    image, weight, bias = (*values, None)[:3]
    pads = list(attributes.get("pads", (0, 0, 0, 0)))
    even = attributes.get("auto_pad", b"NOTSET") == b"NOTSET" and pads[:2] == pads[2:]
    return functional.conv2d(
        image if even else _padded(image, attributes, 0.0), weight, bias, tuple(attributes.get("strides", (1, 1))),
        tuple(pads[:2]) if even else (0, 0), tuple(attributes.get("dilations", (1, 1))), attributes.get("group", 1),
    )  # fmt: skip


def _max_pool(values: Values, attributes: Attributes) -> Tensor:
    if attributes.get("ceil_mode") or set(attributes.get("dilations", (1,))) != {1}:
        raise ValueError("max-pooling with ceil_mode or dilations is not known")
    padded = _padded(values[0], attributes, float("-inf"))
    return functional.max_pool2d(padded, tuple(attributes["kernel_shape"]), tuple(attributes.get("strides", (1, 1))))


def _clip(values: Values, attributes: Attributes) -> Tensor:
    image, least, most = (*values, None, None)[:3]
    low, high = _number(least), _number(most)
    if low is not None and high is not None:
        return functional.hardtanh(image, low, high)  # what quantisers know how to fuse
    return torch.clamp(image, low, high)


def _mean(values: Values, attributes: Attributes) -> Tensor:
    axes = attributes["axes"] if "axes" in attributes else _whole(values[1])
    return values[0].mean(dim=list(axes), keepdim=bool(attributes.get("keepdims", 1)))


def _reshape(values: Values, attributes: Attributes) -> Tensor:
    sides = [values[0].shape[place] if side == 0 else side for place, side in enumerate(_whole(values[1]))]
    return values[0].reshape(sides)


def _gemm(values: Values, attributes: Attributes) -> Tensor:
    rows, weight, bias = (*values, None)[:3]
    if attributes.get("transA") or {attributes.get("alpha", 1.0), attributes.get("beta", 1.0)} != {1.0}:
        raise ValueError("a dense layer with transA, alpha or beta is not known")
    return functional.linear(rows, weight if attributes.get("transB") else weight.T, bias)


def _both(operation: Callable[[Any, Any], Any]) -> Callable[[Values, Attributes], Any]:
    """An operation on two tensors, either of which may be a single number."""

    def work(values: Values, attributes: Attributes) -> Any:
        one, other = (float(v) if isinstance(v, np.ndarray) and v.ndim == 0 else v for v in values)
        return operation(one, other)

    return work


OPERATORS: dict[str, Callable[[Values, Attributes], Any]] = {
    "Add": _both(lambda a, b: a + b),
    "Clip": _clip,
    "Conv": _conv,
    "Div": _both(lambda a, b: a / b),
    "Flatten": lambda v, a: v[0].flatten(a.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda v, a: v[0].mean(dim=[2, 3], keepdim=True),
    "HardSigmoid": lambda v, a: torch.clamp(v[0] * a.get("alpha", 0.2) + a.get("beta", 0.5), 0.0, 1.0),
    "HardSwish": lambda v, a: functional.hardswish(v[0]),
    "Identity": lambda v, a: v[0],
    "Log": lambda v, a: torch.log(v[0]),
    "LogSoftmax": lambda v, a: functional.log_softmax(v[0], a.get("axis", -1)),
    "MatMul": _both(lambda a, b: a @ b),
    "MaxPool": _max_pool,
    "Mul": _both(lambda a, b: a * b),
    "ReduceMean": _mean,
    "Relu": lambda v, a: functional.relu(v[0]),
    "Reshape": _reshape,
    "Sigmoid": lambda v, a: torch.sigmoid(v[0]),
    "Softmax": lambda v, a: functional.softmax(v[0], a.get("axis", -1)),
    "Sub": _both(lambda a, b: a - b),
    "Tanh": lambda v, a: torch.tanh(v[0]),
}
"""What each operator does with its inputs and attributes."""
