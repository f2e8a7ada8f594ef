"""A student as a scikit-learn estimator: fit on images and labels, or on a teacher's logits as well."""

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.optim.swa_utils import update_bn

from dermdistill.errors import InputError
from dermdistill.images.cache import ImageCache
from dermdistill.images.preprocess import SOURCE_SCALE, load_rgb, resize_source, resize_square
from dermdistill.images.render import apply_views
from dermdistill.images.view_spec import ViewSpec
from dermdistill.images.views import PLAIN, sample_views
from dermdistill.networks.registry import Network, Wanted, network
from dermdistill.networks.registry import spec as facts_of
from dermdistill.run import Run
from dermdistill.training.loop import fit as train
from dermdistill.training.loop import make_fabric
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec, TrainSpec
from dermdistill.training.task import ClassifierTask, ImageSet, Targets, class_weights, normalise

_TABLES = "it fits a table of numbers, and this estimator takes images"
EXPECTED_FAILED_CHECKS: Final = {
    "check_fit_score_takes_y": _TABLES,
    "check_estimators_overwrite_params": _TABLES,
    "check_dont_overwrite_parameters": _TABLES,
    "check_estimators_fit_returns_self": _TABLES,
    "check_readonly_memmap_input": _TABLES,
    "check_n_features_in_after_fitting": _TABLES,
    "check_positive_only_tag_during_fit": _TABLES,
}
"""The API checks of `sklearn.utils.estimator_checks.check_estimator` that do not apply, and why. scikit-learn leaves
these and its further checks out by itself, because the estimator's tags say that it takes no tables; the tests of
dermdistill make the API checks all the same, and what these check with tables they check with images."""


class StudentClassifier(ClassifierMixin, BaseEstimator):
    """A small network that learns to classify images, alone or after a teacher's logits.

    It trains as `dermdistill distill` does: each epoch shows another view of each image. In the end the statistics of
    BatchNorm are taken anew from the plain images, since small sets have few steps to learn them.

    What it takes as X is uint8 RGB [N, H, W, 3], or a sequence of N images, each uint8 [H, W, 3] or the path of a file.

    Args:
        student: a name that `dermdistill students` lists, `timm:<model>`, or `timm:<model>@cut`.
        image_size: side of the network's input in pixels, by default the student's own.
        weights: ImageNet weights, for students that start from them: `package`, `hub` or `none`.
        epochs: how often each image is shown.
        batch_size: images a step.
        learning_rate: of AdamW, with a warm-up and a cosine.
        alpha: share of the labels in the loss, the rest is the teacher's; 0 to 1. Without a teacher it is not used.
        temperature: of teacher and student in the loss, above 0.
        balance: `weights` weighs the labels of rare classes more; `none` does not.
        views: how far the views may depart from the plain image; by default `ViewSpec()`.
        accelerator: `auto`, `cpu` or `gpu`.
        random_state: decides initial weights, order, views and dropout.
        verbose: tell of each epoch.

    Attributes:
        classes_: the C labels in the order of the probabilities.
        network_: takes normalised float32 [N, 3, S, S] and gives logits [N, C].
        mean_, std_: the normalisation, per RGB channel of images in [0, 1].
        image_size_: S in pixels.
        loss_: the mean training loss of each epoch.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 40, 40, 3), dtype=np.uint8)
        >>> model = StudentClassifier("repds", image_size=32, epochs=1, batch_size=4)
        >>> model.fit(images, ["nevus", "melanoma"] * 4).predict_proba(images).shape
        (8, 2)
        >>> model.classes_.tolist()
        ['melanoma', 'nevus']
    """

    def __init__(
        self, student: str = "lite0_cut", *, image_size: int | None = None,
        weights: Literal["package", "hub", "none"] = "package", epochs: int = 20, batch_size: int = 32,
        learning_rate: float = 1e-3, alpha: float = 0.1, temperature: float = 2.0,
        balance: Literal["none", "weights"] = "none", views: ViewSpec | None = None, accelerator: str = "auto",
        random_state: Any = 0, verbose: bool = False,
    ):  # fmt: skip
        self.student = student
        self.image_size = image_size
        self.weights = weights
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.temperature = temperature
        self.balance = balance
        self.views = views
        self.accelerator = accelerator
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def fit(self, X: Any, y: Any, teacher_logits: Any = None) -> Self:
        """Train a new network.

        Args:
            X: N images.
            y: N labels of at least two classes.
            teacher_logits: [N, C] for the plain images, columns in the order of the sorted labels. The student learns
                them for every view of an image; a bank has logits of each view, and is the better teacher.

        Raises:
            InputError: X are no images, lengths differ, there is one class, or the logits do not fit.
        """
        check_classification_targets(np.asarray(y))
        self.classes_, labels = np.unique(np.asarray(y), return_inverse=True)
        size = self.image_size or facts_of(self.student).image_size
        pixels, sha256s = _sources(X, SOURCE_SCALE * size)
        if len(labels) != len(pixels) or len(self.classes_) < 2:
            raise InputError(
                f"y must have one label for each of the {len(pixels)} images, of at least two classes; got "
                f"{len(labels)} labels of {len(self.classes_)} classes"
            )
        logits = self._checked(teacher_logits, len(labels))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        torch.manual_seed(seed)
        wanted = Wanted(len(self.classes_), size, self.weights)
        built = network("student", self.student, wanted)
        images = ImageSet(
            tuple(map(str, range(len(labels)))), sha256s, np.arange(len(labels)), labels.astype(np.int64),
            ImageCache(pixels, sha256s, {}), size=size,
        )  # fmt: skip
        self.loss_ = self._train(built, images, logits, seed)
        self.network_ = built.module.eval()
        self.mean_, self.std_, self.image_size_ = built.mean, built.std, size
        return self

    def _checked(self, teacher_logits: Any, count: int) -> Tensor | None:
        if teacher_logits is None:
            return None
        values = np.asarray(teacher_logits, np.float32)
        shape = (count, len(self.classes_))
        if values.shape != shape or not np.isfinite(values).all():
            raise InputError(
                f"teacher_logits must be finite numbers of shape {shape}, columns {self.classes_.tolist()}; "
                f"got the shape {values.shape}"
            )
        return torch.from_numpy(values)

    def _train(self, built: Network, images: ImageSet, logits: Tensor | None, seed: int) -> list[float]:
        """Train the network in place; the mean loss of each epoch."""
        spec = TrainSpec(
            epochs=self.epochs, batch_size=min(self.batch_size, len(images)), learning_rate=self.learning_rate,
            warmup_epochs=min(1.0, self.epochs / 10), checkpoint_seconds=3600,
        )  # fmt: skip
        names = tuple(map(str, self.classes_))
        loss = LossSpec(kind="ce")
        if logits is not None:
            loss = LossSpec(kind="kd", alpha=self.alpha, temperature=self.temperature)
        if self.balance == "weights":
            weights = class_weights(images.labels, len(names))
            loss = loss.model_copy(update={"class_weights": tuple(weights.tolist())})
        none = np.empty(0, np.int64)
        task = ClassifierTask(
            images, ImageSet((), (), none, none, images.cache, size=images.size), names, built.mean, built.std,
            self.views or ViewSpec(), seed, None, make_loss(loss), None if logits is None else _targets(logits),
        )  # fmt: skip
        fabric = make_fabric(self.accelerator, 1)
        fabric.launch()
        with tempfile.TemporaryDirectory() as folder, self._told():
            run = Run(Path(folder))
            train(task, built.module, spec, seed, run, fabric)
            built.module.cpu().load_state_dict(load_file(run.model))
            losses = [line["loss"] for line in run.read_metrics()]
        update_bn(_plain(images, built, self.batch_size), built.module)  # the averages lag behind where steps are few
        return losses

    def _told(self) -> contextlib.AbstractContextManager[Any]:
        """Where the loop's lines go."""
        return contextlib.nullcontext() if self.verbose else contextlib.redirect_stdout(io.StringIO())

    def logits(self, X: Any) -> np.ndarray:
        """The logits of N images, float32 [N, C], which another student can learn."""
        check_is_fitted(self)
        parts = [self._logits(batch) for batch in _batches(_items(X), self.batch_size)]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _logits(self, items: Sequence[Any]) -> np.ndarray:
        plain = np.stack([resize_square(_rgb(item), self.image_size_) for item in items])
        pixels = torch.from_numpy(plain).permute(0, 3, 1, 2).float().div_(255)
        logits: np.ndarray = self.network_(normalise(pixels, self.mean_, self.std_)).numpy()
        return logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class of N images, float64 [N, C]; rows sum to 1."""
        return torch.from_numpy(self.logits(X)).double().softmax(1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each of N images, [N]."""
        places = self.logits(X).argmax(1)
        found: np.ndarray = self.classes_[places]
        return found


