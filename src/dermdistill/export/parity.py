"""Whether the graphs give what the network gives, before anybody gets to use them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from dermdistill.errors import IntegrityError
from dermdistill.export.formats.onnx import Deployed
from dermdistill.images.preprocess import load_rgb, resize_square
from dermdistill.predict.header import GRAPH, PIXELS_GRAPH, GraphParity, ParityFacts, Pattern
from dermdistill.predict.runtime import OnnxRuntime, as_batch
from dermdistill.predict.vectors import draw
from dermdistill.privacy import onnx_runtime

PROBABILITY_TOLERANCE = 1e-4
"""Of a graph that gets the very pixels that the network gets."""
RESIZED_TOLERANCE = 1e-3
"""Of a graph that resizes by itself, whose pixels may differ by `PIXEL_TOLERANCE`."""
LOGIT_TOLERANCE = 1e-3
"""Relative to the largest logit, or absolute below 1."""
PIXEL_TOLERANCE = 1
"""Of 255."""
_STEEP = (
    ". The logits agree: the calibration turns their small differences into larger ones, since it rises too steeply "
    "for float32. Export with --calibration temperature (or beta in place of isotonic), which is smooth"
)
SIZES = ((1, 1), (3, 2), (24, 31), (37, 500), (500, 37), (111, 113), (224, 224), (600, 450), (767, 1023), (1500, 1000))
"""Width and height of the generated images that the resize is tried on."""


@dataclass(frozen=True)
class Photographs:
    """Images that the run did not learn from, and what a decision is."""

    paths: tuple[str, ...]
    melanoma: np.ndarray
    """0 or 1, of each."""
    index: int
    """Of melanoma among the classes."""
    threshold: float


@dataclass
class _Seen:
    """What the network and a graph gave, image by image."""

    name: str
    probability_tolerance: float
    logit: float = 0.0
    probability: float = 0.0
    pixels: int = 0
    largest_logit: float = 1.0
    count: int = 0
    expected: list[np.ndarray] = field(default_factory=list)
    found: list[np.ndarray] = field(default_factory=list)

    def add(self, expected: list[np.ndarray], found: list[Any], *, keep: bool) -> None:
        """Take in logits and probabilities [N, C] of the network and of the graph."""
        differences = [float(np.abs(b - a).max()) for a, b in zip(expected, found, strict=True)]
        self.logit = float(np.maximum(self.logit, differences[0]))  # keeps NaN, unlike max()
        self.probability = float(np.maximum(self.probability, differences[1]))
        self.largest_logit = max(self.largest_logit, float(np.abs(expected[0]).max()))
        if keep:
            self.expected.append(expected[1])
            self.found.append(found[1])
        else:
            self.count += len(expected[0])


def check_parity(model: Deployed, folder: Path, size: int, photographs: Photographs) -> dict[str, Any]:
    """Compare PyTorch with both graphs in ONNX Runtime, on generated images and on photographs.

    model.onnx gets random batches of 1, 5 and 16, and the photographs as Pillow resizes them. pixels.onnx gets
    generated images of ten sizes, and the photographs at their own.

    Args:
        model: the network as it was exported.
        folder: of both graphs.
        size: side of the network's input in pixels.
        photographs: may be none.

    Returns:
        `dermdistill.predict.header.ParityFacts`, as plain values.

    Raises:
        IntegrityError: a difference beyond its tolerance.
    """
    batch, single = OnnxRuntime(folder / GRAPH), OnnxRuntime(folder / PIXELS_GRAPH)
    of_batch, of_pixels = _Seen(GRAPH, PROBABILITY_TOLERANCE), _Seen(PIXELS_GRAPH, RESIZED_TOLERANCE)
    generator = np.random.default_rng(0)
    for count in (1, 5, 16):
        images = generator.random((count, 3, size, size), np.float32)
        of_batch.add(_network(model, images), batch.run(["logits", "probabilities"], images), keep=False)
    for image, keep in (*((image, False) for image in _generated()), *_opened(photographs.paths)):
        resized = resize_square(Image.fromarray(image), size)
        entry = as_batch(resized[None])
        expected = _network(model, entry)
        if keep:
            of_batch.add(expected, batch.run(["logits", "probabilities"], entry), keep=True)
        logits, probabilities, found = single.run(["logits", "probabilities", "resized"], image)
        of_pixels.add(expected, [logits[None], probabilities[None]], keep=keep)
        of_pixels.pixels = max(of_pixels.pixels, int(np.abs(found.astype(int) - resized.astype(int)).max()))
    steps = model.calibrated is not None
    _require(of_batch, logits=True, steps=steps)
    _require(of_pixels, logits=False, steps=steps)
    facts = ParityFacts(
        model=_facts(of_batch, photographs),
        pixels=_facts(of_pixels, photographs),
        runtimes=(f"torch {torch.__version__}", f"onnxruntime {onnx_runtime().__version__}"),
    )
    return facts.model_dump(mode="json")


def _generated() -> Iterator[np.ndarray]:
    for width, height in SIZES:
        yield draw(Pattern(width=width, height=height, base=(150, 110, 90), xx=3, xy=5, yy=2))


def _opened(paths: Iterable[str]) -> Iterator[tuple[np.ndarray, bool]]:
    for path in paths:
        yield np.asarray(load_rgb(path)), True


def _network(model: Deployed, batch: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        return [part.numpy() for part in model(torch.from_numpy(batch))]


def _require(seen: _Seen, *, logits: bool, steps: bool) -> None:
    """Raise IntegrityError where a difference is beyond its tolerance; NaN always is.

    Args:
        seen: what a graph gave.
        logits: whether they are judged.
        steps: whether a calibration other than a temperature makes the probabilities.
    """
    allowed = LOGIT_TOLERANCE * seen.largest_logit
    fits = seen.probability <= seen.probability_tolerance and (seen.logit <= allowed or not logits)
    if not fits or seen.pixels > PIXEL_TOLERANCE:
        raise IntegrityError(
            f"the ONNX graph {seen.name} does not agree with PyTorch: logits differ by up to {seen.logit:.2g} (allowed "
            f"{f'{allowed:.2g}' if logits else 'any'}), probabilities by {seen.probability:.2g} (allowed "
            f"{seen.probability_tolerance:.2g}), resized pixels by {seen.pixels} of 255 (allowed {PIXEL_TOLERANCE}); "
            f"nothing was written{_STEEP if steps and seen.logit <= allowed else ''}"
        )


def _facts(seen: _Seen, photographs: Photographs) -> GraphParity:
    difference, flips, reason = None, 0, "there are no photographs"
    if seen.found:
        expected, found = (np.concatenate(part)[:, photographs.index] for part in (seen.expected, seen.found))
        flips = int(((expected >= photographs.threshold) != (found >= photographs.threshold)).sum())
        reason = "they are all melanomas, or none is"
        if len(set(photographs.melanoma.tolist())) == 2:
            before, after = (float(roc_auc_score(photographs.melanoma, p)) for p in (expected, found))
            difference = after - before
    return GraphParity(
        logits_max_abs_difference=seen.logit,
        probabilities_max_abs_difference=seen.probability,
        probability_tolerance=seen.probability_tolerance,
        pixels_max_abs_difference=seen.pixels,
        generated=seen.count,
        photographs=len(seen.found),
        auroc_difference=difference,
        auroc_undefined=None if difference is not None else reason,
        decision_flips=flips,
    )
