"""From image files to melanoma probabilities, with numpy, pillow and ONNX Runtime alone."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeGuard, cast, get_args

import numpy as np

from dermdistill.errors import InputError, IntegrityError, did_you_mean
from dermdistill.images.decode import Damaged, ImageError, Source, open_rgb, open_scaled
from dermdistill.images.preprocess import fast_resizer, resize_fast, resize_square
from dermdistill.predict.bundle import Bundle, open_bundle
from dermdistill.predict.gate import Gate, Verdict, WhenRefused
from dermdistill.predict.graphs import read_metadata
from dermdistill.predict.pipeline import BATCH, ahead, chunks, usable_cores
from dermdistill.predict.runtime import Runtime, RuntimeName, as_batch, load
from dermdistill.predict.variants import Precision, find_graph

ABOVE, BELOW = "above_threshold", "below_threshold"
FAILED = "failed"
REFUSED = "refused"
"""The status of an image that the bundle's gate refuses."""
UNREPORTED = "unreported"
"""The status of an image that has a probability, and no DICOM object although one was asked for."""
WhenDamaged = Literal["refuse", "judge"]
SCALED_SIDES = 2
"""The least side of a JPEG that is decoded at a fraction, in sides of the model's input."""
_TOLERANCE = 1e-3
"""How far from 1 the sum of probabilities may be."""
SYNTHETIC = "SYNTHETIC training data: says nothing about skin"
"""The message of every answer by a model that learned from generated images."""
_AGREED = ("classes", "melanoma_index", "input", "temperature", "calibration", "thresholds", "default_threshold")
"""What decides the meaning of the outputs: the graph, whose hash is known, says it as bundle.json does."""


@dataclass(frozen=True)
class Result:
    """One row of the answer."""

    file: str
    status: str
    """'ok'; 'damaged' or 'refused' (by the bundle's gate), with probabilities only if they were asked for; 'failed' if
    the model gave no probabilities;
    'unreported' if it has probabilities, and no DICOM object although one was asked for; or
    another reason why the image cannot be used (see `dermdistill.images.decode.ImageError`)."""
    probabilities: tuple[float, ...] | None
    """In the order of the bundle's classes, each 0 to 1, summing to 1."""
    p_melanoma: float | None
    """The probability of melanoma, 0 to 1."""
    decision: str
    """'above_threshold', 'below_threshold', or empty where there is no probability."""
    message: str
    """What is wrong, or what to know about the answer; often empty."""
    quality: str | None = None
    """'good', or the gate's reasons (`dermdistill.predict.gate.REASONS`) by commas; None where no gate was asked."""


@dataclass(frozen=True)
class Loaded:
    """An image before it is judged."""

    name: str
    pixels: np.ndarray | None
    """RGB, uint8 [S, S, 3], S as the model's input; None if the image cannot be used."""
    status: str
    """'ok', or why the image cannot be used."""
    message: str


