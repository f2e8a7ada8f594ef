"""Students by name, what they cost, and folding."""

import copy

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError, IntegrityError
from dermdistill.networks.cost import count, fuse
from dermdistill.networks.registry import BUDGET, build, check_budget, names, spec, table

SMALL = "timm:mobilenetv3_small_050"


def settle(model, size=64):
    """Give BatchNorm statistics and weights of its own, as training does."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("name", [*names(), SMALL, SMALL + "@cut"])
def test_every_student_gives_logits_at_its_own_size(name):
    size = spec(name).image_size
    model = build(name, 7).eval()
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_every_student_of_our_own_fits_the_budget():
    rows = table()
    assert [known.name for known, _ in rows] == names()
    for known, cost in rows:
        check_budget(cost.parameters)
        assert cost.macs > 1e7, known


def test_specs():
    assert spec("dsnet").image_size == 224
    assert spec("repds").image_size == spec("lite0_cut").image_size == 128
    assert spec("lite0_cut").mean == (0.5, 0.5, 0.5)
    assert spec("timm:resnet18@cut").mean == (0.485, 0.456, 0.406)
    assert "cut to the budget" in spec("timm:resnet18@cut").description


def test_unknown_student_is_told_the_known():
    told = r"no student is called 'dsnett'; did you mean 'dsnet'\? There are dsnet, repds, lite0_cut, timm:"
    with pytest.raises(InputError, match=told):
        build("dsnett", 7)
    with pytest.raises(InputError, match="no model 'resnet81'; close are"):
        spec("timm:resnet81")


def test_dsnet_takes_the_image_size():
    assert build("dsnet", 2, image_size=64)(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


def test_weights_reach_timm_students(tmp_path):
    state = timm.create_model("mobilenetv3_small_050", num_classes=3).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    student = build(SMALL, 7, weights="file", weights_file=tmp_path / "weights.safetensors").state_dict()
    assert torch.equal(student["conv_stem.weight"], state["conv_stem.weight"])


def test_budget():
    check_budget(BUDGET)
    with pytest.raises(InputError, match=r"has 270,001 parameters at inference, the budget is 270,000; .*@cut"):
        check_budget(BUDGET + 1)
    check_budget(5, limit=5)


def test_count_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7),
    )  # fmt: skip
    cost = count(model, 32)
    assert cost.parameters == (216 + 8) + (72 + 8) + (56 + 7)  # BatchNorm leaves a bias
    assert cost.macs == 16 * 16 * 216 + 16 * 16 * 72 + 56


def test_count_leaves_the_model_and_the_random_state_alone():
    model = build("repds", 7).train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    count(model, 64)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "name", ["mobilenetv3_small_050", "tf_efficientnet_lite0", "resnet18", "mobileone_s0", "repvgg_a0", "densenet121"]
)
def test_folding_timm_models_leaves_their_output(name):
    model = settle(timm.create_model(name, num_classes=7))
    fused = fuse(model)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        assert torch.allclose(expected, fused(images), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    if name == "densenet121":  # its BatchNorms stand before convolutions, all but some
        assert 0 < norms < sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    else:
        assert norms == 0


def test_folding_merges_parallel_branches():
    model = timm.create_model("repvgg_a0", num_classes=7)
    fused = fuse(model)
    kernels = [module.kernel_size for module in fused.modules() if isinstance(module, nn.Conv2d)]
    assert set(kernels) == {(3, 3)}


def test_folding_leaves_the_model_alone():
    model = settle(build("repds", 7)).train()
    before = copy.deepcopy(model.state_dict())
    fused = fuse(model)
    assert model.training
    assert not fused.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_activation_in_place_between_convolution_and_batchnorm_is_seen():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4))
    assert isinstance(fuse(settle(model))[2], nn.BatchNorm2d)


def test_batchnorm_without_statistics_or_after_something_else_stays():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.BatchNorm2d(4)
    )
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fuse(model).modules()) == 2


def test_folding_that_changes_the_output_is_refused():
    class Twice(nn.Module):
        """Its convolution's output also goes around the BatchNorm, so that folding cannot be right."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, images):
            features = self.conv(images)
            return features + self.norm(features)

    with pytest.raises(IntegrityError, match="folding BatchNorm changed the output by"):
        fuse(settle(Twice()))


def test_models_bound_to_an_image_size_are_counted():
    assert count(build("timm:test_vit", 7, image_size=64), 64).macs > 1e6


def test_the_command_lists_every_student_with_its_cost():
    run = CliRunner().invoke(app, ["students"], env={"COLUMNS": "200"})
    assert run.exit_code == 0, run.output
    for known, cost in table():
        (line,) = [line for line in run.stdout.splitlines() if f" {known.name} " in line]
        assert f"{cost.parameters:,}" in line
        assert f"{cost.macs / 1e6:.1f}" in line
        assert " yes " in line
