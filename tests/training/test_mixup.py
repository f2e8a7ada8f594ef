"""Blended images: what is shown, what is asked, and that it is the same after a resume."""

import numpy as np
import pytest
import torch

from dermdistill.classes import CLASSES
from dermdistill.images.cache import ImageCache
from dermdistill.images.views import ViewSpec
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec, TrainSpec
from dermdistill.training.task import ClassifierTask, ImageSet

CPU = torch.device("cpu")
COUNT = 16
SOFT = torch.randn(COUNT, len(CLASSES), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 8, 8), np.uint8)
    names = tuple(f"{row:064x}" for row in range(COUNT))
    return ImageSet(names, names, np.arange(COUNT), np.arange(COUNT) % len(CLASSES), ImageCache(pixels, names, {}))


def _task(images, mixup, loss=None):
    targets = None if loss is None else lambda rows, view, device: SOFT[rows]
    criterion = make_loss(loss or LossSpec(kind="ce"))
    return ClassifierTask(
        images, images, CLASSES, (0.5,) * 3, (0.5,) * 3, ViewSpec(), 0, None, criterion, targets, mixup=mixup
    )


def test_an_image_is_blended_with_its_partner_and_stays_the_larger_part(images):
    rows, shares = np.arange(8), []
    plain = _task(images, 0.0)
    for epoch in range(50):
        batch = _task(images, 1.0).batch(rows, epoch, CPU)
        shown, (share, partner) = plain.batch(rows, epoch, CPU).images, batch.blend
        torch.testing.assert_close(batch.images, share * shown + (1 - share) * shown[partner])
        assert sorted(partner.tolist()) == list(range(8))
        shares.append(share)
    assert 0.5 <= min(shares) < 0.55
    assert 0.95 < max(shares) <= 1


def test_the_same_step_is_blended_alike_and_another_differently(images):
    rows = np.arange(8)
    one, again = (_task(images, 0.4).batch(rows, 3, CPU) for _ in range(2))
    assert torch.equal(one.images, again.images)
    assert one.blend.share == again.blend.share
    others = [_task(images, 0.4).batch(rows, 4, CPU), _task(images, 0.4).batch(rows + 8, 3, CPU)]
    assert len({one.blend.share, *(batch.blend.share for batch in others)}) == 3


def test_both_answers_are_asked_for_in_the_images_shares(images):
    """By hand: cross-entropy of a network that always says the same is the mean of its answers' own."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, len(CLASSES)))
    torch.nn.init.zeros_(model[1].weight)
    log_probabilities = torch.linspace(-1, 1, len(CLASSES)).log_softmax(0)
    model[1].bias.data.copy_(log_probabilities)
    task = _task(images, 1.0)
    batch = task.batch(np.arange(8), 0, CPU)
    costs = -log_probabilities[batch.labels]
    expected = batch.blend.share * costs.mean() + (1 - batch.blend.share) * costs[batch.blend.partner].mean()
    torch.testing.assert_close(task.loss(model, batch), expected)


def test_soft_labels_pull_as_their_blend_would(images):
    """KL to each target in turn has the gradient of KL to the blended probabilities."""
    temperature, rows = 3.0, np.arange(8)
    task = _task(images, 1.0, LossSpec(kind="kd", alpha=0.0, temperature=temperature))
    batch = task.batch(rows, 0, CPU)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, len(CLASSES)))
    task.loss(model, batch).backward()
    found = model[1].weight.grad.clone()
    share, partner = batch.blend
    soft = (SOFT[rows] / temperature).softmax(1)
    blended = share * soft + (1 - share) * soft[partner]
    answer = (model(batch.images) / temperature).log_softmax(1)
    model.zero_grad()
    (temperature**2 * torch.nn.functional.kl_div(answer, blended, reduction="batchmean")).backward()
    torch.testing.assert_close(found, model[1].weight.grad)


def test_a_recipe_without_it_is_the_one_it_was():
    assert "mixup" not in TrainSpec().model_dump(mode="json")
    assert TrainSpec(mixup=0.2).model_dump(mode="json")["mixup"] == 0.2