class Predictor:
    """A loaded bundle, which gives melanoma probabilities of dermoscopic images.

    Several threads may use one predictor at once. Nothing leaves the machine.

    Args:
        model: a bundle, its folder, the name of one that ships with the package, or None for the default one.
        threshold: the name of one of the bundle's thresholds, or a probability from 0 to 1; by default the bundle's
            default.
        threads: how many threads read and judge images side by side; by default one for each core that the process may
            use.
        fast: decode a JPEG file of more than four times the model's side at a fraction of its size, never below twice
            that side, and resize with vector instructions where the extra `fast` is installed, which takes a fraction
            of the time. It moves probabilities by some hundredths at most, about as much as rounding the resized
            pixels to 8 bits does.
        runtime: what runs the network: 'onnxruntime', or 'openvino', 'executorch' or 'litert', which need the extras of
            these names; the last two need a bundle with their form of the network.
        precision: 'fp32', or 'fp16' or 'int8', which need a bundle with such a form (`dermdistill export --formats`).
        damaged: 'refuse' gives damaged images a row without a probability, 'judge' one with it.
        gate: what to do with images that the bundle's gate refuses, since they are not dermoscopic, or blurred, dark
            and so on: 'refuse' gives them a row without a probability, 'judge' one with it and with the reason, 'off'
            asks no gate. A bundle without a gate refuses nothing.

    Raises:
        InputError: no such bundle or threshold, or the bundle has no such form.
        IntegrityError: the bundle or its graph is damaged, or they contradict each other.
        MissingExtraError: the runtime is not installed.

    Examples:
        >>> from PIL import Image
        >>> import io
        >>> photo = io.BytesIO()
        >>> Image.new("RGB", (600, 450), (200, 150, 130)).save(photo, "PNG")
        >>> predictor = Predictor(gate="off")  # a photo of one colour is nothing that a gate lets pass
        >>> (result,) = predictor.predict(photo.getvalue())
        >>> result.status, len(result.probabilities) == len(predictor.classes)
        ('ok', True)
        >>> 0 <= result.p_melanoma <= 1
        True
        >>> (result,) = predictor.predict("no_such_photo.jpg")
        >>> result.status, result.p_melanoma
        ('missing', None)
    """

    def __init__(
        self,
        model: Bundle | str | Path | None = None,
        *,
        threshold: str | float | None = None,
        threads: int | None = None,
        fast: bool = False,
        damaged: WhenDamaged = "refuse",
        gate: WhenRefused = "refuse",
        runtime: RuntimeName = "onnxruntime",
        precision: Precision = "fp32",
    ):
        if threads is not None and threads < 1:
            raise InputError(f"threads must be at least 1, got {threads}")
        _check_choice("damaged", damaged, get_args(WhenDamaged))
        _check_choice("gate", gate, get_args(WhenRefused))
        self.bundle = open_bundle(model)
        self.threshold = resolve_threshold(self.bundle, threshold)
        self.threads = threads or usable_cores()
        self._judges_damaged = damaged == "judge"
        self._at_least = SCALED_SIDES * self.bundle.spec.input.size if fast else None
        self.graph = find_graph(self.bundle, runtime, precision)
        # the others work on the thread that asks, since threads of their own would spin and wait; OpenVINO has only its
        # own
        self._runtime = load(self.graph, self.threads if runtime == "openvino" else 1, runtime)
        _check_agreement(self.bundle, self._runtime)
        self._judges_refused = gate == "judge"
        asked = self.bundle.gate if gate != "off" else None
        self.gate = None if asked is None else Gate(asked, self.bundle.spec.input.size)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""
        return self.bundle.spec.classes

    @property
    def resizer(self) -> str:
        """What shrinks images: 'pillow', or with `fast` the package of that extra with its version."""
        return "pillow" if self._at_least is None else fast_resizer()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities of images that have the model's size.

        Args:
            images: RGB, uint8 [N, S, S, 3], S as `bundle.spec.input.size`.

        Returns:
            float32 [N, C], each 0 to 1, each row summing to 1; or NaN where the model is broken, which `predict` tells.

        Raises:
            InputError: images of another shape or type.
            IntegrityError: the model's graph fails.
        """
        size = self.bundle.spec.input.size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise InputError(f"expected uint8 [N, {size}, {size}, 3], got {images.dtype} {images.shape}")
        parts = np.array_split(images, min(self.threads, max(1, len(images) // 16)))
        return np.concatenate(list(ahead(self._probabilities, parts, self.threads)))

    def _probabilities(self, images: np.ndarray) -> np.ndarray:
        """Those of images that fit, in one forward pass on one thread."""
        return self._forward(as_batch(images))

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        (found,) = self._runtime.run(["probabilities"], batch)
        if found.shape != (len(batch), len(self.classes)):
            expected = (len(batch), len(self.classes))
            raise IntegrityError(f"{self.graph} gave probabilities of shape {found.shape}, expected {expected}")
        return found

    def predict(self, files: Iterable[Source] | Source, batch_size: int = BATCH) -> Iterator[Result]:
        """One result for each image, in order; one that cannot be read gets a result that says why.

        Args:
            files: paths, bytes of files, or open binary files; a single one does as well.
            batch_size: images a forward pass, at least 1.

        Yields:
            The results as they are ready.

        Raises:
            InputError: `batch_size` is less than 1.
            TypeError: something that is none of these.
            IntegrityError: the model's graph fails.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        several: Iterable[Source] = [files] if _is_source(files) else cast(Iterable[Source], files)
        for results in ahead(self._of_batch, chunks(several, batch_size, self.threads), self.threads):
            yield from results

    def _of_batch(self, files: Sequence[Source]) -> list[Result]:
        return list(self.judge([self.load(file) for file in files]))

    def load(self, file: Source, *, max_pixels: int | None = None) -> Loaded:
        """Decode an image and bring it to the model's size, the first half of `predict`.

        Args:
            file: a path, the file's bytes, or an open binary file.
            max_pixels: larger images are refused before they are decoded; by default `decode.MAX_PIXELS`.

        Raises:
            TypeError: something that is none of these.
        """
        if not _is_source(file):
            raise TypeError(f"expected a path, bytes or an open binary file, got {type(file).__name__}")
        name = str(file) if isinstance(file, str | Path) else str(getattr(file, "name", "image"))
        try:
            if self._judges_damaged and not isinstance(file, str | Path | bytes):
                file = file.read()  # it may be read twice
            return Loaded(name, self._pixels(file, max_pixels), "ok", "")
        except ImageError as error:
            if error.reason == "damaged" and self._judges_damaged:
                return Loaded(name, self._pixels(file, max_pixels, "accept"), error.reason, str(error))
            return Loaded(name, None, error.reason, str(error))
        except OSError as error:  # of an open file, which fails as it likes
            return Loaded(name, None, "unreadable", f"{name}: unreadable image ({type(error).__name__}: {error})")

    def _pixels(self, file: Source, max_pixels: int | None, damaged: Damaged = "refuse") -> np.ndarray:
        size = self.bundle.spec.input.size
        if self._at_least is None:
            with open_rgb(file, damaged=damaged, max_pixels=max_pixels) as image:
                return resize_square(image, size)
        with open_scaled(file, self._at_least, damaged=damaged, max_pixels=max_pixels) as found:
            return resize_fast(found, size)

    def judge(self, loaded: Sequence[Loaded]) -> Iterator[Result]:
        """The results of loaded images in one forward pass, the second half of `predict`.

        Raises:
            IntegrityError: the model's graph fails.
        """
        good = [image.pixels for image in loaded if image.pixels is not None]
        batch = as_batch(np.stack(good)) if good else np.empty((0, 3, 0, 0), np.float32)
        verdicts: Sequence[Verdict | None] = (
            self.gate.judge(batch) if self.gate is not None and good else [None] * len(good)
        )
        kept = [self._judges_refused or verdict is None or not verdict.reasons for verdict in verdicts]
        found = iter(self._forward(batch if all(kept) else batch[kept]) if any(kept) else ())
        said = zip(verdicts, kept, strict=True)
        for image in loaded:
            if image.pixels is None:
                yield Result(image.name, image.status, None, None, "", image.message)
                continue
            verdict, is_kept = next(said)
            if verdict is not None and verdict.reasons:
                image = _refused(image, verdict, self._judges_refused)
            row = next(found) if is_kept else None
            yield self._result(image, row, None if verdict is None else verdict.word)

    def _result(self, image: Loaded, row: np.ndarray | None, quality: str | None) -> Result:
        """The result of an image with probabilities [C], or without them where the gate refuses it."""
        if row is None:
            return Result(image.name, image.status, None, None, "", image.message, quality)
        if not are_probabilities(row):
            came = ", ".join(f"{value:g}" for value in row)
            message = f"{image.name}: the model gave no probabilities ({came}); its bundle is broken"
            return Result(image.name, FAILED, None, None, "", message, quality)
        melanoma = float(row[self.bundle.spec.melanoma_index])
        notes = (image.message, SYNTHETIC if self.bundle.spec.data.synthetic else "")
        decision = decide(melanoma, self.threshold)
        values = tuple(float(value) for value in row)
        return Result(image.name, image.status, values, melanoma, decision, "; ".join(filter(None, notes)), quality)


