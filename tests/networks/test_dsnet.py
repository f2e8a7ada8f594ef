"""DSNet is the published network, layer by layer."""

import pytest
import torch
from torch import nn

from dermdistill.errors import InputError
from dermdistill.networks.cost import count
from dermdistill.networks.dsnet import DSNet

SHAPES = [
    (nn.Conv2d, (1, 128, 222, 222)),
    (nn.MaxPool2d, (1, 128, 111, 111)),
    (nn.Conv2d, (1, 64, 109, 109)),
    (nn.MaxPool2d, (1, 64, 54, 54)),
    (nn.Conv2d, (1, 32, 52, 52)),
    (nn.Dropout, (1, 32, 52, 52)),
    (nn.Flatten, (1, 86_528)),
    (nn.Linear, (1, 2)),
]


def test_layers_have_the_published_shapes():
    model, seen = DSNet().eval(), []
    for module in model.modules():
        if isinstance(module, tuple(kind for kind, _ in SHAPES)):
            module.register_forward_hook(lambda m, _, output: seen.append((type(m), tuple(output.shape))))
    with torch.no_grad():
        model(torch.zeros(1, 3, 224, 224))
    assert seen == SHAPES


def test_layers_have_the_published_parameters():
    model = DSNet()
    sizes = [
        sum(p.numel() for p in module.parameters())
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    assert sizes == [3_584, 73_792, 18_464, 173_058]
    assert sum(sizes) == sum(p.numel() for p in model.parameters()) == 268_898


def test_each_convolution_is_followed_by_relu_and_dropout_is_a_quarter():
    model = DSNet()
    kinds = [type(module) for module in model.features]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.ReLU]
    assert model.classifier[0].p == 0.25


def test_cost_is_counted():
    cost = count(DSNet(), 224)
    assert cost.parameters == 268_898
    macs = 222**2 * 128 * 27 + 109**2 * 64 * 128 * 9 + 52**2 * 32 * 64 * 9 + 86_528 * 2
    assert cost.macs == macs == 1_096_301_056


@pytest.mark.parametrize("size", [18, 32, 65])
def test_other_sizes_and_classes(size):
    assert DSNet(7, size)(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_too_small_an_image_is_refused():
    with pytest.raises(InputError, match="at least 18 px, got 17"):
        DSNet(2, 17)
