"""Fine-tuning for 8 bits: the network answers more like itself once it is rounded."""

import torch
from torch import Tensor, nn

from dermdistill.export.rounding import Tuning, rounded, tuned


def network() -> nn.Module:
    """Small, and with channels of very different sizes, which 8 bits do not like."""
    torch.manual_seed(0)
    first, middle, last = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Linear(16, 7)
    with torch.no_grad():
        middle.weight *= torch.logspace(-1, 1.5, 8)[:, None, None, None]
        last.weight *= 30
    return nn.Sequential(
        first, nn.ReLU6(), middle, nn.ReLU6(), nn.Conv2d(8, 16, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        last,
    ).eval()  # fmt: skip


def moved(other: nn.Module, reference: nn.Module, images: Tensor) -> float:
    """How far the rounded network's answers are from the reference's, on average."""
    with torch.no_grad():
        wanted = reference(images).softmax(1)
        with rounded(other, images):
            return float((other(images).softmax(1) - wanted).abs().mean())


def test_a_tuned_network_moves_less_when_it_is_rounded():
    made, images = network(), torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    weights = {name: value.clone() for name, value in made.state_dict().items()}
    found = tuned(made, images, 1.0, Tuning(steps=100, learning_rate=1e-3))
    assert moved(found, made, images) < 0.85 * moved(network(), made, images)
    # the network itself is as it was, and the tuned one is a plain network again
    assert all(torch.equal(value, weights[name]) for name, value in made.state_dict().items())
    assert found.state_dict().keys() == weights.keys()
    assert not found.training


def test_tuning_is_the_same_each_time():
    made, images = network(), torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    first, second = (tuned(made, images, 1.0, Tuning(steps=3)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = tuned(made, images, 1.0, Tuning(steps=3, seed=1)).state_dict()
    assert not all(torch.equal(first[name], other[name]) for name in first)
