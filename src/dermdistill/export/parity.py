"""Whether a graph gives what the network gave, before anybody gets to use it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from dermdistill.errors import IntegrityError
from dermdistill.export.formats.onnx import Deployed
from dermdistill.privacy import onnx_runtime

PROBABILITY_TOLERANCE = 1e-4
LOGIT_TOLERANCE = 1e-3
"""Relative to the largest logit, or absolute below 1."""


def check_parity(model: Deployed, graph: Path, size: int, images: np.ndarray | None = None) -> dict[str, Any]:
    """Compare PyTorch with ONNX Runtime on random batches of 1, 5 and 16, and on real images if given.

    Args:
        model: the network as it was exported.
        graph: the ONNX file.
        size: side of the input in pixels.
        images: uint8 [N, 3, S, S].

    Returns:
        The largest absolute differences, the number of images, and the tolerances.

    Raises:
        IntegrityError: a difference beyond its tolerance.
    """
    onnxruntime = onnx_runtime()
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    batches: list[np.ndarray] = [generator.random((count, 3, size, size), np.float32) for count in (1, 5, 16)]
    if images is not None:
        batches += [images[start : start + 16].astype(np.float32) / 255 for start in range(0, len(images), 16)]
    logit, probability, largest = 0.0, 0.0, 1.0
    for batch in batches:
        with torch.inference_mode():
            expected = [part.numpy() for part in model(torch.from_numpy(batch))]
        found = session.run(["logits", "probabilities"], {"image": batch})
        logit = float(np.maximum(logit, np.abs(found[0] - expected[0]).max()))  # keeps NaN, unlike max()
        probability = float(np.maximum(probability, np.abs(found[1] - expected[1]).max()))
        largest = max(largest, float(np.abs(expected[0]).max()))
    if not (logit <= LOGIT_TOLERANCE * largest and probability <= PROBABILITY_TOLERANCE):
        raise IntegrityError(
            f"the ONNX graph does not agree with PyTorch: logits differ by up to {logit:.2g} (allowed "
            f"{LOGIT_TOLERANCE * largest:.2g}), probabilities by "
            f"{probability:.2g} (allowed {PROBABILITY_TOLERANCE:.2g}); "
            "nothing was written"
        )
    return {
        "logits_max_abs_difference": logit,
        "probabilities_max_abs_difference": probability,
        "probability_tolerance": PROBABILITY_TOLERANCE,
        "images": sum(len(batch) for batch in batches),
        "runtimes": [f"torch {torch.__version__}", f"onnxruntime {onnxruntime.__version__}"],
    }
