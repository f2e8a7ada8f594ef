"""A graph on this machine's processor, in one of several runtimes; their own errors become ours."""

from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from dermdistill.errors import InputError, IntegrityError, MissingExtraError, did_you_mean
from dermdistill.predict.signal_stack import kept_signal_stack
from dermdistill.privacy import onnx_runtime, openvino

RuntimeName = Literal["onnxruntime", "openvino", "executorch", "litert"]


class Runtime(Protocol):
    """A loaded graph. Several threads may run it at once."""

    inputs: set[str]
    outputs: set[str]

    def run(self, outputs: list[str], image: np.ndarray) -> list[Any]:
        """The named outputs for the input `image`.

        Raises:
            IntegrityError: the graph fails.
        """


def load(graph: Path, threads: int | None = None, runtime: str = "onnxruntime") -> Runtime:
    """Load a graph.

    Args:
        graph: the file: ONNX for ONNX Runtime, ONNX or its own form for OpenVINO, .pte for ExecuTorch, .tflite for
            LiteRT.
        threads: of the runtime; by default all cores.
        runtime: one of `RuntimeName`.

    Raises:
        InputError: there is no such runtime.
        IntegrityError: the runtime cannot load the graph.
        MissingExtraError: the runtime is not installed.
    """
    match runtime:
        case "onnxruntime":
            return OnnxRuntime(graph, threads)
        case "openvino":
            return OpenVino(graph, threads)
        case "executorch":
            from dermdistill.predict.mobile import ExecuTorch

            return ExecuTorch(graph, threads)
        case "litert":
            from dermdistill.predict.mobile import LiteRt

            return LiteRt(graph, threads)
    known = get_args(RuntimeName)
    raise InputError(f"runtime must be one of {', '.join(known)}, got '{runtime}'{did_you_mean(runtime, known)}")


class OnnxRuntime:
    """A graph in ONNX Runtime.

    Args:
        graph: the ONNX file.
        threads: of ONNX Runtime; by default all cores.

    Raises:
        IntegrityError: ONNX Runtime cannot load the graph.
    """

    def __init__(self, graph: Path, threads: int | None = None):
        onnxruntime = onnx_runtime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see dermdistill.threads
        if threads is not None:
            options.intra_op_num_threads = threads
        self.graph = graph
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
            self.inputs = {part.name for part in self._session.get_inputs()}
            self.outputs = {part.name for part in self._session.get_outputs()}
        except Exception as error:  # ONNX Runtime raises its own exception classes
            raise IntegrityError(f"{graph} is not a graph that ONNX Runtime can load: {error}") from None

    def run(self, outputs: list[str], image: np.ndarray) -> list[Any]:
        """The named outputs for the input `image`; see `Runtime`."""
        try:
            return [np.asarray(value) for value in self._session.run(outputs, {"image": image})]
        except Exception as error:  # ONNX Runtime raises its own exception classes
            raise IntegrityError(f"{self.graph} fails when it is run; export it again: {error}") from None


class OpenVino:
    """A graph in OpenVINO, with products in float32: its own choice, bfloat16 where there is any, changes answers.

    Args:
        graph: the ONNX file, or the .xml file of OpenVINO's own form.
        threads: of OpenVINO, each of which takes one call at a time; by default all cores, all at work on one call.
        streams: calls that run side by side; by default one for each of `threads`. With 1, all work on one call.

    Raises:
        IntegrityError: OpenVINO cannot load the graph.
        MissingExtraError: OpenVINO is not installed.
    """

    def __init__(self, graph: Path, threads: int | None = None, streams: int | None = None):
        try:
            runtime = openvino()
        except ModuleNotFoundError as error:
            raise MissingExtraError("openvino", error.name or "openvino") from None
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            options |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams or threads}
        self.graph = graph
        try:
            with kept_signal_stack():
                self._model = runtime.compile_model(str(graph), "CPU", options)
            self._shape, self._made_of = self._model.inputs[0].partial_shape, runtime.PartialShape
            self.inputs = {name for part in self._model.inputs for name in part.names}
            self.outputs = {name for part in self._model.outputs for name in part.names}
        except Exception as error:  # OpenVINO raises its own exception classes
            raise IntegrityError(f"{graph} is not a graph that OpenVINO can load: {error}") from None

    def run(self, outputs: list[str], image: np.ndarray) -> list[Any]:
        """The named outputs for the input `image`; see `Runtime`."""
        if not self._shape.compatible(self._made_of(list(image.shape))):  # OpenVINO itself does not always tell
            raise IntegrityError(
                f"{self.graph} fails when it is run: it takes images of shape {self._shape}, got {image.shape}"
            )
        try:
            found = self._model.create_infer_request().infer({"image": image})
            return [np.array(found[name]) for name in outputs]
        except Exception as error:  # OpenVINO raises its own exception classes
            raise IntegrityError(f"{self.graph} fails when it is run; export it again: {error}") from None


def as_batch(images: np.ndarray) -> np.ndarray:
    """Images, uint8 [N, S, S, 3], as model.onnx takes them: float32 [N, 3, S, S] in [0, 1]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
