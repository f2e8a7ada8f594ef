"""What of a bundle's graph comes after its logits; without torch, which quantisers do not need."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def calibration_nodes(model: "onnx.ModelProto") -> "list[onnx.NodeProto]":
    """The nodes of a bundle's graph that come after its logits: what quantisers must leave in float32."""
    known, found = {"logits"}, []
    for node in model.graph.node:  # each stands after those whose outputs it takes
        if known & set(node.input):
            known |= set(node.output)
            found.append(node)
    return found
