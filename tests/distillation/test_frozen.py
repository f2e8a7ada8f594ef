"""A frozen teacher cannot drift."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from dermdistill.distillation.frozen import FrozenTeacher


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7),
    )  # fmt: skip


@pytest.fixture
def teacher():
    return FrozenTeacher(network(), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), 16)


def same(before, module):
    return all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def images(side=16):
    return torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(1))


class Pair(nn.Module):
    """Teacher and student in one module, as a careless training loop might hold them."""

    def __init__(self, teacher):
        super().__init__()
        self.teacher = teacher
        self.student = network()


def test_no_train_call_unlocks_it(teacher):
    pair = Pair(teacher)
    for unlock in (teacher.train, lambda: teacher.train(True), pair.train):
        unlock()
        assert not any(module.training for module in teacher.modules())
    assert pair.student.training


def test_batchnorm_statistics_stay_even_if_the_inner_model_is_unlocked(teacher):
    before = copy.deepcopy(teacher.state_dict())
    teacher.model.train()
    logits = teacher(images())
    assert same(before, teacher)
    assert torch.equal(logits, teacher(images())), "dropout was active"


def test_logits_carry_no_gradient(teacher):
    logits = teacher(images().requires_grad_())
    assert not logits.requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_training_step_of_both_leaves_it_alone(teacher, optimizer):
    pair = Pair(teacher).train()
    before, student = copy.deepcopy(teacher.state_dict()), copy.deepcopy(pair.student.state_dict())
    step = optimizer(pair.parameters(), lr=0.1, weight_decay=0.5)
    functional.mse_loss(pair.student(images()), teacher(images())).backward()
    step.step()
    assert same(before, teacher)
    assert not same(student, pair.student)


def test_it_normalises_for_itself(teacher):
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    expected = network().eval()((images() - mean) / std)
    assert torch.allclose(teacher(images()), expected)


def test_it_resizes_other_sizes_with_antialiasing(teacher):
    small = functional.interpolate(images(40), (16, 16), mode="bilinear", antialias=True)
    plain = functional.interpolate(images(40), (16, 16), mode="bilinear")
    assert torch.allclose(teacher(images(40)), teacher(small))
    assert not torch.allclose(teacher(images(40)), teacher(plain))


def test_normalisation_goes_where_the_teacher_goes(teacher):
    moved = teacher.to(torch.float64)
    assert moved.mean.dtype == moved.std.dtype == torch.float64
    assert moved(images().double()).dtype == torch.float64
