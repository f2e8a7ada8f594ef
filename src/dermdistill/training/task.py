"""What a teacher's and a student's training have in common: images, views, labels, validation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from dermdistill.classes import MELANOMA
from dermdistill.data.ids import connected, keys
from dermdistill.data.manifest import manifest_hash
from dermdistill.data.splits import Splits
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import atomic_path
from dermdistill.images.cache import ImageCache, labels, open_cache, readable
from dermdistill.images.preprocess import SOURCE_SCALE
from dermdistill.images.render import apply_views
from dermdistill.images.view_spec import ViewSpec
from dermdistill.images.views import PLAIN, sample_views, turn_views, view_seed

Loss = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""(student logits [B, C], teacher logits [B, C] or None, labels [B]) to a scalar."""

_BLOCK = 512
"""Images copied to a device at a time."""

EpochOf = Literal["image", "photograph", "lesion"]

Targets = Callable[[np.ndarray, int, torch.device], Tensor]
"""(training rows [B], view, device) to the teacher's logits for that view of those images, [B, C]."""


@dataclass(frozen=True)
class ImageSet:
    """Some images of a manifest with their pixels and labels, in one order."""

    ids: tuple[str, ...]
    sha256s: tuple[str, ...]
    rows: np.ndarray
    """Rows of the cache, int64 [N]."""
    labels: np.ndarray
    """Class indices, int64 [N]."""
    cache: ImageCache
    photographs: np.ndarray | None = None
    """Numbers of the photographs, int64 [N]; renderings of one of the ISIC archive share it."""
    lesions: np.ndarray | None = None
    """Numbers of the lesions, int64 [N]; an image whose lesion is not known counts by its photograph."""
    size: int | None = None
    """Side S of the network's input; by default that of the cache's images."""
    resident: Tensor | None = None
    """The images on the device that trains, uint8 [N, 3, R, R] in the order of `ids`; see `on`."""

    def __len__(self) -> int:
        return len(self.ids)

    def pixels(self, which: np.ndarray) -> Tensor:
        """uint8 [B, 3, R, R] of the images at the positions `which`, at the cache's size."""
        if self.resident is not None:
            return self.resident[torch.from_numpy(which).to(self.resident.device)]
        return torch.from_numpy(self.cache.images[self.rows[which]])

    @property
    def nbytes(self) -> int:
        """The bytes that all images take."""
        return len(self) * int(np.prod(self.cache.images.shape[1:]))

    def on(self, device: torch.device) -> Self:
        """The same images, kept on a device, so that no step waits for their way there."""
        shape = (len(self), *self.cache.images.shape[1:])
        resident = torch.empty(shape, dtype=torch.uint8, device=device)
        for start in range(0, len(self), _BLOCK):
            block = slice(start, start + _BLOCK)
            resident[block] = torch.from_numpy(self.cache.images[self.rows[block]]).to(device)
        return replace(self, resident=resident)

    def units(self, epoch_of: EpochOf) -> np.ndarray:
        """The number of what an epoch shows once that each image belongs to, int64 [N]: 0 to units - 1."""
        if epoch_of == "image":
            return np.arange(len(self))
        numbers = self.photographs if epoch_of == "photograph" else self.lesions
        if numbers is None:
            raise InputError(f"these images come without numbers of their {epoch_of}s; make them with image_sets")
        return np.unique(numbers, return_inverse=True)[1]

    def shares(self, epoch_of: EpochOf) -> np.ndarray:
        """How often an epoch shows each image on average, float64 [N], above 0 to 1."""
        units = self.units(epoch_of)
        return 1 / np.bincount(units)[units]


def matching_hash(manifest: pd.DataFrame, splits: Splits) -> str:
    """The manifest's hash.

    Raises:
        IntegrityError: the splits belong to another manifest.
    """
    found = manifest_hash(manifest)
    if found != splits.manifest_sha256:
        raise IntegrityError(
            f"the splits belong to a manifest with the hash {splits.manifest_sha256[:12]}, this one has {found[:12]}; "
            "use the manifest that was split"
        )
    return found