def _refused(image: Loaded, verdict: Verdict, is_judged: bool) -> Loaded:
    """An image with the gate's reasons as its message."""
    told = f"{image.name}: refused: {verdict.message}{'' if is_judged else '; --gate judge answers nonetheless'}"
    return replace(image, status=REFUSED, message="; ".join(filter(None, (image.message, told))))


def _check_choice(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, got '{given}'{did_you_mean(given, known)}")


def _is_source(given: object) -> TypeGuard[Source]:
    return isinstance(given, str | Path | bytes) or hasattr(given, "read")


def are_probabilities(row: np.ndarray) -> bool:
    """Whether values are finite, not negative, and sum to 1."""
    return bool(np.isfinite(row).all() and (row >= -_TOLERANCE).all() and abs(float(row.sum()) - 1) <= _TOLERANCE)


def decide(p_melanoma: float, threshold: float) -> str:
    """'above_threshold' for a probability of melanoma at or above the threshold, else 'below_threshold'."""
    return ABOVE if p_melanoma >= threshold else BELOW


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
        raise InputError(
            f"threshold must be one of {', '.join(known)} or a number from 0 to 1, got '{threshold}'"
            + did_you_mean(threshold, known)
        )
    return value


def _check_agreement(bundle: Bundle, runtime: Runtime) -> None:
    """Raise IntegrityError if bundle.json was edited so that it no longer fits the graph."""
    if "image" not in runtime.inputs or "probabilities" not in runtime.outputs:
        raise IntegrityError(
            f"{bundle.graph} takes {sorted(runtime.inputs)} and gives {sorted(runtime.outputs)}, expected 'image' and "
            "'probabilities'"
        )
    metadata, spec = read_metadata(bundle.graph), bundle.spec.model_dump(mode="json")
    for key in _AGREED:
        found = metadata.get(f"dermdistill.{key}")
        expected = spec[key] if isinstance(spec[key], str) else json.dumps(spec[key])
        added = key == "calibration" and found is None and spec[key] is not None  # a graph without it has none
        if added or (found is not None and found != expected):
            raise IntegrityError(f"{bundle.folder / 'bundle.json'} was changed: its graph has another '{key}'")
