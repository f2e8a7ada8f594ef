"""Predictions where things are odd: names, paths, pipes, and bundles whose parts contradict each other."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import sha256_file
from dermdistill.predict.inputs import expand
from dermdistill.predict.predictor import Predictor

HEAVY = ("torch", "pandas", "timm", "scipy", "sklearn", "onnx")
ODD = b"\xff odd.png"


def _process(trained, folder, *arguments, stdin=None):
    """A real process, with standard streams as strict as they are on a desktop."""
    command = [sys.executable, "-m", "dermdistill", "predict", "--model", str(trained.bundle), *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    return subprocess.run(
        command, input=stdin, capture_output=True, cwd=folder, env=environment, timeout=120, check=False
    )


def _predict(trained, *arguments, stdin=None):
    return CliRunner().invoke(app, ["predict", "--model", str(trained.bundle), *map(str, arguments)], input=stdin)


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def odd(photos):
    """The folder of photos, with one more whose name is not UTF-8."""
    path = os.path.join(os.fsencode(photos.good), ODD)  # noqa: PTH118
    try:
        shutil.copy(photos.good / "a.png", path)
    except (OSError, UnicodeError):
        pytest.skip("this file system wants names in Unicode")
    return photos.good


def test_a_name_that_is_not_unicode_is_a_row_like_any_other(trained, odd, tmp_path):
    done = _process(trained, odd, "-", "sub", stdin=b"a.png\n" + ODD + b"\n")
    assert done.returncode == 0, done.stderr
    rows = _rows(done.stdout.decode())
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert rows[0]["p_melanoma"] == rows[1]["p_melanoma"]
    for kind in ("csv", "jsonl", "json"):
        out = tmp_path / f"out.{kind}"
        run = _predict(trained, odd, "--format", kind, "--out", out)
        assert run.exit_code == 0, run.exception
        assert "odd.png" in out.read_text(encoding="utf-8")
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert os.fsencode(content["results"][-1]["file"]).endswith(ODD)


def test_a_path_that_no_system_can_open_is_a_row_like_any_other(trained, photos):
    listed = f"{'x' * 5000}\n{photos.good / 'a.png'}\n{photos.good}\n"
    run = _predict(trained, "y" * 5000, "-", stdin=listed)
    assert run.exit_code == 1, run.exception
    assert [row["status"] for row in _rows(run.stdout)] == ["unreadable", "unreadable", "ok", "is_folder"]


@pytest.mark.parametrize("out", ["photos", "photos/a.png/out.csv"])
def test_an_output_that_cannot_be_written_is_told(trained, photos, tmp_path, out):
    done = _process(trained, tmp_path, photos.good, "--out", out)
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr
    assert os.path.basename(out).encode() in done.stderr  # noqa: PTH119
    assert sorted(path.name for path in photos.good.iterdir()) == ["a.png", "b.jpg", "sub"]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_a_reader_that_leaves_early_is_no_error(trained, photos):
    command = [sys.executable, "-m", "dermdistill", "predict", "--model", str(trained.bundle), str(photos.good)]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(write)
    assert done.returncode == 0
    assert "Error" not in done.stderr


def test_what_arguments_stand_for(tmp_path):
    for name in ("b.PNG", "a.jpeg", "a[1].png", "notes.txt", "sub/c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()

    def found(*arguments, listed=()):
        return [path.relative_to(tmp_path).as_posix() for path in expand([str(a) for a in arguments], listed).files]

    assert found(tmp_path) == ["a.jpeg", "a[1].png", "b.PNG", "sub/c.tif"]
    assert found(tmp_path / "a[1].png") == ["a[1].png"]  # a file that is there is no pattern
    assert found(tmp_path / "**" / "[bc].*") == ["b.PNG", "sub/c.tif"]
    assert found(tmp_path / "*.png", tmp_path / "notes.txt") == ["a[1].png", "notes.txt"]  # d.png is a folder
    listed = [f"{tmp_path / 'b.PNG'}\r\n", " \n", f"{tmp_path / '*.png'}\n", str(tmp_path / "a.jpeg")]
    assert found("-", listed=listed) == ["b.PNG", "*.png", "a.jpeg"]  # lines are taken as they are
    with pytest.raises(InputError, match="no images given"):
        expand(["-"], ["\n"])


def test_a_batch_of_no_images_is_refused(trained, photos):
    with pytest.raises(InputError, match="batch_size"):
        list(Predictor(trained.bundle).predict([photos.good / "a.png"], batch_size=0))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("melanoma_index", 0),
        ("classes", ["mel", "bcc", "bkl", "df", "akiec", "nv", "vasc"]),
        ("classes", ["akiec", "bcc", "bkl", "df", "mel"]),
        ("temperature", 7.5),
        ("calibration", {"method": "beta", "a": 1, "b": 1, "c": 0}),
        ("default_threshold", "youden"),
        ("thresholds", {"sensitivity_95": {"value": 0.99}}),
        ("input", {"size": 64}),
    ],
)
def test_a_bundle_json_that_contradicts_its_graph_is_refused(trained, tmp_path, key, value):
    """It fits the format, and its hashes are right; but another class would be called melanoma."""
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    content[key] = _merged(content.get(key, {}), value)
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=rf"(?s)bundle\.json.*{key}"):
        Predictor(folder)


def _merged(old, new):
    if not isinstance(new, dict):
        return new
    return {**old, **{name: _merged(old.get(name, {}), value) for name, value in new.items()}}


def test_a_graph_that_cannot_be_loaded_is_told(trained, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    (folder / "model.onnx").write_bytes(b"no graph")
    content = json.loads((folder / "bundle.json").read_text())
    content["files"]["model.onnx"] = sha256_file(folder / "model.onnx")
    (folder / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="is not an ONNX graph; export it again"):
        Predictor(folder)
    (folder / "bundle.json").write_text("[]")
    with pytest.raises(IntegrityError, match="is not a dermdistill-bundle/2 file"):
        Predictor(folder)


def test_predicting_from_python_loads_nothing_heavy(trained, photos):
    code = (
        "import sys, dermdistill\n"
        "from dermdistill.predict.predictor import Predictor\n"
        "(result,) = Predictor(sys.argv[1]).predict([sys.argv[2]])\n"
        "assert result.status == 'ok'\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, str(trained.bundle), str(photos.good / "a.png")]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout == "[]\n"
