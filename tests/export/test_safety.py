"""What an export promises beyond the graph: the licence of the data, and that nobody's files are lost."""

import json
import shutil

import onnx
import pandas as pd
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from dermdistill.classes import BINARY_CLASSES, DISCLAIMER
from dermdistill.cli import app
from dermdistill.data.manifest import manifest_hash
from dermdistill.errors import InputError, IntegrityError
from dermdistill.evaluate.predictions import read_model
from dermdistill.evaluate.report import evaluate
from dermdistill.evaluate.spec import DERMATOLOGIST
from dermdistill.export import bundle as bundle_module
from dermdistill.export.bundle import export_bundle
from dermdistill.export.place import swap
from dermdistill.files import sha256_file
from dermdistill.networks.registry import build
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.predictor import Predictor

NON_COMMERCIAL = "CC BY-NC 4.0"
pytestmark = pytest.mark.usefixtures("graphs_made_once")


def _header(folder, **changes):
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def of_source(trained, tmp_path):
    """of_source(names, licences): the trained run, as if its images had come from these sources in turn."""

    def make(names, licences):
        folder = tmp_path / "run"
        shutil.copytree(trained.run.folder, folder)
        count = len(trained.manifest)
        manifest = trained.manifest.assign(
            source=pd.array((names * count)[:count], "string"), licence=pd.array((licences * count)[:count], "string")
        )
        inputs = {**trained.run.trained().inputs.plain(), "manifest": manifest_hash(manifest)}
        _header(folder, inputs=inputs, data_sources=sorted(set(names)))
        return folder, manifest

    return make


@pytest.mark.parametrize("licences", [[NON_COMMERCIAL], [None], [None, "CC0-1.0"]], ids=["told", "untold", "in part"])
def test_ham10000_makes_the_weights_non_commercial(of_source, tmp_path, licences):
    """Also when the manifest leaves the column `licence` empty, which it may."""
    folder = export_bundle(*_arguments(of_source(["ham10000", "isic2017"], licences), tmp_path / "bundle"))
    spec = json.loads((folder / "bundle.json").read_text())
    assert spec["licence"] == {"code": "Apache-2.0", "weights": NON_COMMERCIAL}
    assert spec["data"]["synthetic"] is False
    assert spec["intended_use"] == DISCLAIMER
    card = (folder / "MODEL_CARD.md").read_text()
    assert card.count(NON_COMMERCIAL) >= 2  # of the images, of the weights
    assert DISCLAIMER in card
    assert "not a medical device" in card.lower()
    assert "SYNTHETIC" not in card
    assert "Tschandl" in card
    assert "no commercial use" in (folder / "LICENSE-WEIGHTS.txt").read_text()
    metadata = {entry.key: entry.value for entry in onnx.load(folder / "model.onnx").metadata_props}
    assert json.loads(metadata["dermdistill.licence"])["weights"] == NON_COMMERCIAL


def _taught(licences):
    return [{"name": "t", "model": "net", "image_size": 32, "model_sha256": "0" * 64, "licences": licences}]


@pytest.mark.parametrize(
    ("teachers", "weights"),
    [
        ({"taught_by": _taught([NON_COMMERCIAL, "CC0-1.0"])}, NON_COMMERCIAL),
        ({"taught_by": _taught(["CC BY 4.0"])}, "CC BY 4.0"),
        ({"taught_by": _taught(["CC0-1.0"])}, "CC0-1.0"),
        ({"taught_by": _taught(None)}, "unknown"),
        ({"taught_by": _taught(["CC0-1.0"]) + _taught([NON_COMMERCIAL])}, NON_COMMERCIAL),
    ],
)
def test_a_student_of_free_images_is_bound_by_its_teachers(of_source, tmp_path, teachers, weights):
    run, manifest = of_source(["isic2017"], ["CC0-1.0"])
    _header(run, **teachers)
    folder = export_bundle(run, tmp_path / "bundle", manifest)
    spec = read_bundle(folder).spec
    told = {licence for teacher in teachers["taught_by"] for licence in teacher["licences"] or ["unknown"]}
    assert spec.licence.weights == weights
    assert (spec.data.licences, set(spec.data.teachers_licences)) == (("CC0-1.0",), told)
    text = (folder / "LICENSE-WEIGHTS.txt").read_text()
    assert f"Licence of the weights of 'tiny': {weights}" in text
    assert ("no commercial use" in text) == (weights == NON_COMMERCIAL)
    assert "Licences of the images that its teachers learned from: " in (folder / "MODEL_CARD.md").read_text()


