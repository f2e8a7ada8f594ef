"""RepDS fits the budget and is made of units that can be folded."""

import pytest
import torch
from torch import nn

from dermdistill.networks.cost import count, fuse
from dermdistill.networks.registry import BUDGET
from dermdistill.networks.repds import RepDS


def trained():
    """A student whose BatchNorm has statistics of its own."""
    torch.manual_seed(0)
    model = RepDS().train()
    for _ in range(3):
        model(torch.randn(4, 3, 64, 64) * 2 + 1)
    return model


def test_cost():
    cost = count(RepDS(7), 128)
    assert cost.parameters == 242_823 <= BUDGET
    assert cost.macs == 32_738_624


def test_logits_at_several_sizes():
    model = RepDS(7).eval()
    assert model(torch.zeros(2, 3, 128, 128)).shape == (2, 7)
    assert model(torch.zeros(1, 3, 97, 97)).shape == (1, 7)
    assert RepDS(2).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


def test_features_have_a_sixteenth_of_the_side():
    assert RepDS().features(torch.zeros(2, 3, 128, 128)).shape == (2, 192, 8, 8)


def test_folding_leaves_no_batchnorm_and_the_same_output():
    model = trained()
    fused = fuse(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    images = torch.randn(4, 3, 128, 128)
    with torch.no_grad():
        assert torch.allclose(model.eval()(images), fused(images), atol=1e-5)


def test_every_operation_is_a_module():
    """What a quantiser or a graph exporter sees: modules one after the other, no functions between them."""
    traced = torch.fx.symbolic_trace(RepDS())
    assert {node.op for node in traced.graph.nodes} == {"placeholder", "call_module", "output"}


def test_training_reaches_every_parameter():
    model = RepDS().train()
    model(torch.randn(4, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_depthwise_kernels_start_as_large_as_others():
    """He initialisation counts the outputs that one input reaches: of a depthwise convolution, one channel."""
    torch.manual_seed(0)
    for module in RepDS(7).modules():
        if isinstance(module, nn.Conv2d):
            wanted = (2 * module.groups / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            assert float(module.weight.detach().std()) == pytest.approx(wanted, rel=0.25)
