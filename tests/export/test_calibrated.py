"""A bundle may hold any calibration: its graphs compute it, and all that reads them gives calibrated probabilities."""

import importlib
import json
import shutil
from functools import cache
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

import dermdistill
from dermdistill.classes import CLASSES
from dermdistill.cli import app
from dermdistill.distillation.distill import load_student
from dermdistill.errors import InputError, IntegrityError
from dermdistill.evaluate import calibrators
from dermdistill.evaluate.predictions import read_model
from dermdistill.export.bundle import export_bundle
from dermdistill.export.convert import convert
from dermdistill.export.formats.after_logits import calibration_nodes
from dermdistill.export.formats.calibrated import calibrated
from dermdistill.export.formats.onnx import Deployed
from dermdistill.export.formats.rebuild import Rebuilt
from dermdistill.export.formats.table import FORMATS
from dermdistill.export.parity import Photographs, check_parity
from dermdistill.export.rounding import Tuning, write_tuned
from dermdistill.export.scramble import scramble
from dermdistill.images.preprocess import load_rgb, resize_square
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.predictor import Predictor
from dermdistill.predict.runtime import OnnxRuntime, as_batch
from dermdistill.probabilities import Isotonic, Temperature
from dermdistill.publish import hub

MELANOMA = CLASSES.index("mel")
OTHERS = ("vector", "dirichlet", "isotonic", "beta")


@pytest.mark.parametrize("method", calibrators.METHODS)
@pytest.mark.parametrize("count", [2, 7])
def test_the_module_gives_what_the_report_gives(method: str, count: int):
    generator = np.random.default_rng(0)
    melanoma = count // 2
    labels = generator.integers(0, count, 800)
    logits = 3 * generator.normal(size=(800, count)) + 3 * (labels[:, None] == np.arange(count))
    right = calibrators.right_classes(count, labels, None)
    fitted = calibrators.fit(method, logits, right, melanoma, "validation")
    others = generator.normal(scale=5, size=(500, count)).astype(np.float32)
    found = calibrated(fitted.map, count, melanoma)(torch.from_numpy(others)).numpy()
    np.testing.assert_allclose(found, fitted.map.probabilities(others, melanoma), atol=1e-6)
    np.testing.assert_array_equal(fitted.map.probabilities(others, melanoma)[:, melanoma], fitted(others))


@pytest.fixture(scope="module")
def student(small, train_tiny, tmp_path_factory):
    """The finished run of a student that tells images apart, and its manifest as a file and a table."""
    manifest = small[0]
    folder = tmp_path_factory.mktemp("student")
    run = train_tiny(folder / "run", "dsnet", epochs=3)
    manifest.to_parquet(folder / "manifest.parquet")
    return SimpleNamespace(run=run.folder, manifest=manifest, file=folder / "manifest.parquet")


@pytest.fixture(scope="module")
def quick_exporter():
    """torch's exporter reads its table of operators, which takes half of its time, once."""
    registry = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "from_torchlib", staticmethod(cache(registry.from_torchlib)))
        yield


@pytest.fixture(scope="module")
def bundles(student, quick_exporter, tmp_path_factory):
    """A bundle of each other calibration, by its name; one is made by the command."""
    folder = tmp_path_factory.mktemp("calibrations")
    call = ["export", str(student.run), "--manifest", str(student.file), "--out", str(folder / "vector")]
    done = CliRunner().invoke(app, [*call, "--calibration", "vector"])
    assert done.exit_code == 0, done.output
    for method in OTHERS[1:]:
        export_bundle(student.run, folder / method, student.manifest, calibration=method)
    return {method: folder / method for method in OTHERS}


@pytest.mark.parametrize("method", OTHERS)
def test_everything_that_reads_a_bundle_gives_its_calibrated_probabilities(student, bundles, method):
    """The graphs, the predictor and the module, against the numbers of bundle.json and the logits of training."""
    bundle = read_bundle(bundles[method])
    assert (bundle.spec.calibration.method, bundle.spec.temperature) == (method, 1)
    told = read_model(student.run)
    paths = student.manifest.set_index("image_id")["path"].loc[told.table["image_id"]][:12]
    logits = told.logits(paths.index)
    expected = bundle.spec.calibration.probabilities(logits, MELANOMA)
    results = list(Predictor(bundle).predict(paths))
    np.testing.assert_allclose([result.probabilities for result in results], expected, atol=1e-4)
    assert np.ptp(expected[:, MELANOMA]) > 0.02  # else this would show nothing
    assert np.abs(expected - Temperature(temperature=1).probabilities(logits, MELANOMA)).max() > 0.01
    pixels = OnnxRuntime(bundle.pixels_graph)
    found = [pixels.run(["probabilities"], np.asarray(load_rgb(path)))[0] for path in paths[:3]]
    np.testing.assert_allclose(found, expected[:3], atol=1e-3)
    images = torch.from_numpy(np.stack([resize_square(load_rgb(path), 32) for path in paths])).permute(0, 3, 1, 2)
    module = dermdistill.load_module(bundle.folder)
    with torch.inference_mode():
        rebuilt, whole = Rebuilt(bundle.graph)(images / 255)[1], module.probabilities(images)
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    np.testing.assert_allclose(rebuilt, expected, atol=1e-4)
    assert not [name for name in module.state_dict() if "calibrated" in name]