def image_sets(
    manifest: pd.DataFrame,
    roles: dict[str, list[str]],
    size: int,
    classes: tuple[str, ...],
    cache: Path | None,
) -> dict[str, ImageSet]:
    """The images of each role; unreadable images are set aside, named in the log.

    Training images are decoded at `SOURCE_SCALE` times `size`, as sources of their views. All others are decoded
    at `size`, exactly as `predict` does it.

    Args:
        manifest: all images.
        roles: image ids of 'train', 'validation' and 'test'.
        size: side in pixels.
        classes: the classes that the labels index.
        cache: folder of the decoded images, by default the user's.
    """
    used = manifest[manifest["image_id"].isin({name for ids in roles.values() for name in ids})]
    caches = {"train": open_cache(used, SOURCE_SCALE * size, cache, "source")}
    if any(ids for role, ids in roles.items() if role != "train"):
        caches["other"] = open_cache(used, size, cache)
    table = readable(used, *caches.values()).set_index("image_id", drop=False)
    shared, sets = keys(table), {}
    for role, ids in roles.items():
        part = table.loc[[name for name in ids if name in table.index]]
        if part.empty and role == "train":
            raise InputError(f"no readable image has the role '{role}'")
        images = caches.get(role) or caches.get("other", caches["train"])
        sets[role] = ImageSet(
            tuple(part["image_id"]),
            tuple(part["sha256"]),
            images.rows(part["sha256"]),
            labels(part, classes),
            images,
            connected([shared["photograph"][part.index]]),
            connected([shared["photograph"][part.index], shared["lesion"][part.index]]),
            size,
        )
    return sets


class Blend(NamedTuple):
    """Mixup (Zhang et al., ICLR 2018): `share` of each image of a batch, the rest of its partner."""

    share: float
    partner: Tensor
    """Positions in the batch, int64 [B]."""


class Batch(NamedTuple):
    """One step's input: normalised images, labels, the teacher's logits or None, and how images are blended."""

    images: Tensor
    labels: Tensor
    targets: Tensor | None
    blend: Blend | None = None


