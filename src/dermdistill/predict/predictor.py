"""From image files to melanoma probabilities, with numpy, pillow and ONNX Runtime alone."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dermdistill.errors import InputError, IntegrityError
from dermdistill.images.preprocess import ImageError, load_rgb, resize_square
from dermdistill.predict.bundle import Bundle, default_bundle, read_bundle
from dermdistill.privacy import onnx_runtime

ABOVE, BELOW = "above_threshold", "below_threshold"
SYNTHETIC = "SYNTHETIC training data: says nothing about skin"
"""The message of every answer by a model that learned from generated images."""
_AGREED = ("classes", "melanoma_index", "input", "temperature", "thresholds", "default_threshold")
"""What decides the meaning of the outputs: the graph, whose hash is known, says it as bundle.json does."""


@dataclass(frozen=True)
class Result:
    """One row of the answer."""

    file: str
    status: str
    """'ok', or the reason why there is no probability (see `dermdistill.images.preprocess.ImageError`)."""
    probabilities: tuple[float, ...] | None
    """In the order of the bundle's classes, each 0 to 1, summing to 1."""
    p_melanoma: float | None
    decision: str
    """'above_threshold', 'below_threshold', or empty."""
    message: str


class Predictor:
    """A loaded bundle.

    Args:
        model: a bundle, its folder, or None for the one that ships with the package.
        threshold: the name of one of the bundle's thresholds, or a probability; by default the bundle's default.
        threads: threads of ONNX Runtime; by default all cores.

    Raises:
        InputError: no such bundle or threshold.
        IntegrityError: the bundle or its graph is damaged, or they contradict each other.
    """

    def __init__(
        self,
        model: Bundle | str | Path | None = None,
        *,
        threshold: str | float | None = None,
        threads: int | None = None,
    ):
        self.bundle = model if isinstance(model, Bundle) else read_bundle(model or default_bundle())
        self.threshold = resolve_threshold(self.bundle, threshold)
        self._session = _session(self.bundle, threads)
        _check_agreement(self.bundle, self._session)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.bundle.spec.classes

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities float32 [N, C] of RGB images uint8 [N, S, S, 3], S as the bundle's input size."""
        size = self.bundle.spec.input.size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise InputError(f"expected uint8 [N, {size}, {size}, 3], got {images.dtype} {images.shape}")
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        return self._session.run(["probabilities"], {"image": batch})[0]

    def predict(self, files: Iterable[str | Path | bytes | BinaryIO], batch_size: int = 16) -> Iterator[Result]:
        """One result for each file, in order; a file that cannot be read gets a row that says why."""
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        iterator = iter(files)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            while chunk := list(islice(iterator, batch_size)):
                yield from self._chunk(list(pool.map(self._load, chunk)), [_name(file) for file in chunk])

    def _load(self, file: str | Path | bytes | BinaryIO) -> np.ndarray | ImageError:
        try:
            return resize_square(load_rgb(file), self.bundle.spec.input.size)
        except ImageError as error:
            return error

    def _chunk(self, loaded: Sequence[np.ndarray | ImageError], names: Sequence[str]) -> Iterator[Result]:
        good = [image for image in loaded if isinstance(image, np.ndarray)]
        found = iter(self.probabilities(np.stack(good))) if good else iter(())
        for name, image in zip(names, loaded, strict=True):
            if isinstance(image, ImageError):
                yield Result(name, image.reason, None, None, "", str(image))
                continue
            row = tuple(float(value) for value in next(found))
            melanoma = row[self.bundle.spec.melanoma_index]
            note = SYNTHETIC if self.bundle.spec.data.get("synthetic") else ""
            yield Result(name, "ok", row, melanoma, ABOVE if melanoma >= self.threshold else BELOW, note)


def resolve_threshold(bundle: Bundle, threshold: str | float | None) -> float:
    """The probability that a threshold's name or number stands for.

    Raises:
        InputError: neither one of the bundle's names nor a number from 0 to 1.
    """
    known = bundle.spec.thresholds
    if threshold is None:
        threshold = bundle.spec.default_threshold
    if isinstance(threshold, str) and threshold in known:
        return known[threshold].value
    try:
        value = float(threshold)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"threshold must be one of {', '.join(known)} or a number from 0 to 1, got '{threshold}'")
    return value


def _name(file: str | Path | bytes | BinaryIO) -> str:
    return str(file) if isinstance(file, str | Path) else str(getattr(file, "name", "image"))


def _session(bundle: Bundle, threads: int | None) -> Any:
    onnxruntime = onnx_runtime()

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(bundle.graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own exception classes
        raise IntegrityError(f"{bundle.graph} is not a graph that ONNX Runtime can load: {error}") from None


def _check_agreement(bundle: Bundle, session: Any) -> None:
    """Raise IntegrityError if bundle.json was edited so that it no longer fits the graph."""
    graph, spec = session.get_modelmeta().custom_metadata_map, bundle.spec.model_dump(mode="json")
    for key in _AGREED:
        found = graph.get(f"dermdistill.{key}")
        expected = spec[key] if isinstance(spec[key], str) else json.dumps(spec[key])
        if found is not None and found != expected:
            raise IntegrityError(f"{bundle.folder / 'bundle.json'} was changed: its graph has another '{key}'")
