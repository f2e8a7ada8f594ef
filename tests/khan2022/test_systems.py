import pytest
import torch
from torch import nn

from dermdistill.errors import InputError
from dermdistill.khan2022.published import TABLE_2
from dermdistill.khan2022.recipe import SMOKE
from dermdistill.khan2022.systems import (
    abstract,
    build_system,
    explain,
    explained,
    fp32_bytes,
    input_normalisation,
    keras_count,
    parameters,
)

OURS = {
    "resnet101": 42_500_160 + 4_096 + 4_098,
    "resnet50": 23_508_032 + 4_096 + 4_098,
    "inceptionv3": 21_785_568 + 4_096 + 4_098,
    "vgg16": 14_714_688 + 1_024 + 1_026,
    "efficientnetb0": 4_007_548 + 2_560 + 2_562,
    "mobilenet": 3_206_976 + 2_048 + 2_050,
    "dsnet": 268_898,
}
"""Trunk, BatchNorm (scale and shift), dense layer (weights and biases)."""


@pytest.mark.parametrize("name", TABLE_2)
def test_the_published_counts_are_recomputed_from_our_networks(name):
    model = abstract(name)
    assert parameters(model) == OURS[name]
    assert keras_count(name, model) == TABLE_2[name].parameters


def test_each_difference_is_counted_by_itself():
    model = abstract("resnet50")
    moving, biases = explain("resnet50", model)
    assert "moving mean" in moving.reason
    assert moving.count == 2 * (26_560 + 2_048)  # the channels of its BatchNorms, the head's among them
    assert "biases" in biases.reason
    assert biases.count == 26_560
    assert [term.count for term in explain("inceptionv3", abstract("inceptionv3"))] == [2 * (17_216 + 2_048), -17_216]
    assert explain("efficientnetb0", abstract("efficientnetb0"))[-1].count == 7
    assert explain("dsnet", abstract("dsnet")) == []


def test_the_words_tell_when_the_sum_does_not_add_up():
    assert explained("dsnet", abstract("dsnet")) == "the same count"
    assert "this explains the published count" in explained("vgg16", abstract("vgg16"))
    assert "unexplained" in explained("vgg16", nn.Linear(2, 2))
    assert explained("lite0", abstract("lite0")) == "not in the paper"


def test_the_head_is_the_papers():
    model = build_system("mobilenet", image_size=32, weights="none").eval()
    dropout, norm, dense = model.head
    assert dropout.p == 0.5
    assert (norm.num_features, norm.eps) == (1024, 1e-3)
    assert (dense.in_features, dense.out_features) == (1024, 2)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        pooled = model.trunk.forward_features(images).mean((2, 3))
        assert torch.allclose(model(images), dense(norm(pooled)), atol=1e-6)


def test_bytes_count_the_statistics_but_not_the_counters():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert fp32_bytes(model) == 4 * (12 + 4 + 4 + 4 + 4 + 4)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(InputError, match=r"no system is called 'vgg19'; did you mean 'vgg16'\? There are resnet101"):
        build_system("vgg19")
    with pytest.raises(InputError, match="Inception-v3 needs images of at least 75 px, got 64"):
        build_system("inceptionv3", image_size=64)


@pytest.mark.parametrize("name", SMOKE.students)
def test_every_system_takes_a_step_on_images_of_the_smoke_budget(name):
    """Without storage: the shapes of a forward and a backward pass, and nothing computed."""
    model = abstract(name, SMOKE.image_size)
    outputs = model(torch.empty(2, 3, SMOKE.image_size, SMOKE.image_size, device="meta"))
    assert outputs.shape == (2, 2)
    outputs.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_images_enter_as_the_network_expects():
    assert input_normalisation("dsnet") == ((0.5,) * 3, (0.5,) * 3)
    assert input_normalisation("resnet50")[0] == pytest.approx((0.485, 0.456, 0.406))
