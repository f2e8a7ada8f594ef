"""A teacher is any timm model, or a student of our own."""

import pytest
import torch
from torch import nn

from dermdistill.errors import InputError
from dermdistill.networks import registry
from dermdistill.networks.registry import Wanted, network


def test_a_student_of_our_own_with_the_dropout_that_is_asked_for():
    model, mean, std = network("teacher", "repds", Wanted(7, 32, drop_rate=0.35))
    assert (mean, std) == (registry.spec("repds").mean, registry.spec("repds").std)
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.35}
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_a_timm_model_with_its_own_normalisation():
    model, mean, std = network("teacher", "mobilenetv3_small_050", Wanted(2, 32, drop_path_rate=0.1))
    assert (mean, std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 2)


def test_a_student_of_our_own_has_no_stochastic_depth():
    with pytest.raises(InputError, match=r"'repds' has no stochastic depth: set drop_path_rate = 0, got 0\.1"):
        network("teacher", "repds", Wanted(7, 32, drop_path_rate=0.1))
