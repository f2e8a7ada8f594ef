"""A trunk is the beginning of a larger network, with its weights, and fits the budget."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from dermdistill.errors import InputError
from dermdistill.networks import registry
from dermdistill.networks.cost import count, fuse
from dermdistill.networks.pretrained import package_weights
from dermdistill.networks.registry import BUDGET
from dermdistill.networks.trunk import cut

SMALL = "mobilenetv3_small_050"


def test_lite0_cut_costs_what_is_documented():
    cost = count(registry.build("lite0_cut", 7), 128)
    assert cost.parameters == 184_631
    assert cost.macs == 47_143_232


def test_lite0_cut_ends_after_two_blocks_of_the_fourth_stage():
    whole = timm.create_model("tf_efficientnet_lite0")
    stages = [len(stage) for stage in whole.blocks[:3]] + [2]
    trunk = registry.build("lite0_cut", 7)
    assert len(trunk.blocks) == sum(stages)
    ours = [[p.shape for p in block.parameters()] for block in trunk.blocks]
    theirs = [[p.shape for p in block.parameters()] for stage in whole.blocks[:4] for block in stage]
    assert ours == theirs[: len(ours)]


def test_lite0_cut_carries_the_packages_weights():
    weights = package_weights("tf_efficientnet_lite0")
    trunk = registry.build("lite0_cut", 7, weights="package")
    kept = [weights[f"conv_stem.{name}"] for name in trunk.stem[0].state_dict()]
    kept += [weights[f"bn1.{name}"] for name in trunk.stem[1].state_dict()]
    prefixes = ["0.0", "1.0", "1.1", "2.0", "2.1", "3.0", "3.1"]
    for prefix, block in zip(prefixes, trunk.blocks, strict=True):
        kept += [weights[f"blocks.{prefix}.{name}"] for name in block.state_dict()]
    ours = [*trunk.stem.state_dict().values(), *trunk.blocks.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(ours, kept, strict=True))


def test_trunk_computes_what_the_whole_network_computes():
    torch.manual_seed(0)
    weights = package_weights("tf_efficientnet_lite0")
    whole = timm.create_model("tf_efficientnet_lite0")
    whole.load_state_dict(weights)
    trunk = registry.build("lite0_cut", 7, weights="package").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = whole.eval().bn1(whole.conv_stem(images))
        for stage in (*whole.blocks[:3], whole.blocks[3][:2]):
            expected = stage(expected)
        assert torch.equal(trunk.blocks(trunk.stem(images)), expected)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", SMALL, "ghostnet_100", "resnet18", "convnext_atto"])
def test_the_longest_trunk_that_fits(name):
    trunk = cut(name, 7, weights="none", image_size=64)
    cost = count(trunk, 64)
    assert cost.parameters <= BUDGET
    assert trunk.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    size = [p.shape for p in trunk.parameters()]
    cuts = ((n, cut(name, 7, blocks=n, weights="none")) for n in range(1, 30))
    kept, same = next((n, one) for n, one in cuts if [p.shape for p in one.parameters()] == size)
    assert count(same, 64) == cost
    assert count(cut(name, 7, blocks=kept + 1, weights="none"), 64).parameters > BUDGET


def test_a_smaller_budget_gives_a_shorter_trunk():
    long, short = (cut(SMALL, 7, weights="none", budget=budget, head=64) for budget in (200_000, 50_000))
    assert len(short.blocks) < len(long.blocks)
    assert count(short, 64).parameters <= 50_000


def test_feature_maps_carry_the_whole_networks_weights(tmp_path):
    whole = timm.create_model("resnet18")
    save_file(whole.state_dict(), tmp_path / "weights.safetensors")
    trunk = cut("resnet18", 7, weights="file", weights_file=tmp_path / "weights.safetensors").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = whole.eval().layer1(whole.maxpool(whole.act1(whole.bn1(whole.conv1(images)))))
        assert torch.equal(trunk.stem(images), expected)


def test_a_model_bound_to_its_image_size_can_be_cut():
    trunk = cut("test_vit", 7, weights="none", image_size=64).eval()
    assert trunk(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert count(trunk, 64).parameters <= BUDGET


def test_cutting_does_not_depend_on_the_search():
    """The head's initial weights are the same whether the number of blocks was found or given."""
    torch.manual_seed(3)
    found = cut(SMALL, 7, weights="none")
    torch.manual_seed(3)
    given = cut(SMALL, 7, blocks=len(found.blocks), weights="none")
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), given.state_dict().values(), strict=True))


def test_cutting_leaves_batchnorm_and_training_mode_alone():
    trunk = cut("resnet18", 7, weights="none")
    norms = [module for module in trunk.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.training and not norm.running_mean.any() for norm in norms)


def test_folding_a_pretrained_trunk_leaves_its_output():
    trunk = registry.build("lite0_cut", 7, weights="package").eval()
    fused = fuse(trunk)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    images = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(trunk(images), fused(images), atol=1e-5)


def test_nothing_fits_is_told():
    with pytest.raises(InputError, match=r"not even the first block of 'resnet18' with a head of 192 .* 1,000 par"):
        cut("resnet18", 7, weights="none", budget=1_000)


def test_too_many_blocks_are_told():
    with pytest.raises(InputError, match="has 12 blocks, cannot keep 13"):
        cut(SMALL, 7, blocks=13, weights="none")
    with pytest.raises(InputError, match="cannot keep 0"):
        cut(SMALL, 7, blocks=0, weights="none")


def test_a_model_without_feature_maps_is_told(monkeypatch):
    create = timm.create_model

    def without_maps(name, **options):
        if options.get("features_only"):
            raise RuntimeError("features_only not implemented")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", without_maps)
    with pytest.raises(InputError, match=r"'resnet18' cannot be cut: timm has no feature maps .*implemented"):
        cut("resnet18", 7, weights="none")


def test_a_model_with_channels_last_is_told():
    with pytest.raises(InputError, match=r"'swin_tiny.*' cannot be cut: its features are \(1, 16, 16, 96\)"):
        cut("swin_tiny_patch4_window7_224", 7, weights="none", image_size=64)