def test_a_student_whose_run_does_not_name_its_teachers_is_not_free(of_source, tmp_path):
    run, manifest = of_source(["isic2017"], ["CC0-1.0"])
    content = json.loads((run / "run.json").read_text())
    del content["taught_by"]
    content["recipe"]["labels"] = "bank"
    (run / "run.json").write_text(json.dumps(content))
    assert read_bundle(export_bundle(run, tmp_path / "bundle", manifest)).spec.licence.weights == "unknown"


@pytest.mark.parametrize(
    ("licence", "data"),
    [
        ("CC0-1.0", {"licences": ["CC0-1.0", NON_COMMERCIAL]}),
        ("CC BY 4.0", {"licences": ["CC0-1.0"], "teachers_licences": [NON_COMMERCIAL]}),
        ("CC BY 4.0", {"licences": ["unknown"]}),
        ("MIT", {"licences": [NON_COMMERCIAL]}),
    ],
)
def test_a_licence_that_was_made_freer_is_refused(trained, tmp_path, licence, data):
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    content = json.loads((folder / "bundle.json").read_text())
    content["licence"]["weights"] = licence
    content["data"] |= data
    (folder / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=f"licence.weights is '{licence}', which is freer than the images"):
        read_bundle(folder)


def test_a_bundle_from_before_teachers_licences_were_kept_is_read(trained, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    content = json.loads((folder / "bundle.json").read_text())
    del content["data"]["teachers_licences"]
    (folder / "bundle.json").write_text(json.dumps(content))
    assert read_bundle(folder).spec.data.teachers_licences == ()


def _arguments(run_and_manifest, out):
    run, manifest = run_and_manifest
    return run, out, manifest


def test_images_of_no_known_licence_are_not_passed_off_as_free(of_source, tmp_path):
    folder = export_bundle(*_arguments(of_source(["folders", "isic2017"], [None, "CC0-1.0"]), tmp_path / "bundle"))
    assert "unknown" in json.loads((folder / "bundle.json").read_text())["licence"]["weights"]


def test_the_graph_holds_every_fact_that_a_prediction_needs(trained):
    metadata = {entry.key: entry.value for entry in onnx.load(trained.bundle / "model.onnx").metadata_props}
    spec = json.loads((trained.bundle / "bundle.json").read_text())
    assert all(key.startswith("dermdistill.") for key in metadata)
    assert metadata.pop("dermdistill.format") == "dermdistill-bundle/1"  # its bytes are the same in both formats
    for key in set(spec) - {"files", "format", "model", "parity", "pixels", "vectors"}:  # known later, or not needed
        found = metadata[f"dermdistill.{key}"]
        assert (found if isinstance(spec[key], str) else json.loads(found)) == spec[key], key


def test_no_file_of_a_bundle_says_where_it_was_made(trained):
    for path in trained.bundle.iterdir():
        content = path.read_bytes()
        for place in (trained.run.folder.parent, trained.manifest["path"][0]):
            assert str(place).encode() not in content, path.name


def test_a_model_of_two_classes(trained, photos, tmp_path):
    """Its melanoma column is the second, and its columns follow its classes."""
    folder = tmp_path / "run"
    shutil.copytree(trained.run.folder, folder)
    save_file(build("repds", 2, image_size=32, weights="none").state_dict(), folder / "model.safetensors")
    table = pd.read_parquet(folder / "predictions.parquet")
    table = table[["image_id", "role"]].assign(logit_other=0.0, logit_mel=[0.1 * row for row in range(len(table))])
    table.to_parquet(folder / "predictions.parquet")
    _header(folder, classes=list(BINARY_CLASSES), model_sha256=sha256_file(folder / "model.safetensors"))
    bundle = export_bundle(folder, tmp_path / "bundle", trained.manifest)
    run = CliRunner().invoke(app, ["predict", "--model", str(bundle), "--format", "jsonl", str(photos.good)])
    assert run.exit_code == 0, run.output
    row = json.loads(run.stdout.splitlines()[0])
    assert list(row)[5:] == ["p_other", "p_mel"]
    assert row["p_melanoma"] == row["p_mel"] == pytest.approx(1 - row["p_other"], abs=2e-6)


def test_a_graph_that_disagrees_leaves_nothing_where_nothing_was(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_module, "check_parity", lambda *_: (_ for _ in ()).throw(IntegrityError("differs")))
    with pytest.raises(IntegrityError, match="differs"):
        export_bundle(trained.run.folder, tmp_path / "bundle", trained.manifest)
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_bundles_and_nothing_else(trained, tmp_path):
    notes = tmp_path / "thesis"
    notes.mkdir()
    (notes / "chapter1.txt").write_text("years of work")
    file = tmp_path / "file"
    file.write_text("kept")
    for out in (notes, file):
        with pytest.raises(InputError, match="is not a bundle"):
            export_bundle(trained.run.folder, out, trained.manifest, force=True)
    assert [path.name for path in notes.iterdir()] == ["chapter1.txt"]
    assert file.read_text() == "kept"
    (tmp_path / "empty").mkdir()
    assert Predictor(export_bundle(trained.run.folder, tmp_path / "empty", trained.manifest, force=True))


def test_force_replaces_a_link_to_a_bundle_and_not_what_it_points_to(trained, tmp_path):
    shutil.copytree(trained.bundle, tmp_path / "first")
    (tmp_path / "current").symlink_to(tmp_path / "first")
    out = export_bundle(trained.run.folder, tmp_path / "current", trained.manifest, name="second", force=True)
    assert Predictor(out).bundle.spec.name == "second"
    assert Predictor(tmp_path / "first").bundle.spec.name == "tiny"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "first"]


