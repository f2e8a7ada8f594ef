"""A trained classifier as an ONNX graph that takes plain pixels and gives calibrated probabilities."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

OPSET = 18
"""Old enough for ONNX Runtime 1.14 and onnxruntime-web, and the oldest that torch's exporter writes directly."""


class Deployed(nn.Module):
    """Normalisation, the network and the calibration in one graph.

    Args:
        model: takes normalised float32 [N, 3, S, S], gives logits [N, C].
        mean: per RGB channel of images in [0, 1].
        std: per RGB channel.
        temperature: divides the logits before the softmax.
        calibrated: gives the probabilities of logits in place of both.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        temperature: float = 1.0,
        calibrated: nn.Module | None = None,
    ):
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.calibrated = calibrated
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, 3, 1, 1))
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities [N, C] of RGB images [N, 3, S, S] in [0, 1]."""
        logits = self.model((image - self.mean) / self.std)
        if self.calibrated is not None:
            return logits, self.calibrated(logits)
        return logits, (logits / self.temperature).softmax(1)


def write_onnx(
    model: nn.Module,
    size: int,
    path: Path,
    metadata: dict[str, str],
    outputs: Sequence[str] = ("logits", "probabilities"),
) -> None:
    """Write the graph of a network that takes `image` [N, 3, S, S]: dynamic batch, named outputs.

    Traces of the source code (stack traces, local paths) that the exporter leaves in the nodes are taken out.

    Args:
        model: in evaluation mode.
        size: side of the input in pixels.
        path: the file.
        metadata: stored in the graph's metadata_props.
        outputs: the names of what the network gives, by default those of `Deployed`.
    """
    program = torch.onnx.export(
        model, (torch.zeros(2, 3, size, size),), dynamo=True, external_data=False, opset_version=OPSET,
        input_names=["image"], output_names=list(outputs), verbose=False,
        dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1)}},
    )  # fmt: skip
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    graph = program.model_proto
    strip_traces(graph)
    onnx.helper.set_model_props(graph, metadata)
    del graph.graph.value_info[:]  # runtimes infer the shapes between the nodes; they are half a percent of the file
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString())


def strip_traces(model: onnx.ModelProto) -> None:
    """Take out of a graph what torch's exporter leaves of the source code, and name it."""
    graph = model.graph
    for node in graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*graph.value_info, *graph.input, *graph.output, *graph.initializer):
        if hasattr(value, "metadata_props"):
            value.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    model.ClearField("metadata_props")
    graph.name = "dermdistill"
