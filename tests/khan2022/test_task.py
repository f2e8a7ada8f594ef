import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dermdistill.khan2022.division import divide
from dermdistill.khan2022.protocol import CORRECTED, Faults, soft_targets
from dermdistill.khan2022.task import Entry, PaperTask, auroc, entry_of, predict

CPU = torch.device("cpu")


class Mean(nn.Module):
    """Logits (0, mean of the image)."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(mean), mean], 1)


def _task(pool, faults=CORRECTED, **options):
    division = divide(pool, random_split=faults.random_split, seed=0)
    return PaperTask(pool, division, entry_of("dsnet", faults), faults, **options)


def test_images_enter_normalised_or_raw():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    right = Entry((0.5, 0.5, 0.0), (0.5, 0.25, 1.0), raw=False)(pixels)
    assert right.flatten().tolist() == pytest.approx([-1.0, -1.2, 1.0])
    raw = Entry((0.5, 0.5, 0.0), (0.5, 0.25, 1.0), raw=True)(pixels)
    assert raw.flatten().tolist() == [0.0, 51.0, 255.0]
    assert entry_of("dsnet", Faults(no_normalisation=True)).raw
    assert not entry_of("dsnet", Faults(no_t2=True)).raw


def test_a_batch_holds_the_images_their_labels_and_their_targets(pool):
    task = _task(pool)
    targets = torch.rand(task.size, 2)
    task = _task(pool, targets=targets)
    rows = np.array([5, 0, 7])
    batch = task.batch(rows, 0, CPU)
    assert torch.equal(batch.targets, targets[[5, 0, 7]])
    assert batch.labels.tolist() == pool.labels[task.division.train[rows]].tolist()
    assert torch.equal(batch.images, task.entry(pool.pixels.read(task.division.train[rows])))


def test_the_loss_is_the_protocols(pool):
    alone = _task(pool)
    batch = alone.batch(np.arange(6), 0, CPU)
    outputs = Mean()(batch.images)
    assert alone.loss(Mean(), batch).item() == pytest.approx(functional.cross_entropy(outputs, batch.labels).item())
    targets = soft_targets(torch.randn(alone.size, 2), 4.0, CORRECTED)
    taught = _task(pool, targets=targets, alpha=0.25, temperature=4.0)
    batch = taught.batch(np.arange(6), 0, CPU)
    soft = -(batch.targets * (outputs / 4).log_softmax(1)).sum(1).mean()
    expected = 0.25 * functional.cross_entropy(outputs, batch.labels) + 0.75 * 16 * soft
    assert taught.loss(Mean(), batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_validation_chooses_and_under_the_fault_the_test_images_do(pool):
    right, wrong = _task(pool), _task(pool, Faults(test_selection=True))
    model = Mean()
    good = right.score(model, CPU)
    chosen = wrong.score(model, CPU)
    assert set(chosen) - set(good) == {"validation_auroc"}
    assert chosen["validation_auroc"] == good["auroc"]
    labels = pool.labels[right.division.test]
    scores = pool.pixels.values[right.division.test]
    assert chosen["auroc"] == pytest.approx(auroc(labels, scores))
    assert chosen["auroc"] != good["auroc"]


def test_the_training_accuracy_is_that_of_the_epoch(pool):
    task = _task(pool)
    assert task.score(Mean(), CPU)["train_accuracy"] is None
    order = task.order(0, 0)
    for start in range(0, task.size, 8):
        task.loss(Mean(), task.batch(order[start : start + 8], 0, CPU))
    labels, values = pool.labels[task.division.train], pool.pixels.values[task.division.train]
    expected = ((values > 127.5) == labels).mean()
    assert task.score(Mean(), CPU)["train_accuracy"] == pytest.approx(expected)
    task.order(0, 1)
    assert task.score(Mean(), CPU)["train_accuracy"] is None
    assert not np.array_equal(order, task.order(0, 1))
    assert np.array_equal(order, task.order(0, 0))


def test_prediction_keeps_the_order_and_the_mode(make_pool):
    pool = make_pool(40, size=20)
    model = nn.Sequential(Mean(), nn.Dropout(0.5)).train()
    rows = np.array([7, 3, 39, 0, 12])
    found = predict(model, pool.pixels, rows, entry_of("dsnet", Faults(no_normalisation=True)), CPU, batch_size=2)
    assert found[:, 1].tolist() == pool.pixels.values[rows].tolist()
    assert model.training
