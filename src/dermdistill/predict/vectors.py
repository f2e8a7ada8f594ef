"""Test vectors: images that any language can draw, and whether a runtime gives the answers that are known for them."""

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from dermdistill.errors import IntegrityError
from dermdistill.images.preprocess import resize_square
from dermdistill.predict.bundle import Bundle
from dermdistill.predict.header import AnyHeader, BundleHeader, BundleHeader1, Pattern, Vector
from dermdistill.predict.runtime import RuntimeName, as_batch, load
from dermdistill.predict.variants import find_graph, form_for, read_certificate

FORM_TOLERANCE = 0.02
"""Of a probability, between two machines that run the same form."""
SAMPLES = 16
"""Rows and columns of the resized image that a vector tells."""
_DIVISOR, _CYCLE = 64, 64


@dataclass(frozen=True)
class Checked:
    """How far one graph was off for one vector."""

    vector: str
    graph: str
    pixels: int
    """Largest difference of a sampled value of the resized image, of 255."""
    probability: float
    """Largest difference of a probability."""


def draw(pattern: Pattern) -> np.ndarray:
    """A pattern as RGB, uint8 [height, width, 3]."""
    x, y = np.arange(pattern.width, dtype=np.int64), np.arange(pattern.height, dtype=np.int64)[:, None]
    wave = (pattern.xx * x * x + pattern.xy * x * y + pattern.yy * y * y) // _DIVISOR % _CYCLE
    return (wave[:, :, None] + np.array(pattern.base)).astype(np.uint8)


def sample(resized: np.ndarray) -> np.ndarray:
    """The sampled rows and columns of a resized image [S, S, 3], as [16, 16, 3]."""
    places = (2 * np.arange(SAMPLES) + 1) * len(resized) // (2 * SAMPLES)
    return resized[np.ix_(places, places)]


def sha256_pixels(pixels: np.ndarray) -> str:
    """The SHA-256 of an image's bytes: rows, columns, channels."""
    return hashlib.sha256(np.ascontiguousarray(pixels, np.uint8).tobytes()).hexdigest()


def encode_samples(resized: np.ndarray) -> str:
    """The samples of a resized image [S, S, 3] as base64."""
    return base64.b64encode(sample(resized).tobytes()).decode("ascii")


