"""A model as a Hugging Face repository, read back by timm's and huggingface_hub's own loaders without a network."""

import json
import re
import shutil
import socket

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import dermdistill
from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.export.module import Classifier
from dermdistill.files import read_json, sha256_file, write_json
from dermdistill.images.preprocess import resize_square
from dermdistill.networks.registry import Network
from dermdistill.predict.bundle import default_bundle, read_bundle, shipped_bundles
from dermdistill.predict.vectors import draw
from dermdistill.publish import hub
from dermdistill.publish.hub import publish_model
from dermdistill.publish.models import FIGURES, external_path, shipped_models

NAME = "lite0-cut-64"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No network: the hub's own switch, and none in truth."""

    def refuse(*_):
        raise AssertionError("something reached for the network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / NAME
    done = CliRunner().invoke(app, ["publish", "--model", NAME, "--to", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def answers(network, spec, mean, std):
    """The probabilities that a network with plain logits gives for each test vector."""
    for vector in spec.vectors.images:
        pixels = resize_square(Image.fromarray(draw(vector.image)), spec.input.size)
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        mean_, std_ = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        with torch.inference_mode():
            found = (network((image - mean_) / std_) / spec.temperature).softmax(1)[0].numpy()
        yield found, np.array(vector.probabilities), Image.fromarray(draw(vector.image))


def test_timm_reads_it_back(repository):

    network = timm.create_model(f"local-dir:{repository}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(network)
    spec = read_bundle(repository).spec
    assert tuple(config["input_size"]) == (3, 64, 64)
    assert network.pretrained_cfg["label_names"] == list(spec.classes)
    transform = timm.data.create_transform(**config, is_training=False)
    for found, expected, image in answers(network, spec, config["mean"], config["std"]):
        assert np.abs(found - expected).max() < 1e-4
        with torch.inference_mode():
            own = (network(transform(image)[None]) / spec.temperature).softmax(1)[0].numpy()
        assert np.abs(own - expected).max() < 0.05  # its resize rounds in another order


def test_the_lines_of_the_card_read_it_without_dermdistill(repository, monkeypatch):
    (code,) = re.findall(r"Without dermdistill:\n\n```python\n(.*?)```", (repository / "README.md").read_text(), re.S)
    assert "dermdistill" not in code
    names: dict = {}
    exec(compile(code.replace("FOLDER", str(repository)), "README.md", "exec"), names)  # noqa: S102
    config = read_json(repository / "config.json")["pretrained_cfg"]
    network, spec = names["network"].eval(), read_bundle(repository).spec
    for found, expected, _ in answers(network, spec, config["mean"], config["std"]):
        assert np.abs(found - expected).max() < 1e-4


def test_the_card_tells_licence_and_figures(repository):
    card = huggingface_hub.ModelCard.load(repository / "README.md")
    (known,) = [model for model in shipped_models() if model.name == NAME]
    assert card.data.license == {"CC BY-NC 4.0, CC-BY-NC": "cc-by-nc-4.0"}[known.licence]
    assert card.data.library_name == "timm"
    assert {"dermoscopy", "melanoma", "onnx"} <= set(card.data.tags)
    results = card.data.eval_results
    own = [one for one in results if one.dataset_type == "out-of-fold"]
    assert [one.metric_name for one in own] == ["AUROC", "AUROC within collections"]
    assert own[0].metric_value == round(known.out_of_fold.auroc.value, 4)
    external = [one for one in results if one.dataset_type == "external"]
    assert {one.metric_value for one in external if one.metric_type == "roc_auc"} == {
        round(test.auroc.value, 4) for test in known.external.values()
    }
    assert "not a medical device" in card.content


@pytest.fixture
def scored_bundle(tmp_path):
    """A bundle with all the figures that a report can have of it."""
    folder = shutil.copytree(shipped_bundles()[NAME], tmp_path / "bundle")
    figures = read_json(folder / FIGURES)
    figures["metrics"] = {
        "partial_auroc": {"value": 0.12345, "low": 0.1, "high": 0.15},
        "ece": {"value": 0.02, "low": None, "high": None},
    }
    rate = {"value": 0.95, "low": 0.9, "high": 1.0}
    figures["points"] = {"sensitivity_95": {"sensitivity": rate, "specificity": {**rate, "value": 0.5}}}
    write_json(folder / FIGURES, figures)
    return folder


def test_the_metadata_carry_partial_auroc_and_operating_points(scored_bundle):
    found = {(one.metric_type, one.metric_name): one.metric_value for one in hub._results(read_bundle(scored_bundle))}
    assert found["partial_auroc", "partial AUROC above 80 % sensitivity (of 0.2)"] == 0.1235
    assert found["ece", "expected calibration error"] == 0.02
    assert found["sensitivity", "sensitivity at the threshold for sensitivity 95 %"] == 0.95
    assert found["specificity", "specificity at the threshold for sensitivity 95 %"] == 0.5


def test_figures_and_external_tests_of_another_graph_are_left_out(scored_bundle, tmp_path, monkeypatch):
    """External tests are shown for the graph of their hash, and for no other."""
    external = read_json(external_path())
    external["bundles"][0]["model_onnx_sha256"] = sha256_file(scored_bundle / "model.onnx")
    write_json(tmp_path / "external.json", external)
    monkeypatch.setattr(hub, "external_path", lambda: tmp_path / "external.json")
    shown = [one for one in hub._results(read_bundle(scored_bundle)) if one.dataset_type == "external"]
    assert [one.metric_value for one in shown if one.metric_type == "roc_auc"] == [
        test["auroc"] for test in external["bundles"][0]["tests"]
    ]
    assert [one.metric_value for one in shown if one.metric_type == "sensitivity"] == [
        test["sensitivity"] for test in external["bundles"][0]["tests"]
    ]
    external["bundles"][0]["model_onnx_sha256"] = "0" * 64
    write_json(tmp_path / "external.json", external)
    figures = read_json(scored_bundle / FIGURES)
    write_json(scored_bundle / FIGURES, {**figures, "model_onnx_sha256": "0" * 64})
    assert hub._results(read_bundle(scored_bundle)) == []


def test_it_is_still_the_bundle(repository, tmp_path):
    for name in read_json(repository / "bundle.json")["files"]:
        assert sha256_file(repository / name) == sha256_file(shipped_bundles()[NAME] / name)
    Image.new("RGB", (600, 450), (222, 184, 160)).save(tmp_path / "a.png")
    one, other = (dermdistill.Predictor(model, gate="off") for model in (repository, NAME))
    here, there = (next(predictor.predict([tmp_path / "a.png"])) for predictor in (one, other))
    assert here.probabilities == there.probabilities is not None
    assert dermdistill.load_module(repository).classes == dermdistill.load_module(NAME).classes


def test_the_card_says_that_other_libraries_ask_no_gate():
    gated = read_bundle(default_bundle())
    files = {name: of for name, of in gated.spec.files.items() if name != "gate.onnx"}
    plain = gated.model_copy(update={"spec": gated.spec.model_copy(update={"files": files})})
    assert "## Gate" in hub._card(gated, None)
    assert "None of these asks the gate" in hub._card(gated, None)
    assert "asks the gate" not in hub._card(plain, None)


TENSOR = {"type": str, "format": str, "num_channels": int, "spatial_shape": list, "dtype": str, "value_range": list}
"""What MONAI's schema of 2024-07-25 requires of a tensor, and below of the whole."""
TEXTS = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors",
    "copyright",
)  # fmt: skip


def test_monai_finds_what_its_schema_requires(repository):
    found = json.loads((repository / "configs" / "metadata.json").read_text())
    assert all(isinstance(found[key], str) and found[key] for key in TEXTS)
    assert all(isinstance(found[key], dict) for key in ("required_packages_version", "network_data_format"))
    tensors = [tensor for group in found["network_data_format"].values() for tensor in group.values()]
    assert set(found["network_data_format"]) == {"inputs", "outputs", "post_processed_outputs"}
    for tensor in tensors:
        assert {key: type(tensor[key]) for key in TENSOR} == TENSOR
        assert len(tensor["channel_def"]) == tensor["num_channels"]
    assert found["network_data_format"]["inputs"]["image"]["spatial_shape"] == [64, 64]


def test_a_bundle_of_ones_own_with_and_without_its_run(trained, tmp_path):
    alone = publish_model(tmp_path / "alone", trained.bundle)
    whole = publish_model(tmp_path / "whole", trained.bundle, run=trained.run.folder)
    card = huggingface_hub.ModelCard.load(whole / "README.md")
    assert card.data.license == "cc0-1.0"
    assert "synthetic" in card.data.tags
    assert card.data.eval_results is None  # nothing is known of it
    network = dermdistill.build_student("repds", image_size=32)
    huggingface_hub.load_torch_model(network, whole / "model.safetensors", strict=True)
    spec = read_bundle(whole).spec
    config = read_json(whole / "config.json")
    assert "architecture" not in config  # timm does not know it
    for found, expected, _ in answers(network.eval(), spec, config["mean"], config["std"]):
        assert np.abs(found - expected).max() < 1e-4
    for folder in (alone, whole):
        assert dermdistill.load_module(folder).image_size == 32


def test_a_whole_timm_model_is_timms_own(tmp_path):
    torch.manual_seed(0)
    name = "test_vit"  # one that is bound to the size of its images
    module = timm.create_model(name, num_classes=7, img_size=64).eval()
    header = read_bundle(shipped_bundles()[NAME]).spec
    facts = header.model.model_copy(update={"name": f"timm:{name}"})
    header = header.model_copy(update={"model": facts})
    found = Classifier(Network(module, (0.5,) * 3, (0.5,) * 3), header.classes, 64, 1.0)
    architecture = hub._architecture(header, folded=False)
    assert (architecture, hub._architecture(header, folded=True)) == (name, None)
    write_json(tmp_path / "config.json", hub._config(header, found, architecture))
    save_file(hub._tensors(found, header, folded=False), tmp_path / "model.safetensors", metadata={"format": "pt"})
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(again(image), module(image))


def test_nothing_else_is_replaced(trained, repository, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="exists and is not empty; choose another folder"):
        publish_model(tmp_path / "mine", NAME, force=True)
    with pytest.raises(InputError, match="exists and is not empty; --force replaces it"):
        publish_model(repository, NAME)
    with pytest.raises(InputError, match="was not exported from the run"):
        publish_model(tmp_path / "new", NAME, run=trained.run.folder)
    assert not (tmp_path / "new").exists()