def _plain(images: ImageSet, built: Network, size: int) -> Iterator[Tensor]:
    """The plain images, normalised, in batches of about `size` and none of a single image."""
    for rows in np.array_split(np.arange(len(images)), max(1, len(images) // max(size, 2))):
        parameters = torch.from_numpy(sample_views(["-"] * len(rows), PLAIN, ViewSpec()))
        yield normalise(apply_views(images.pixels(rows), parameters, images.size), built.mean, built.std)


def _targets(logits: Tensor) -> Targets:
    def of(rows: np.ndarray, view: int, device: torch.device) -> Tensor:
        return logits[torch.from_numpy(rows)].to(device)

    return of


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _items(X: Any) -> Sequence[Any]:
    """X as a sequence of images.

    Raises:
        InputError: it is none.
    """
    is_sequence = hasattr(X, "__len__") and not isinstance(X, str) and getattr(X, "ndim", 1) != 0
    items = list(X) if is_sequence else []
    if not items:
        raise InputError(f"X must be images, uint8 [N, H, W, 3], or a sequence of images or paths; got {_told_of(X)}")
    return items


def _told_of(X: Any) -> str:
    return f"{X.dtype} of shape {X.shape}" if isinstance(X, np.ndarray) else f"{type(X).__name__} {str(X)[:40]!r}"


def _rgb(item: Any) -> Image.Image:
    """One image of X."""
    if isinstance(item, str | Path):
        return load_rgb(Path(item))
    if isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.ndim == 3 and item.shape[2] == 3:
        return Image.fromarray(np.ascontiguousarray(item))
    raise InputError(f"each of X must be an image, uint8 [H, W, 3], or the path of a file; got {_told_of(item)}")


def _sources(X: Any, side: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The squares that views are rendered from, uint8 [N, 3, side, side], and what identifies each image."""
    items = _items(X)
    pixels, sha256s = np.empty((len(items), 3, side, side), np.uint8), []
    for row, item in enumerate(items):
        image = _rgb(item)
        sha256s.append(hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest())
        pixels[row] = resize_source(image, side).transpose(2, 0, 1)
    return pixels, tuple(sha256s)
