"""What `predict` answers to what people really give it: folders of phones, damaged files, broken models, full disks."""

import csv
import doctest
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import ExitCode, InputError, IntegrityError
from dermdistill.files import sha256_file
from dermdistill.images import walk
from dermdistill.predict import predictor as module
from dermdistill.predict.bundle import default_bundle
from dermdistill.predict.predictor import Predictor

CASES = Path(__file__).resolve().parents[1] / "cases"
posix = pytest.mark.skipif(os.name != "posix", reason="shells, pipes and devices of POSIX")


@pytest.fixture(scope="module")
def shipped():
    return Predictor(gate="off")


@pytest.fixture
def photo(tmp_path, picture):
    picture().save(tmp_path / "photo.jpg", quality=95)
    return tmp_path / "photo.jpg"


@pytest.fixture
def damaged(photo):
    content = photo.read_bytes()
    path = photo.with_name("damaged.jpg")
    path.write_bytes(content[:-8] + bytes(8))
    return path


def _predict(*arguments):
    return CliRunner().invoke(app, ["predict", "--gate", "off", *map(str, arguments)])


def _shell(command, folder):
    """A command of a shell, in which `$DERMDISTILL` is the command line."""
    environment = {**os.environ, "DERMDISTILL": f"{sys.executable} -m dermdistill"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


# Folders and files


def test_a_phones_folder_says_what_was_passed_over(monkeypatch):
    monkeypatch.setattr(walk, "is_installed", lambda kind: kind.name not in ("HEIC", "DICOM"))
    run = _predict(CASES / "folder_skips" / "phone")
    assert run.exit_code == 0, run.output
    assert [Path(row["file"]).name for row in _rows(run.stdout)] == ["a.jpg", "b.avif", "c.jp2"]
    needs = "1 .heic (pip install 'dermdistill[heic]'), 1 .dcm (pip install 'dermdistill[dicom]')"
    assert f"passed over: 2 hidden or made by the system, {needs}" in run.stderr


@posix
def test_links_to_folders_are_followed(tmp_path):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "images").symlink_to(CASES / "symlinked_folders" / "store")
    run = _predict(tmp_path / "table")
    assert run.exit_code == 0, run.output
    assert len(_rows(run.stdout)) == 4


def test_a_folder_of_other_things_is_an_error_that_names_them(tmp_path):
    for name in ("a.mp4", "b.mp4", "notes.txt", "._c.jpg"):
        (tmp_path / name).touch()
    run = _predict(tmp_path)
    assert isinstance(run.exception, InputError)
    assert "holds no images that are read here; found instead: 2 .mp4, " in str(run.exception)
    assert "1 hidden or made by the system" in str(run.exception)


def test_a_single_image_is_one_image(shipped, photo):
    for one in (str(photo), photo, photo.read_bytes(), io.BytesIO(photo.read_bytes())):
        (result,) = shipped.predict(one)
        assert result.status == "ok"
    (result,) = shipped.predict(str(CASES / "python_str" / "photo.jpg"))
    assert result.status == "ok"
    (result,) = shipped.predict("photo.jpg")
    assert (result.file, result.status) == ("photo.jpg", "missing")
    with pytest.raises(TypeError, match="expected a path, bytes or an open binary file, got int"):
        list(shipped.predict([1]))


def test_the_examples_of_the_predictor_hold():
    assert doctest.testmod(module).failed == 0


# Damage


def test_a_damaged_image_has_no_probability_unless_asked(shipped, damaged, photo):
    (result,) = shipped.predict(damaged)
    assert (result.status, result.p_melanoma, result.decision) == ("damaged", None, "")
    assert "Premature end of JPEG file" in result.message
    judging = Predictor(damaged="judge", gate="off")
    for source in (damaged, damaged.read_bytes(), io.BytesIO(damaged.read_bytes())):
        (result,) = judging.predict(source)
        assert result.status == "damaged"
        assert 0 <= result.p_melanoma <= 1
        assert "Premature end of JPEG file" in result.message
    with pytest.raises(InputError, match="damaged must be one of refuse, judge, got 'ignore'"):
        Predictor(damaged="ignore")
    run = _predict(damaged, photo)
    assert run.exit_code == 1
    assert [row["p_melanoma"] != "" for row in _rows(run.stdout)] == [False, True]
    run = _predict(damaged, photo, "--damaged", "judge")
    assert run.exit_code == 0
    assert "1 of 2 images are damaged and were judged nonetheless" in run.stderr
    assert [row["status"] for row in _rows(run.stdout)] == ["damaged", "ok"]


# Broken models


