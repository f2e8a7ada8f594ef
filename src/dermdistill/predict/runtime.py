"""A graph in ONNX Runtime on this machine's processor; its own errors become ours."""

from pathlib import Path
from typing import Any

import numpy as np

from dermdistill.errors import IntegrityError
from dermdistill.privacy import onnx_runtime


class OnnxRuntime:
    """A loaded graph. Several threads may run it at once.

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
        if threads is not None:
            options.intra_op_num_threads = threads
        self.graph = graph
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
            self.inputs = {part.name for part in self._session.get_inputs()}
            self.outputs = {part.name for part in self._session.get_outputs()}
            self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # ONNX Runtime raises its own exception classes
            raise IntegrityError(f"{graph} is not a graph that ONNX Runtime can load: {error}") from None

    def run(self, outputs: list[str], image: np.ndarray) -> list[Any]:
        """The named outputs for the input `image`.

        Raises:
            IntegrityError: the graph fails.
        """
        try:
            return [np.asarray(value) for value in self._session.run(outputs, {"image": image})]
        except Exception as error:  # ONNX Runtime raises its own exception classes
            raise IntegrityError(f"{self.graph} fails when it is run; export it again: {error}") from None


def as_batch(images: np.ndarray) -> np.ndarray:
    """Images, uint8 [N, S, S, 3], as model.onnx takes them: float32 [N, 3, S, S] in [0, 1]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