def test_an_old_bundle_comes_back_when_the_new_one_cannot_take_its_place(trained, tmp_path):
    shutil.copytree(trained.bundle, tmp_path / "bundle")
    with pytest.raises(FileNotFoundError):
        swap(tmp_path / "gone" / "bundle", tmp_path / "bundle")
    (tmp_path / "temporary").mkdir()
    with pytest.raises(FileNotFoundError):
        swap(tmp_path / "temporary" / "bundle", tmp_path / "bundle")
    assert Predictor(tmp_path / "bundle").bundle.spec.name == "tiny"


def test_without_force_the_command_touches_nothing(trained, tmp_path):
    shutil.copytree(trained.bundle, tmp_path / "b")
    (tmp_path / "b" / "MODEL_CARD.md").write_text("mine")
    trained.manifest.to_parquet(tmp_path / "m.parquet")
    call = ["export", str(trained.run.folder), "--manifest", str(tmp_path / "m.parquet"), "--out", str(tmp_path / "b")]
    run = CliRunner().invoke(app, call)
    assert isinstance(run.exception, InputError)
    assert run.exception.exit_code == 2
    assert "--force" in str(run.exception)
    assert (tmp_path / "b" / "MODEL_CARD.md").read_text() == "mine"


def test_the_figures_of_a_report_stand_in_the_card(trained, tmp_path):
    run = {"tiny": read_model(trained.run.folder)}
    report = evaluate(trained.manifest, run, tmp_path / "report", replicates=100).model_dump(mode="json")
    figure = {"value": 0.8125, "low": 0.75, "high": 0.9, "undefined": 0, "reason": None}
    undefined = {**figure, "value": None, "low": None, "high": None, "reason": "no melanoma"}
    report["models"]["tiny"] |= {
        "metrics": {"auroc": {**figure, "n": 21, "positives": 3}, "ppv": {**undefined, "n": 21, "positives": 3}},
        "realised": {"sensitivity_95": {"sensitivity": figure, "specificity": figure, "ppv": undefined}},
        "subgroups": {
            "source: far": {"n": 12, "positives": 3, **figure},
            "sex: f": {"n": 1, "positives": 0, **undefined},
        },
    }
    report["data"] |= {"n": 21, "positives": 3}
    (tmp_path / "report.json").write_text(json.dumps(report))
    out = export_bundle(trained.run.folder, tmp_path / "b", trained.manifest, report=tmp_path / "report.json")
    card = (out / "MODEL_CARD.md").read_text()
    assert "| auroc | 0.812 | 0.750 to 0.900 |" in card
    assert "21 held-out images with 3 melanomas" in card
    assert "| ppv" not in card
    assert "| `sensitivity_95` | 0.812 [0.750, 0.900] | 0.812 [0.750, 0.900] | undefined |" in card
    assert "| source: far | 12 | 3 | 0.812 [0.750, 0.900] |" in card
    assert "sex: f" not in card


def test_the_bundle_and_the_report_choose_alike(trained, tmp_path):
    own = evaluate(trained.manifest, {"m": read_model(trained.run.folder)}, tmp_path, replicates=100).models["m"]
    bundle = read_bundle(trained.bundle).spec
    assert bundle.temperature == own.temperature
    assert {name: point.value for name, point in bundle.thresholds.items()} == {
        name: point.value
        for name, point in own.thresholds.items()
        if point.value is not None and name != DERMATOLOGIST  # human readers are the report's
    }


def test_what_is_no_report_is_told(trained, tmp_path):
    (tmp_path / "report.json").write_text('{"format": "other/1"}')
    with pytest.raises(IntegrityError, match="not a dermdistill-report/1 file"):
        export_bundle(trained.run.folder, tmp_path / "b", trained.manifest, report=tmp_path / "report.json")


def test_a_report_that_is_not_there_is_told(trained, tmp_path):
    with pytest.raises(InputError, match=r"no such file: .*reprot\.json"):
        export_bundle(trained.run.folder, tmp_path / "b", trained.manifest, report=tmp_path / "reprot.json")
    assert list(tmp_path.iterdir()) == []
