import csv
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from dermdistill.classes import CLASSES
from dermdistill.cli import app
from dermdistill.errors import InputError, IntegrityError
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.predictor import Predictor

COLUMNS = ["file", "status", "p_melanoma", "decision", "message", *(f"p_{name}" for name in CLASSES)]


def _predict(trained, *arguments, stdin=None):
    return CliRunner().invoke(app, ["predict", "--model", str(trained.bundle), *map(str, arguments)], input=stdin)


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_for_each_image_in_the_order_given(trained, photos):
    listed = f"{photos.good / 'b.jpg'}\n\n{photos.good / 'a.png'}\n"
    run = _predict(trained, photos.good / "sub" / "c.png", photos.good, photos.good / "*.png", "-", stdin=listed)
    assert run.exit_code == 0, run.output
    assert run.stdout.splitlines()[0] == ",".join(COLUMNS)
    rows = _rows(run.stdout)
    names = [row["file"].replace(str(photos.good) + os.sep, "") for row in rows]
    assert names == ["sub/c.png", "a.png", "b.jpg", "sub/c.png", "a.png", "b.jpg", "a.png"]
    for row in rows:
        probabilities = [float(row[f"p_{name}"]) for name in CLASSES]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert float(row["p_melanoma"]) == float(row["p_mel"])
    assert rows[1] == rows[4]


def test_the_decision_follows_the_threshold(trained, photos):
    predictor = Predictor(trained.bundle)
    assert predictor.threshold == predictor.bundle.spec.thresholds["sensitivity_95"].value
    found = list(predictor.predict(sorted(photos.good.rglob("*.*"))))
    middle = sorted(result.p_melanoma for result in found)[1]
    for result in Predictor(trained.bundle, threshold=middle).predict(sorted(photos.good.rglob("*.*"))):
        assert result.decision == ("above_threshold" if result.p_melanoma >= middle else "below_threshold")
    assert [result.decision for result in found] == [
        row["decision"] for row in _rows(_predict(trained, *sorted(photos.good.rglob("*.*"))).stdout)
    ]
    assert {row["decision"] for row in _rows(_predict(trained, photos.good, "--threshold", "0").stdout)} == {
        "above_threshold"
    }
    assert {row["decision"] for row in _rows(_predict(trained, photos.good, "--threshold", "1").stdout)} == {
        "below_threshold"
    }


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_all_forms_hold_the_same(trained, photos, tmp_path, kind):
    out = tmp_path / f"result.{kind}"
    run = _predict(trained, photos.good, photos.bad / "text.jpg", "--format", kind, "--out", out)
    assert run.exit_code == 1
    assert run.stdout == ""
    assert "1 of 4 images could not be read" in run.stderr
    text = out.read_text()
    if kind == "csv":
        rows = _rows(text)
        assert rows[3]["p_melanoma"] == ""
    elif kind == "json":
        content = json.loads(text)
        assert "not a medical device" in content["disclaimer"].lower()
        assert content["model"] == "tiny"
        rows = content["results"]
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    assert [list(row) for row in rows] == [COLUMNS] * 4
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "not_an_image"]
    assert [path.name for path in tmp_path.glob("*result*")] == [out.name]


def test_what_cannot_be_read_is_told_in_its_row_and_the_rest_goes_on(trained, photos):
    files = [photos.bad / name for name in ("cut.jpg", "text.jpg", "empty.png", "small.png", "no.jpg")]
    run = _predict(trained, files[0], photos.good / "a.png", *files[1:], photos.good / "b.jpg")
    assert run.exit_code == 1
    rows = _rows(run.stdout)
    statuses = ["truncated", "ok", "not_an_image", "empty", "too_small", "missing", "ok"]
    assert [row["status"] for row in rows] == statuses
    for row in rows:
        bad = row["status"] != "ok"
        assert bad == (row["file"] in row["message"]) == (row["p_melanoma"] == "") == (row["decision"] == "")


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_the_batch_size_changes_nothing(trained, photos, batch):
    files = [photos.good / "a.png", photos.bad / "text.jpg", photos.good / "b.jpg", photos.good / "sub" / "c.png"]
    one = [result.probabilities for result in Predictor(trained.bundle).predict(files, 3)]
    other = [result.probabilities for result in Predictor(trained.bundle).predict(files, batch)]
    assert one[1] is other[1] is None
    np.testing.assert_allclose([one[0], *one[2:]], [other[0], *other[2:]], atol=1e-6)


