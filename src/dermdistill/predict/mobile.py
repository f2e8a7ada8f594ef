"""The runtimes of phones, on this machine: ExecuTorch and LiteRT. Their graphs take one image at a time."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dermdistill.errors import IntegrityError, MissingExtraError

OUTPUTS = ("logits", "probabilities")
"""In the order of the graphs' outputs."""
One = Callable[[np.ndarray], tuple[np.ndarray, ...]]
"""From an image [1, 3, S, S] to the outputs, each [1, C]."""


class _OneByOne:
    """A graph that takes one image at a time and keeps its state to itself: each thread loads its own."""

    def __init__(self, graph: Path, name: str, load: Callable[[], One]):
        self.graph, self._name, self._load = graph, name, load
        self.inputs, self.outputs = {"image"}, set(OUTPUTS)
        self._own = threading.local()
        self._loaded()  # a damaged file is told at once

    def _loaded(self) -> One:
        if not hasattr(self._own, "graph"):
            try:
                self._own.graph = self._load()
            except Exception as error:  # runtimes raise exception classes of their own
                raise IntegrityError(f"{self.graph} is not a graph that {self._name} can load: {error}") from None
        found: One = self._own.graph
        return found

    def run(self, outputs: list[str], image: np.ndarray) -> list[Any]:
        """The named outputs for the input `image`, float32 [N, 3, S, S]; see `Runtime`."""
        one = self._loaded()
        try:
            rows = [one(np.ascontiguousarray(image[place : place + 1])) for place in range(len(image))]
        except Exception as error:  # runtimes raise exception classes of their own
            raise IntegrityError(f"{self.graph} fails when it is run; export it again: {error}") from None
        return [np.concatenate([row[OUTPUTS.index(name)] for row in rows]) for name in outputs]


class ExecuTorch(_OneByOne):
    """A graph in ExecuTorch, with XNNPACK.

    Args:
        graph: the .pte file.
        threads: of XNNPACK, in the whole process; by default those that ExecuTorch chooses.

    Raises:
        IntegrityError: ExecuTorch cannot load the graph.
        MissingExtraError: ExecuTorch is not installed.
    """

    def __init__(self, graph: Path, threads: int | None = None):
        try:
            import torch
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime
        except ModuleNotFoundError as error:
            raise MissingExtraError("executorch", error.name or "executorch") from None
        if threads is not None and portable_lib._threadpool_get_thread_count() != threads:
            portable_lib._unsafe_reset_threadpool(threads)

        def load() -> One:
            program = Runtime.get().load_program(graph)
            method = program.load_method("forward")
            if method is None:
                raise ValueError("it has no method 'forward'")

            def one(image: np.ndarray) -> tuple[np.ndarray, ...]:
                # the program is named, so that it lives as long as its method
                return tuple(part.numpy().copy() for part in method.execute([torch.from_numpy(image)]) if program)

            return one

        super().__init__(graph, "ExecuTorch", load)


class LiteRt(_OneByOne):
    """A graph in LiteRT, with XNNPACK. It takes pixels before channels, as phones hold them.

    Args:
        graph: the .tflite file.
        threads: of each call; by default one.

    Raises:
        IntegrityError: LiteRT cannot load the graph.
        MissingExtraError: LiteRT is not installed.
    """

    def __init__(self, graph: Path, threads: int | None = None):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise MissingExtraError("litert", error.name or "ai_edge_litert") from None

        def load() -> One:
            interpreter = Interpreter(model_path=str(graph), num_threads=threads or 1)
            runner = interpreter.get_signature_runner()
            ((name, entry),) = runner.get_input_details().items()
            ends = sorted(runner.get_output_details().items())

            def one(image: np.ndarray) -> tuple[np.ndarray, ...]:
                found = runner(**{name: _stored(image.transpose(0, 2, 3, 1), entry)})
                return tuple(_real(found[end], facts) for end, facts in ends)

            return one

        super().__init__(graph, "LiteRT", load)


def _stored(values: np.ndarray, facts: dict[str, Any]) -> np.ndarray:
    """Real values as an input holds them, which may be whole numbers with a scale."""
    if facts["dtype"] == np.float32:
        return np.ascontiguousarray(values)
    scale, zero = facts["quantization"]
    limits = np.iinfo(facts["dtype"])
    return (values / scale + zero).round().clip(limits.min, limits.max).astype(facts["dtype"])


def _real(values: np.ndarray, facts: dict[str, Any]) -> np.ndarray:
    """What an output stands for."""
    if facts["dtype"] == np.float32:
        return np.array(values)
    scale, zero = facts["quantization"]
    return (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
