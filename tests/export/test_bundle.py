import json
import re
import shutil

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from dermdistill.classes import CLASSES, DISCLAIMER
from dermdistill.cli import app
from dermdistill.data.training_keys import read_training_keys, shared
from dermdistill.distillation.distill import load_student
from dermdistill.errors import InputError, IntegrityError
from dermdistill.evaluate.predictions import read_model
from dermdistill.export import bundle as bundle_module
from dermdistill.export.bundle import export_bundle
from dermdistill.export.formats.onnx import Deployed
from dermdistill.export.parity import Photographs, check_parity
from dermdistill.files import sha256_file
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.predictor import Predictor
from dermdistill.probabilities import softmax


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_graph_gives_what_the_network_gives_for_any_batch(trained, count):
    model, header = load_student(trained.run.folder)
    temperature = read_bundle(trained.bundle).spec.temperature
    deployed = Deployed(model, header.mean, header.std, temperature)
    images = np.random.default_rng(count).random((count, 3, 32, 32), np.float32)
    with torch.inference_mode():
        logits, probabilities = (part.numpy() for part in deployed(torch.from_numpy(images)))
    session = onnxruntime.InferenceSession(str(trained.bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(["logits", "probabilities"], {"image": images})
    np.testing.assert_allclose(found[0], logits, atol=1e-4)
    np.testing.assert_allclose(found[1], probabilities, atol=1e-5)


def test_the_bundle_gives_the_probabilities_that_the_report_judges(trained):
    """Predictions of training, calibrated, are what `predict` says of the same files."""
    table = pd.read_parquet(trained.run.predictions)
    logits = table[[f"logit_{name}" for name in CLASSES]].to_numpy(float)
    predictor = Predictor(trained.bundle)
    expected = softmax(logits, predictor.bundle.spec.temperature)
    files = trained.manifest.set_index("image_id")["path"].loc[table["image_id"]]
    found = np.array([result.probabilities for result in predictor.predict(files)])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_graph_says_what_it_is_and_nothing_of_where_it_was_made(trained):
    graph = onnx.load(trained.bundle / "model.onnx")
    metadata = {entry.key.removeprefix("dermdistill."): entry.value for entry in graph.metadata_props}
    spec = json.loads((trained.bundle / "bundle.json").read_text())
    for key in ("classes", "input", "thresholds", "licence", "data", "temperature"):
        assert json.loads(metadata[key]) == spec[key], key
    assert spec["data"]["manifest_sha256"] == trained.run.trained().inputs.manifest
    assert spec["data"]["synthetic"] is True
    assert metadata["intended_use"].startswith("SYNTHETIC")
    content = (trained.bundle / "model.onnx").read_bytes()
    assert not re.search(rb"\.py\b|/home/|/tmp/|/work/|site-packages", content)
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    assert not graph.graph.value_info, "shapes that runtimes infer take room"


def test_a_bundle_tells_what_its_model_has_learned_from(trained):
    found = read_training_keys(trained.bundle / "training-keys.npz")
    images = trained.manifest.set_index("image_id", drop=False)
    learned = shared(images, found)["exact copy"]
    assert learned.sum() == trained.run.trained().roles["train"]
    judged = read_model(trained.run.folder).table["image_id"]
    assert not learned[images.index.isin(judged)].any()


def test_the_card_and_the_licence(trained, tmp_path):
    card = (trained.bundle / "MODEL_CARD.md").read_text()
    assert DISCLAIMER in card
    assert "SYNTHETIC" in card
    assert trained.run.trained().inputs.manifest in card
    recipe = json.loads(card.split("```json\n")[1].split("```")[0])
    assert recipe["loss"]["kind"] == "ce"
    assert "weights_file" not in recipe
    licence = (trained.bundle / "LICENSE-WEIGHTS.txt").read_text()
    assert "non-commercial" not in licence


def test_a_non_commercial_source_binds_the_weights(trained):
    spec = read_bundle(trained.bundle).spec
    bound = {
        "licence": spec.licence.model_copy(update={"weights": "CC-BY-NC-4.0"}),
        "data": spec.data.model_copy(update={"sources": ("ham10000", "isic2017")}),
        "intended_use": DISCLAIMER,
    }
    text = bundle_module.weights_licence(spec.model_copy(update=bound))
    assert "no commercial use" in text
    assert "Tschandl" in text
    assert DISCLAIMER in text


def test_the_thresholds_hold_on_the_validation_images(trained):
    table = pd.read_parquet(trained.run.predictions).query("role == 'validation'")
    spec = read_bundle(trained.bundle).spec
    p = softmax(table[[f"logit_{name}" for name in CLASSES]].to_numpy(float), spec.temperature)[:, 4]
    y = trained.manifest.set_index("image_id")["melanoma"].loc[table["image_id"]].to_numpy()
    point = spec.thresholds["sensitivity_95"]
    assert (p[y == 1] >= point.value).mean() == pytest.approx(point.sensitivity)
    assert point.sensitivity >= 0.95
    assert (p[y == 0] < point.value).mean() == pytest.approx(point.specificity)


def test_a_graph_that_disagrees_is_never_written(trained, tmp_path, monkeypatch):
    """The old bundle stays, byte for byte, and nothing lies around."""
    out = tmp_path / "bundle"
    shutil.copytree(trained.bundle, out)
    before = _contents(out)
    real = bundle_module.write_onnx

    def another_graph(deployed, size, path, metadata):
        other = Deployed(deployed.model, [0.1, 0.1, 0.1], [0.9, 0.9, 0.9], 3.0)
        real(other, size, path, metadata)

    monkeypatch.setattr(bundle_module, "write_onnx", another_graph)
    with pytest.raises(IntegrityError, match=r"does not agree with PyTorch.*nothing was written"):
        export_bundle(trained.run.folder, out, trained.manifest, force=True)
    assert _contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_parity_notices_a_graph_that_gives_nan(trained, tmp_path):
    model, header = load_student(trained.run.folder)
    with torch.no_grad():
        next(iter(model.parameters())).fill_(torch.nan)
    deployed = Deployed(model, header.mean, header.std, 1.0)
    with pytest.raises(IntegrityError, match="does not agree"):
        check_parity(deployed, trained.bundle, 32, Photographs((), np.array([]), 4, 0.5))


def test_what_cannot_be_exported_is_refused(trained, tmp_path):
    with pytest.raises(InputError, match="exists; choose another folder"):
        export_bundle(trained.run.folder, trained.bundle, trained.manifest)
    with pytest.raises(InputError, match="not the one that"):
        export_bundle(trained.run.folder, tmp_path / "b", trained.manifest.iloc[1:])
    unfinished = tmp_path / "run"
    shutil.copytree(trained.run.folder, unfinished)
    header = json.loads((unfinished / "run.json").read_text())
    (unfinished / "run.json").write_text(json.dumps({**header, "status": "running"}))
    with pytest.raises(InputError, match="is not finished"):
        export_bundle(unfinished, tmp_path / "b", trained.manifest)
    (unfinished / "run.json").write_text(json.dumps(header))
    weights = load_file(unfinished / "model.safetensors")
    weights.pop(next(name for name in weights if name.endswith(".weight")))
    save_file(weights, unfinished / "model.safetensors")
    with pytest.raises(IntegrityError, match="was changed after the run had ended"):
        export_bundle(unfinished, tmp_path / "b", trained.manifest)
    other = {**header, "model_sha256": sha256_file(unfinished / "model.safetensors")}
    (unfinished / "run.json").write_text(json.dumps(other))
    with pytest.raises(IntegrityError, match="does not fit the network 'repds'"):
        export_bundle(unfinished, tmp_path / "b", trained.manifest)
    assert not (tmp_path / "b").exists()


def test_the_command(trained, tmp_path):
    trained.manifest.to_parquet(tmp_path / "m.parquet")
    call = ["export", str(trained.run.folder), "--manifest", str(tmp_path / "m.parquet"), "--out", str(tmp_path / "b")]
    first = CliRunner().invoke(app, [*call, "--name", "renamed"])
    assert first.exit_code == 0, first.output
    assert read_bundle(tmp_path / "b").spec.name == "renamed"
    again = CliRunner().invoke(app, [*call, "--force"])
    assert again.exit_code == 0, again.output
    assert read_bundle(tmp_path / "b").spec.name == "tiny"
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    assert next(Predictor(tmp_path / "b").predict([tmp_path / "x.png"])).status == "ok"
