"""What an epoch shows once: images, photographs or lesions."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from dermdistill.classes import BINARY_CLASSES
from dermdistill.distillation.spec import TeacherSpec
from dermdistill.errors import InputError
from dermdistill.images.cache import ImageCache
from dermdistill.images.views import ViewSpec
from dermdistill.run import open_run
from dermdistill.specs import parse
from dermdistill.training.loop import fit, make_fabric
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec, TrainSpec
from dermdistill.training.task import ClassifierTask, ImageSet, class_weights, image_sets

LESIONS = np.repeat(np.arange(10), [1, 1, 1, 1, 1, 1, 2, 4, 8, 12])
COUNT = len(LESIONS)


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 8, 8), np.uint8)
    names = tuple(f"{row:064x}" for row in range(COUNT))
    labels = LESIONS % 2
    photographs = np.arange(COUNT) // 2
    cache = ImageCache(pixels, names, {})
    return ImageSet(names, names, np.arange(COUNT), labels, cache, photographs, LESIONS)


def _task(images, epoch_of, kind=ClassifierTask):
    criterion = make_loss(LossSpec(kind="ce"))
    return kind(
        images, images, BINARY_CLASSES, (0.5,) * 3, (0.5,) * 3, ViewSpec(), 0, None, criterion, epoch_of=epoch_of,
        channels_last=False,
    )  # fmt: skip


@pytest.mark.parametrize(("epoch_of", "units"), [("photograph", np.arange(COUNT) // 2), ("lesion", LESIONS)])
def test_each_is_shown_once_an_epoch_by_another_of_its_images(images, epoch_of, units):
    task = _task(images, epoch_of)
    assert task.size == len(set(units))
    orders = [task.order(3, epoch) for epoch in range(200)]
    for order in orders:
        assert sorted(units[order]) == sorted(set(units))
    assert np.array_equal(orders[7], _task(images, epoch_of).order(3, 7))
    assert not np.array_equal(orders[7], task.order(4, 7))
    shown = np.bincount(np.concatenate(orders), minlength=COUNT) / len(orders)
    assert shown == pytest.approx(images.shares(epoch_of), abs=0.15)
    assert (shown > 0).all()
    places = np.mean([units[order].argsort() for order in orders], axis=0)
    assert places == pytest.approx((task.size - 1) / 2, abs=0.2 * task.size), "large lesions do not come first"


def test_an_epoch_of_images_is_as_before(images):
    task = _task(images, "image")
    assert task.size == COUNT
    assert np.array_equal(task.order(1, 2), np.random.default_rng([1, 2]).permutation(COUNT))


class Watched(ClassifierTask):
    """Remembers what was shown, and can be stopped."""

    stop_after = None

    def batch(self, rows, epoch, device):
        seen = self.__dict__.setdefault("seen", [])
        if len(seen) == self.stop_after:
            raise KeyboardInterrupt
        seen.append((epoch, rows.tolist()))
        return super().batch(rows, epoch, device)


def _train(folder, images, stop_after=None):
    task = _task(images, "lesion", Watched)
    task.stop_after = stop_after
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    spec = TrainSpec(epochs=3, batch_size=4, ema=0, epoch_of="lesion", channels_last=False, checkpoint_seconds=0)
    with contextlib.suppress(KeyboardInterrupt):
        fit(task, net, spec, 0, open_run(folder, {"stage": "test"}), make_fabric("cpu"))
    return task.seen, net.state_dict()


def test_steps_follow_from_the_lesions_and_a_resumed_run_shows_the_same(images, tmp_path):
    whole, weights = _train(tmp_path / "whole", images)
    assert [epoch for epoch, _ in whole] == [0, 0, 1, 1, 2, 2], "10 lesions make 2 steps of 4"
    before, _ = _train(tmp_path / "cut", images, stop_after=3)
    after, again = _train(tmp_path / "cut", images)
    assert before + after == whole
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_image_sets_number_photographs_and_lesions(small):
    manifest, _, part, cache = small
    named = manifest.copy()
    rows = named.index[named["image_id"].isin(part["train"])][:6]
    ids = [
        "ISIC_0000001", "ISIC_0000001@whole", "ISIC_0000001_x", "ISIC_0000002", "ISIC_0000003", "plain",
    ]  # fmt: skip
    lesions = ["HAM_0000001", None, "HAM_0000001", "HAM_0000001", None, None]
    named.loc[rows, "image_id"], named.loc[rows, "lesion_id"] = ids, lesions
    images = image_sets(named, {"train": ids, "validation": []}, 32, BINARY_CLASSES, cache)
    assert images["train"].units("photograph").tolist() == [0, 0, 0, 1, 2, 3]
    assert images["train"].units("lesion").tolist() == [0, 0, 0, 0, 1, 2]
    assert images["train"].shares("lesion").tolist() == [0.25] * 4 + [1, 1]
    assert len(images["validation"].units("lesion")) == 0


def test_weights_follow_what_is_shown(images):
    shares = images.shares("lesion")
    assert class_weights(images.labels, 2, shares) == pytest.approx([1, 1]), "five lesions of each class"
    assert class_weights(images.labels, 2)[0] > 1


def test_what_does_not_go_together(images):
    with pytest.raises(InputError, match=r"balance = 'sampler' draws images, epoch_of = 'lesion' one of each lesion"):
        parse(TeacherSpec, {"name": "t", "train": {"balance": "sampler", "epoch_of": "lesion"}}, "recipe")
    bare = ImageSet(images.ids, images.sha256s, images.rows, images.labels, images.cache)
    with pytest.raises(InputError, match="come without numbers of their lesions"):
        _task(bare, "lesion").order(0, 0)
