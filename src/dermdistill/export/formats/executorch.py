"""ExecuTorch's .pte with XNNPACK, for apps on Android and iOS: one image [1, 3, S, S] at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from dermdistill.export.formats.form import FLOAT32, INT8, Format, Source
from dermdistill.predict.runtime import as_batch

_LEAST = 2.0**-20
"""Of a step between two whole numbers. XNNPACK's quantiser has 2**-12, too coarse for channels of small weights."""

_ANNOTATION = "quantization_annotation"
"""Where a node of torch's graph holds what the quantiser wants of it."""


def make_fp32(source: Source, folder: Path) -> dict[str, str]:
    _write(_network(source), source, folder / FP32.files[0])
    return {"backend": "XNNPACK"}


def make_int8(source: Source, folder: Path) -> dict[str, str]:
    """Weights of 8 bits for each channel, activations of 8 bits, ranges from the calibration images."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    watched = prepare_pt2e(torch.export.export(_network(source), _example(source)).module(), _quantizer())
    with torch.inference_mode():
        for place in range(len(source.calibration)):
            watched(torch.from_numpy(as_batch(source.calibration[place : place + 1])))
    _write(convert_pt2e(watched), source, folder / INT8_FORMAT.files[0])
    return {
        "backend": "XNNPACK", "weights": "per channel", "activations": "widest range",
        "calibration images": str(len(source.calibration)),
    }  # fmt: skip


def _quantizer() -> Any:
    """XNNPACK's, with the widest ranges, and with clipped activations that belong to their convolutions.

    Its own histograms cut off what is rare. It knows no ReLU6: it spends the 256 values on what is clipped away after.
    """
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.observer import MinMaxObserver, PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation

    config = get_symmetric_quantization_config(is_per_channel=True)
    activation = replace(config.input_activation, observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=_LEAST))
    weight = replace(config.weight, observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=_LEAST))
    config = replace(config, input_activation=activation, output_activation=activation, weight=weight)

    class Fused(XNNPACKQuantizer):
        def annotate(self, model: Any) -> Any:
            model = super().annotate(model)
            for node in model.graph.nodes:
                if node.target is not torch.ops.aten.hardtanh.default:
                    continue
                made = node.args[0].meta.get(_ANNOTATION)
                if node.args[0].target is torch.ops.aten.conv2d.default and made is not None:
                    made.output_qspec = None
                    node.meta[_ANNOTATION] = QuantizationAnnotation(output_qspec=activation, _annotated=True)
            for node in _after_logits(model.graph):
                node.meta.pop(_ANNOTATION, None)
            return model

    return Fused().set_global(config)


def _after_logits(graph: Any) -> set[Any]:
    """The nodes of torch's graph that turn logits into probabilities."""
    logits = graph.output_node().args[0][0]
    waiting: list[Any] = [logits]
    found: set[Any] = set()
    while waiting:
        new = {user for user in waiting.pop().users if user.op != "output"} - found
        found |= new
        waiting += new
    return found


def _network(source: Source) -> Any:
    from dermdistill.export.formats.rebuild import Rebuilt

    return Rebuilt(source.graph)


def _example(source: Source) -> tuple[Any, ...]:
    import torch

    return (torch.zeros(1, 3, source.size, source.size),)


def _write(module: Any, source: Source, path: Path) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(module, _example(source))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(lowered.buffer)


_NEEDS = ("torch", "onnx", "executorch", "torchao")
FP32 = Format(name="executorch", extra="executorch", packages=_NEEDS, tolerance=FLOAT32, make=make_fp32)
INT8_FORMAT = Format(name="executorch-int8", extra="executorch", packages=_NEEDS, tolerance=INT8, make=make_int8)