@pytest.mark.parametrize("method", OTHERS)
def test_the_thresholds_hold_after_the_calibration(student, bundles, method):
    """Run on the validation images, `predict` itself keeps the promise of each threshold."""
    told = read_model(student.run)
    rows = student.manifest.set_index("image_id").loc[told.ids("validation")]
    melanoma = rows["melanoma"].to_numpy() == 1
    spec = read_bundle(bundles[method]).spec
    assert all(point.chosen_on == "validation" for point in spec.thresholds.values())
    p = np.array([result.p_melanoma for result in Predictor(bundles[method]).predict(rows["path"])])
    for name, point in spec.thresholds.items():
        assert (p >= point.value)[melanoma].mean() == pytest.approx(point.sensitivity), name
        assert (p < point.value)[~melanoma].mean() == pytest.approx(point.specificity), name


def test_the_card_and_the_graph_say_which_calibration(bundles):
    for method, folder in bundles.items():
        card = (folder / "MODEL_CARD.md").read_text()
        assert method in card.lower()
        assert "temperature of" not in card
        content = json.loads((folder / "bundle.json").read_text())
        for name in ("model.onnx", "pixels.onnx"):
            graph = onnx.load(folder / name)
            metadata = {entry.key: entry.value for entry in graph.metadata_props}
            assert json.loads(metadata["dermdistill.calibration"]) == content["calibration"]
        header = read_bundle(folder).spec
        assert f"the {method} calibration" in hub._loading(header, "mobilenetv3_small_100")
        content.pop("calibration")
        assert f"Divide them by {1:.6f}" in hub._loading(type(header).model_validate(content), "test")


def test_a_bundle_json_that_hides_its_calibration_is_refused(bundles, tmp_path):
    shutil.copytree(bundles["beta"], tmp_path / "bundle")
    path = tmp_path / "bundle" / "bundle.json"
    content = json.loads(path.read_text())
    del content["calibration"]
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="its graph has another 'calibration'"):
        Predictor(tmp_path / "bundle")


def test_a_temperature_leaves_no_trace(trained):
    """A bundle of it is byte for byte what it was before there were others."""
    assert "calibration" not in json.loads((trained.bundle / "bundle.json").read_text())
    graph = onnx.load(trained.bundle / "model.onnx")
    assert [node.op_type for node in calibration_nodes(graph)] == ["Div", "Softmax"]
    assert not [entry for entry in graph.metadata_props if "calibration" in entry.key]


def test_quantisers_leave_the_calibration_alone(bundles, tmp_path, monkeypatch):
    """Each form agrees with model.onnx within its tolerance; of 8 bits, operators after the logits stay float32."""
    monkeypatch.delenv("DERMDISTILL_DATA", raising=False)
    if reason := FORMATS["onnx-int8"].needs():
        pytest.skip(f"onnx-int8 {reason}")
    convert(bundles["isotonic"], ["onnx-fp16", "onnx-int8"], tmp_path / "b", count=60, tell=lambda line: None)
    whole = calibration_nodes(onnx.load(tmp_path / "b" / "model.onnx"))
    for name in ("model.fp16.onnx", "model.int8.onnx"):
        graph = onnx.load(tmp_path / "b" / name)
        found = calibration_nodes(graph)
        assert sorted(node.op_type for node in found) == sorted(node.op_type for node in whole), name  # and no casts
        constants = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
        kinds = {constants.get(value, onnx.TensorProto.FLOAT) for node in found for value in node.input}
        assert kinds == {onnx.TensorProto.FLOAT}, name


def test_a_network_that_is_tuned_for_8_bits_keeps_its_calibration(bundles, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    write_tuned(read_bundle(bundles["isotonic"]), images, tmp_path / "g.onnx", Tuning(steps=1, learning_rate=0))
    before, after = (
        OnnxRuntime(path).run(["probabilities"], as_batch(images))[0]
        for path in (bundles["isotonic"] / "model.onnx", tmp_path / "g.onnx")
    )
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_what_is_scrambled_is_the_network(bundles, tmp_path):
    count = scramble(bundles["isotonic"] / "model.onnx", 1.0, 0, tmp_path / "g.onnx")
    assert count == scramble(bundles["vector"] / "model.onnx", 1.0, 0, tmp_path / "g.onnx") == 4


def test_a_calibration_that_is_too_steep_is_not_written(student, bundles):
    """The logits agree and the probabilities do not: the message says why, and what to take instead."""
    network, header = load_student(student.run)
    step = Isotonic(lowest=0.1, starts=(0.0,), widths=(1e-6,), rises=(0.8,))
    jumping = Deployed(network, header.mean, header.std, calibrated=calibrated(step, len(CLASSES), MELANOMA))
    with pytest.raises(IntegrityError, match=r"nothing was written\. The logits agree: .*--calibration temperature"):
        check_parity(jumping, bundles["isotonic"], 32, Photographs((), np.array([]), MELANOMA, 0.5))


def test_a_calibration_needs_a_run(tmp_path):
    call = ["export", "--from", "lite0-cut-64", "--formats", "onnx-fp16", "--out", str(tmp_path / "b")]
    done = CliRunner().invoke(app, [*call, "--calibration", "beta"])
    assert isinstance(done.exception, InputError) or done.exit_code != 0
    assert "--calibration needs a run" in f"{done.output} {done.exception}"