@dataclass
class ClassifierTask:
    """A `dermdistill.training.loop.Task`: classify views of images, alone or after a teacher."""

    train: ImageSet
    validation: ImageSet
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    views: ViewSpec
    views_seed: int
    view_count: int | None
    """How many different views there are, in turn; None for a new one each epoch."""
    criterion: Loss
    targets: Targets | None = None
    balance: Literal["none", "sampler", "weights"] = "none"
    channels_last: bool = True
    symmetries: bool = False
    """Turn and mirror each view besides, anew in every epoch; its targets stay."""
    mixup: float = 0.0
    """Shares of blended images come from Beta(mixup, mixup), the larger one of the image itself; 0 blends nothing."""
    epoch_of: EpochOf = "image"
    """What an epoch shows once."""

    def __post_init__(self) -> None:
        self._sampled: tuple[int, Tensor] | None = None

    @property
    def size(self) -> int:
        """How many images an epoch shows."""
        return len(np.unique(self.train.units(self.epoch_of)))

    def view(self, epoch: int) -> int:
        """The view that an epoch shows: the bank's views in turn, or views 1, 2, 3, …"""
        return epoch + 1 if self.view_count is None else epoch % self.view_count

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """A permutation, or one image of each unit in random order, or with "sampler" rare classes more often."""
        generator = np.random.default_rng([seed, epoch])
        if self.epoch_of != "image":
            shuffled = generator.permutation(len(self.train))
            _, first = np.unique(self.train.units(self.epoch_of)[shuffled], return_index=True)
            return shuffled[generator.permutation(first)]
        if self.balance != "sampler":
            return generator.permutation(self.size)
        weights = class_weights(self.train.labels, len(self.classes))[self.train.labels]
        return generator.choice(self.size, self.size, p=weights / weights.sum())

    def batch(self, rows: np.ndarray, epoch: int, device: torch.device) -> Batch:
        view = self.view(epoch)
        if self._sampled is None or self._sampled[0] != epoch:
            parameters = sample_views(self.train.sha256s, view_seed(self.views_seed, view), self.views)
            if self.symmetries:
                parameters = turn_views(parameters, self.train.sha256s, self.views_seed, epoch)
            self._sampled = epoch, torch.from_numpy(parameters)
        pixels = self.train.pixels(rows).to(device, non_blocking=True)
        images = normalise(apply_views(pixels, self._sampled[1][rows], self.train.size), self.mean, self.std)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        truth = torch.from_numpy(self.train.labels[rows]).to(device)
        targets = self.targets(rows, view, device) if self.targets else None
        if not self.mixup:
            return Batch(images, truth, targets)
        generator = np.random.default_rng([self.views_seed, epoch, *rows[:2]])  # the same after a resume
        share = generator.beta(self.mixup, self.mixup)
        blend = Blend(max(share, 1 - share), torch.from_numpy(generator.permutation(len(rows))).to(device))
        return Batch(images.lerp(images[blend.partner], 1 - blend.share), truth, targets, blend)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The criterion; of blended images the blend of what it is for the targets of each (of KL: the same gradient
        as for the blended targets)."""
        logits = model(batch.images)
        own = self.criterion(logits, batch.targets, batch.labels)
        if batch.blend is None:
            return own
        share, partner = batch.blend
        targets = None if batch.targets is None else batch.targets[partner]
        return share * own + (1 - share) * self.criterion(logits, targets, batch.labels[partner])

    def score(self, model: nn.Module, device: torch.device) -> dict[str, float | None]:
        """Melanoma AUROC and seven-class (or binary) accuracy of the validation images."""
        if not len(self.validation):
            return {"auroc": None, "accuracy": None}
        logits = predict(model, self.validation, self.mean, self.std, device, self.channels_last)
        melanoma = self.classes.index(MELANOMA)
        truth = self.validation.labels == melanoma
        probability = torch.from_numpy(logits).softmax(1)[:, melanoma].numpy()
        auroc = float(roc_auc_score(truth, probability)) if 0 < truth.sum() < len(truth) else None
        return {"auroc": auroc, "accuracy": float((logits.argmax(1) == self.validation.labels).mean())}


def class_weights(classes_of: np.ndarray, count: int, shares: np.ndarray | None = None) -> np.ndarray:
    """Square root of the inverse class frequency, mean 1 over the images; float64 [count].

    A class without images gets weight 0.

    Args:
        classes_of: class indices, int64 [N].
        count: number of classes.
        shares: how often each image is shown, float64 [N]; by default all alike.
    """
    frequency = np.bincount(classes_of, shares, count) / max(1.0, len(classes_of) if shares is None else shares.sum())
    weights = np.where(frequency > 0, 1 / np.sqrt(np.maximum(frequency, 1e-12)), 0.0)
    return weights / (weights * frequency).sum()


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(images - mean) / std for float images [B, 3, H, W] in [0, 1]; overwrites its input."""
    shape = (1, 3, 1, 1)
    return images.sub_(images.new_tensor(mean).view(shape)).div_(images.new_tensor(std).view(shape))


@torch.inference_mode()
def predict(
    model: nn.Module, images: ImageSet, mean: Any, std: Any, device: torch.device, channels_last: bool = True,
    batch_size: int = 256,
) -> np.ndarray:  # fmt: skip
    """Logits of the plain images, float32 [N, C]. The model is put in evaluation mode and back."""
    was_training = model.training
    model.eval()
    found = []
    for start in range(0, len(images), batch_size):
        which = np.arange(start, min(start + batch_size, len(images)))
        plain = torch.from_numpy(sample_views(["-"] * len(which), PLAIN, ViewSpec()))
        pixels = normalise(apply_views(images.pixels(which).to(device), plain, images.size), mean, std)
        if channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        found.append(model(pixels).float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(found)


def write_predictions(path: Path, logits: dict[str, tuple[ImageSet, np.ndarray]], classes: tuple[str, ...]) -> None:
    """Write the logits of each role's images as one Parquet table.

    Args:
        path: the file.
        logits: for each role its images and their logits, float32 [N, C].
        classes: the classes in the order of the logits.
    """
    columns = [f"logit_{name}" for name in classes]
    parts = [pd.DataFrame(columns=["image_id", "role", *columns])] if not logits else []
    for role, (images, values) in logits.items():
        part = pd.DataFrame(values, columns=columns)
        part.insert(0, "image_id", list(images.ids))
        part.insert(1, "role", role)
        parts.append(part)
    with atomic_path(path) as temporary:
        pd.concat(parts, ignore_index=True).to_parquet(temporary, index=False)