def test_bytes_and_open_files_do_as_well(trained, photos):
    path = photos.good / "a.png"
    with path.open("rb") as stream:
        found = list(Predictor(trained.bundle).predict([path, path.read_bytes(), stream]))
    assert len({result.p_melanoma for result in found}) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no images given: name files"),
        (["--format", "xml", "a.png"], "xml"),
        (["--threshold", "often", "a.png"], "threshold must be one of"),
        (["--threshold", "1.5", "a.png"], "a number from 0 to 1"),
        (["nothing-*.png"], "matches nothing"),
        (["--model", "nowhere", "a.png"], "there is no bundle at nowhere"),
    ],
)
def test_wrong_usage_ends_with_code_2(arguments, told, trained, tmp_path):
    model = [] if "--model" in arguments else ["--model", str(trained.bundle)]
    command = [sys.executable, "-m", "dermdistill", "predict", *model, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_folder_without_images_is_told(trained, tmp_path):
    (tmp_path / "notes.txt").touch()
    run = _predict(trained, tmp_path)
    assert isinstance(run.exception, InputError)
    assert "holds no images" in str(run.exception)


def test_nothing_is_left_when_the_output_cannot_be_finished(trained, photos, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    out.write_text("before")

    def broken(self, files, batch_size=16):
        yield from ()
        raise RuntimeError("power cut")

    monkeypatch.setattr(Predictor, "predict", broken)
    run = _predict(trained, photos.good, "--out", out)
    assert run.exit_code != 0
    assert out.read_text() == "before"
    assert list(tmp_path.glob(".out*")) == []


def _changed(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"x"), "model.onnx was changed"),
        (lambda folder: (folder / "model.onnx").unlink(), "lacks model.onnx"),
        (lambda folder: (folder / "MODEL_CARD.md").write_text("fine for patients"), "MODEL_CARD.md was changed"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "not readable JSON"),
        (lambda folder: _changed(folder / "bundle.json", lambda c: c.update(temperature=-1)), "temperature"),
        (lambda folder: _changed(folder / "bundle.json", lambda c: c.update(extra=1)), "extra"),
        (
            lambda folder: _changed(folder / "bundle.json", lambda c: c.update(calibration={"method": "platt"})),
            "calibration: .*'platt'.*'vector', 'dirichlet', 'isotonic', 'beta'",
        ),
        (
            lambda folder: _changed(folder / "bundle.json", lambda c: c.update(calibration={"method": "beta", "a": 1})),
            "calibration.beta.b: Field required",
        ),
        (
            lambda folder: _changed(
                folder / "bundle.json",
                lambda c: c.update(temperature=1, calibration={"method": "vector", "scale": [1], "intercept": [0]}),
            ),
            "calibration 'vector' has 1 values for 7 classes",
        ),
        (
            lambda folder: _changed(
                folder / "bundle.json",
                lambda c: c.update(temperature=2, calibration={"method": "beta", "a": 1, "b": 1, "c": 0}),
            ),
            "temperature must be 1 beside another calibration, got 2",
        ),
        (lambda folder: _changed(folder / "bundle.json", lambda c: c["input"].update(resize="other")), "not known"),
        (lambda folder: _changed(folder / "bundle.json", lambda c: c["files"].update({"../x": "0"})), r"\.\./x"),
    ],
)
def test_a_bundle_that_was_changed_is_refused(trained, tmp_path, harm, told):
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    harm(folder)
    with pytest.raises(IntegrityError, match=told):
        read_bundle(folder)


def test_the_shape_of_pixels_is_checked(trained):
    with pytest.raises(InputError, match=r"expected uint8 \[N, 32, 32, 3\], got float64"):
        Predictor(trained.bundle).probabilities(np.zeros((1, 32, 32, 3)))


def test_every_answer_of_a_model_of_synthetic_images_says_so(trained, photos):
    bundle = read_bundle(trained.bundle)
    says = {}
    for synthetic in (True, False):
        data = bundle.spec.data.model_copy(update={"synthetic": synthetic})
        spec = bundle.spec.model_copy(update={"data": data})
        predictor = Predictor(bundle.model_copy(update={"spec": spec}))
        found = list(predictor.predict([photos.good / "a.png", photos.bad / "text.jpg"]))
        assert [result.status for result in found] == ["ok", "not_an_image"]
        says[synthetic] = [result.message for result in found]
    assert says[True][0] == "SYNTHETIC training data: says nothing about skin"
    assert says[False][0] == ""
    assert says[True][1] == says[False][1]


@pytest.mark.parametrize("damaged", ["refuse", "judge"])
def test_an_open_file_that_fails_gets_a_row_and_ends_nothing(trained, photos, damaged):
    class Stale(io.RawIOBase):
        name = "stale.jpg"

        def read(self, *_):
            raise OSError(116, "Stale file handle")

    predictor = Predictor(trained.bundle, damaged=damaged)
    first, second = predictor.predict([Stale(), photos.good / "a.png"])
    assert (first.file, first.status, first.probabilities) == ("stale.jpg", "unreadable", None)
    assert first.message == "stale.jpg: unreadable image (OSError: [Errno 116] Stale file handle)"
    assert second.status == "ok"