def _with_graph(folder, edit):
    """The shipped bundle with an edited graph, and hashes that fit it."""
    onnx = pytest.importorskip("onnx")
    shutil.copytree(default_bundle(), folder)
    graph = onnx.load(folder / "model.onnx")
    edit(graph, onnx)
    onnx.save(graph, folder / "model.onnx")
    content = json.loads((folder / "bundle.json").read_text())
    content["files"]["model.onnx"] = sha256_file(folder / "model.onnx")
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def _poisoned(graph, onnx):
    for weights in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(weights)
        if values.dtype == np.float32:
            weights.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, np.nan), weights.name))


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_a_model_that_gives_nan_gives_failed_rows(tmp_path, photo, kind):
    folder = _with_graph(tmp_path / "bundle", _poisoned)
    run = _predict(photo, photo, "--model", folder, "--format", kind)
    assert run.exit_code == 1
    assert "2 of 2 images could not be read or judged" in run.stderr
    if kind == "csv":
        rows = [{**row, "p_melanoma": row["p_melanoma"] or None} for row in _rows(run.stdout)]
    else:
        refuse = {"parse_constant": pytest.fail}  # NaN is no JSON
        lines = run.stdout.splitlines() if kind == "jsonl" else [run.stdout]
        rows = [json.loads(line, **refuse) for line in lines]
        rows = rows[0]["results"] if kind == "json" else rows
    assert [(row["status"], row["p_melanoma"], row["decision"]) for row in rows] == [("failed", None, "")] * 2
    assert "the model gave no probabilities (nan, " in rows[0]["message"]


def test_a_graph_that_fails_when_it_runs_is_one_line(tmp_path, photo):
    def broken(graph, onnx):
        tensor = onnx.helper.make_tensor("wrong_shape", onnx.TensorProto.INT64, [1], [12345])
        graph.graph.initializer.append(tensor)
        graph.graph.node.insert(0, onnx.helper.make_node("Reshape", ["image", "wrong_shape"], ["reshaped"]))
        graph.graph.node.append(onnx.helper.make_node("ReduceSum", ["reshaped"], ["summed"], keepdims=0))
        (last,) = [node for node in graph.graph.node if "probabilities" in node.output]
        last.output[list(last.output).index("probabilities")] = "unshifted"
        graph.graph.node.append(onnx.helper.make_node("Add", ["unshifted", "summed"], ["probabilities"]))

    folder = _with_graph(tmp_path / "bundle", broken)
    with pytest.raises(IntegrityError, match=r"model\.onnx fails when it is run; export it again"):
        list(Predictor(folder, gate="off").predict(photo))


def test_a_graph_of_another_kind_is_refused(tmp_path):
    def renamed(graph, onnx):
        for node in graph.graph.node:
            for index, name in enumerate(node.input):
                if name == "image":
                    node.input[index] = "pixels"
        graph.graph.input[0].name = "pixels"

    folder = _with_graph(tmp_path / "bundle", renamed)
    with pytest.raises(IntegrityError, match=r"takes \['pixels'\] and gives .*, expected 'image' and 'probabilities'"):
        Predictor(folder)


# Outputs


@posix
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("$DERMDISTILL predict photo.jpg > /dev/full", "cannot write standard output: No space left on device"),
        ("$DERMDISTILL predict photo.jpg >&-", "standard output is closed; name a file with --out"),
        ("$DERMDISTILL predict - <&-", "standard input is closed"),
        ("$DERMDISTILL --help > /dev/full", "No space left on device"),
        ("$DERMDISTILL predict photo.jpg --out .", "it is a folder; name a file"),
        ("$DERMDISTILL predict photo.jpg --out photo.jpg/x.csv", "part of the path is a file"),
        ("$DERMDISTILL predict photo.jpg --out /proc/x.csv", "cannot write /proc/x.csv"),
        ("$DERMDISTILL predict photo.jpg --out /dev/full", "cannot write /dev/full: No space left on device"),
    ],
)
def test_an_output_that_cannot_be_written_ends_in_one_line(photo, command, told):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    done = _shell(command, photo.parent)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("Research tool")]
    assert line.startswith("error: ")
    assert told in line


@posix
def test_a_pipe_or_link_as_output_stays_what_it_is(photo):
    pipe, link, target = photo.with_name("pipe"), photo.with_name("link.csv"), photo.with_name("real.csv")
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    assert _predict(photo, "--out", pipe).exit_code == 0
    reader.join(30)
    assert [row["status"] for row in _rows(got[0])] == ["ok"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    target.touch(0o600)
    link.symlink_to(target.name)
    assert _predict(photo, "--out", link).exit_code == 0
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert len(_rows(target.read_text())) == 1
    assert _predict(photo, "--out", "/dev/null").exit_code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


def test_an_error_of_the_system_without_a_number_is_a_fault_of_the_program(monkeypatch, capsys):
    """Packages make errors of the same kind, for what is no fault of the user's."""
    from dermdistill import cli

    def broken(*arguments):
        raise OSError("a package's own")

    monkeypatch.setattr(cli, "give_manners", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == ExitCode.FAULT
    assert "OSError: a package's own. This is a fault of dermdistill" in capsys.readouterr().err


def test_a_batch_of_large_and_small_images_keeps_its_order(shipped, tmp_path, picture):
    paths = []
    for number, side in enumerate((3000, 40, 2500, 60)):
        paths.append(tmp_path / f"{number}.png")
        Image.new("L", (side, side), 40 * number).save(paths[-1])
    assert [result.file for result in shipped.predict(paths, 2)] == [str(path) for path in paths]