def decode_samples(vector: Vector) -> np.ndarray:
    """The samples of a vector, uint8 [16, 16, 3].

    Raises:
        IntegrityError: they are no base64 of that many bytes.
    """
    shape = (SAMPLES, SAMPLES, 3)
    try:
        content = base64.b64decode(vector.resized_samples, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != np.prod(shape):
        raise IntegrityError(f"vector '{vector.name}' has no base64 of {np.prod(shape)} bytes in resized_samples")
    return np.frombuffer(content, np.uint8).reshape(shape)


def verify(bundle: Bundle, runtime: RuntimeName = "onnxruntime") -> list[Checked]:
    """Run the test vectors of a bundle through both of its graphs.

    Each image goes through `pixels.onnx`, and through Pillow's resize and `model.onnx`, as `predict` does it.

    Args:
        bundle: of format 2.
        runtime: what runs the graphs.

    Returns:
        How far each graph was off for each vector.

    Raises:
        IntegrityError: the bundle has no vectors, or a graph differs by more than the tolerance; the message says where
            and how far.
    """
    if isinstance(bundle.spec, BundleHeader1):
        raise IntegrityError(
            f"{bundle.folder} is of {bundle.spec.format}, which has no test vectors; its files have the right hashes. "
            "Export it again to have them"
        )
    checked = list(_run(bundle, bundle.spec, runtime))
    allowed = bundle.spec.vectors
    wrong = [
        f"  {one.graph}, vector '{one.vector}': resized pixels differ by {one.pixels} of 255 (allowed "
        f"{allowed.pixel_tolerance}), probabilities by {one.probability:.2g} (allowed "
        f"{allowed.probability_tolerance:g})"
        for one in checked
        if not (one.pixels <= allowed.pixel_tolerance and one.probability <= allowed.probability_tolerance)
    ]
    if wrong:
        raise IntegrityError(f"{bundle.folder} does not give its own answers here:\n" + "\n".join(wrong))
    return checked


def resized(spec: AnyHeader) -> np.ndarray:
    """The images of a bundle's test vectors as its network takes them, uint8 [N, S, S, 3]; none in format 1."""
    size = spec.input.size
    if isinstance(spec, BundleHeader1):
        return np.empty((0, size, size, 3), np.uint8)
    return np.stack([resize_square(Image.fromarray(draw(vector.image)), size) for vector in spec.vectors.images])


def verify_form(bundle: Bundle, runtime: str, precision: str) -> list[Checked]:
    """Run the test vectors of a bundle through a further form of its network.

    A form of fewer bits has answers of its own, which its certificate keeps. Processors sum eight bits in different
    ways: one that lets sums overflow gives other answers here.

    Args:
        bundle: with such a form.
        runtime: what runs it.
        precision: of the form.

    Returns:
        How far it was off for each vector.

    Raises:
        InputError: the bundle has no such form.
        IntegrityError: it cannot be run, its certificate has no answers, or one differs by more than `FORM_TOLERANCE`.
    """
    graph, form, certificate = find_graph(bundle, runtime, precision), form_for(runtime, precision), None
    if form is not None:
        certificate = read_certificate(bundle)
    known = certificate.variants.get(form.name) if certificate is not None and form is not None else None
    images = resized(bundle.spec)
    if known is None or isinstance(bundle.spec, BundleHeader1) or len(known.answers) != len(images):
        raise IntegrityError(f"{bundle.folder} keeps no answers of {graph.name} to its test vectors; export it again")
    found = load(graph, 1, runtime).run(["probabilities"], as_batch(images))[0]
    off = np.abs(found - np.array(known.answers)).max(1)
    checked = [
        Checked(vector=vector.name, graph=graph.name, pixels=0, probability=float(one))
        for vector, one in zip(bundle.spec.vectors.images, off, strict=True)
    ]
    if wrong := [one for one in checked if not one.probability <= FORM_TOLERANCE]:
        said = ", ".join(f"'{one.vector}' by {one.probability:.2g}" for one in wrong)
        raise IntegrityError(
            f"{graph.name} does not give its own answers here: probabilities of the vectors differ, {said} (allowed "
            f"{FORM_TOLERANCE:g}); use another form on this machine"
        )
    return checked


def _run(bundle: Bundle, spec: BundleHeader, runtime: RuntimeName) -> Iterator[Checked]:
    pixels_graph, model = load(bundle.pixels_graph, 1, runtime), load(bundle.graph, 1, runtime)
    for vector in spec.vectors.images:
        image = draw(vector.image)
        if sha256_pixels(image) != vector.image_sha256:
            raise IntegrityError(f"vector '{vector.name}' is drawn with another SHA-256 than bundle.json says")
        resized, probabilities = pixels_graph.run(["resized", "probabilities"], image)
        yield _compare(vector, bundle.pixels_graph.name, resized, probabilities)
        resized = resize_square(Image.fromarray(image), spec.input.size)
        (found,) = model.run(["probabilities"], as_batch(resized[None]))
        yield _compare(vector, bundle.graph.name, resized, found[0])


def _compare(vector: Vector, graph: str, resized: Any, probabilities: Any) -> Checked:
    expected = np.array(vector.probabilities)
    if resized.ndim != 3 or min(resized.shape[:2]) < 1 or probabilities.shape != expected.shape:
        raise IntegrityError(
            f"{graph} gave a resized image of shape {resized.shape} and probabilities of shape {probabilities.shape}, "
            f"expected [size, size, 3] and {expected.shape}"
        )
    samples = decode_samples(vector)
    found = sample(resized)
    if found.shape != samples.shape:
        raise IntegrityError(f"{graph} gave a resized image of shape {resized.shape}, expected [size, size, 3]")
    return Checked(
        vector=vector.name,
        graph=graph,
        pixels=int(np.abs(found.astype(int) - samples.astype(int)).max()),
        probability=float(np.abs(probabilities - expected).max()),
    )
