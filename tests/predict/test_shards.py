"""Answers in shards: how images are divided, what goes on after a kill, and what is refused."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dermdistill.classes import DISCLAIMER
from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.files import sha256_file
from dermdistill.predict.engines import _Worker, carry_out
from dermdistill.predict.output import row
from dermdistill.predict.shards import PausedError, Settings, divide, part, read_shards

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

NAMES = [f"{number:02d}.jpg" for number in range(10)]


@pytest.fixture(scope="module")
def settings():
    from dermdistill.predict.bundle import open_bundle

    return Settings(str(open_bundle(None).folder), 0.5, batch_size=3, gate="off")


def run(*arguments):
    return CliRunner().invoke(app, ["predict", "--gate", "off", *map(str, arguments)])


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("count", "asked", "number"), [(10, 3, 3), (10, 20, 10), (10, 0, 1), (25_001, 0, 3), (1, 1, 1)]
)
def test_every_image_is_in_one_shard_and_shards_are_equal(count, asked, number):
    names, shards = divide((f"{n * 7919 % count:06d}" for n in range(count)), asked)
    assert shards == number
    parts = [part(names, shard, shards) for shard in range(shards)]
    assert [name for one in parts for name in one] == sorted(names)
    assert {len(one) for one in parts} <= {count // shards, count // shards + 1}


def test_rows_are_those_of_predict_whatever_the_threads(settings, draw, tmp_path):
    draw(tmp_path / "in", NAMES)
    (tmp_path / "in" / "none.jpg").write_bytes(b"hello")
    images = sorted(map(str, (tmp_path / "in").iterdir()))
    for threads in (1, 3):
        found = list(carry_out(settings, images[::-1], str(tmp_path / str(threads)), shards=3, threads=threads))
        assert [counts.images for counts, _ in found] == [3, 4, 4]
        assert [counts.failed for counts, _ in found] == [0, 0, 1]
    assert contents(tmp_path / "1") == contents(tmp_path / "3")
    rows = [one for table in read_shards(tmp_path / "1", 3) for one in table.to_pylist()]
    predictor = settings.predictor()
    expected = [row(result, predictor.classes) for result in predictor.predict(images)]
    assert [one["file"] for one in rows] == images
    for found, wanted in zip(rows, expected, strict=True):
        assert found == pytest.approx(wanted, abs=2e-6)
    told = parquet.read_metadata(tmp_path / "1" / "part-00000-of-00003.parquet").metadata
    assert told[b"dermdistill.disclaimer"].decode() == DISCLAIMER


def test_the_command_writes_shards_and_passes_over_those_that_are_there(draw, tmp_path):
    draw(tmp_path / "in", NAMES)
    done = run(tmp_path / "in", "--out", f"{tmp_path}/out/")
    assert done.exit_code == 0, done.output
    assert sorted(contents(tmp_path / "out")) == ["job.json", "part-00000-of-00001.parquet"]
    before = (tmp_path / "out" / "part-00000-of-00001.parquet").stat().st_mtime_ns
    again = run(tmp_path / "in", "--out", f"{tmp_path}/out/")
    assert "1 of them before: 10 images" in " ".join(again.stderr.split())
    assert (tmp_path / "out" / "part-00000-of-00001.parquet").stat().st_mtime_ns == before


def test_images_without_an_answer_are_told_by_the_exit_code_then_and_later(draw, tmp_path):
    draw(tmp_path / "in", NAMES[:3])
    (tmp_path / "in" / "bad.jpg").write_bytes(b"hello")
    for _ in range(2):
        done = run(tmp_path / "in", "--shards", 2, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert "1 of 4 images could not be read or judged" in done.stderr


def test_what_the_gate_refuses_is_in_the_rows_and_counted_then_and_later(picture, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        picture(number).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"hello")
    for mode, code in (("refuse", 1), ("judge", 1)):
        for _ in range(2):
            done = run(tmp_path / "in", "--gate", mode, "--shards", 2, "--out", tmp_path / mode)
            assert done.exit_code == code
            assert "3 of 4 images are refused by the model's gate" in done.stderr
            assert "1 of 4 images could not be read or judged" in done.stderr
        rows = [one for table in read_shards(tmp_path / mode, 2) for one in table.to_pylist()]
        rows.sort(key=lambda one: one["file"].endswith("bad.jpg"))
        assert [one["status"] for one in rows] == ["refused"] * 3 + ["not_an_image"]
        assert [one["p_melanoma"] is not None for one in rows] == [mode == "judge"] * 3 + [False]
        assert all(": refused: it does not look like a dermoscopic image" in one["message"] for one in rows[:3])


def test_a_job_with_another_gate_is_another_job(settings, draw, tmp_path):
    draw(tmp_path / "in", NAMES[:2])
    images = sorted(map(str, (tmp_path / "in").iterdir()))
    gated = replace(settings, gate="judge")
    list(carry_out(gated, images, str(tmp_path / "out"), shards=1))
    job = json.loads((tmp_path / "out" / "job.json").read_text())
    assert job["gate_sha256"] == sha256_file(Path(settings.model) / "gate.onnx")
    (tmp_path / "out" / "job.json").write_text(json.dumps({**job, "gate_sha256": "0" * 64}))
    with pytest.raises(InputError, match="gate_sha256 is 0000"):
        list(carry_out(gated, images, str(tmp_path / "out"), shards=1))


def test_a_shard_that_is_cut_off_is_made_again(settings, draw, tmp_path):
    draw(tmp_path / "in", NAMES)
    images = list(map(str, (tmp_path / "in").iterdir()))
    list(carry_out(settings, images, str(tmp_path / "out"), shards=2))
    whole, cut = contents(tmp_path / "out"), tmp_path / "out" / "part-00001-of-00002.parquet"
    cut.write_bytes(cut.read_bytes()[:-10])
    assert [before for _, before in carry_out(settings, images, str(tmp_path / "out"), shards=2)] == [True, False]
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"threshold": 0.4}}, r"threshold is 0\.5 there, 0\.4 is asked for"),
        ({"settings": {"batch_size": 4}}, "batch_size is 3 there, 4 is asked for"),
        ({"images": 9}, "images is 10 there, 9 is asked for"),
        ({"shards": 3}, "shards is 2 there, 3 is asked for"),
    ],
    ids=["threshold", "batch size", "images", "shards"],
)
def test_another_job_is_refused(settings, draw, tmp_path, change, message):
    draw(tmp_path / "in", NAMES)
    images = sorted(map(str, (tmp_path / "in").iterdir()))
    list(carry_out(settings, images, str(tmp_path / "out"), shards=2))
    other = replace(settings, **change.get("settings", {}))
    with pytest.raises(InputError, match=message):
        list(carry_out(other, images[: change.get("images")], str(tmp_path / "out"), shards=change.get("shards", 2)))


def test_a_job_that_resizes_with_the_extra_fast_does_not_go_on_without_it(settings, draw, tmp_path, monkeypatch):
    draw(tmp_path / "in", NAMES[:3])
    images = sorted(map(str, (tmp_path / "in").iterdir()))
    exact, fast = str(tmp_path / "exact"), str(tmp_path / "fast")
    monkeypatch.setattr("dermdistill.predict.predictor.fast_resizer", lambda: "cykooz-resizer 4.0.1")
    list(carry_out(settings, images, exact, shards=1))
    list(carry_out(replace(settings, fast=True), images, fast, shards=1))
    monkeypatch.setattr("dermdistill.predict.predictor.fast_resizer", lambda: "pillow")
    assert [before for _, before in carry_out(settings, images, exact, shards=1)] == [True]
    with pytest.raises(InputError, match=r"resizer is cykooz-resizer 4\.0\.1 there, pillow is asked for"):
        list(carry_out(replace(settings, fast=True), images, fast, shards=1))
    worker = _Worker(replace(settings, fast=True), 1, "cykooz-resizer 4.0.1")
    with pytest.raises(InputError, match="a worker resizes with pillow, the job with cykooz"):
        worker({"images": b"", "place": ""})


def test_a_job_of_an_earlier_version_goes_on(settings, draw, tmp_path):
    draw(tmp_path / "in", NAMES[:2])
    images = sorted(map(str, (tmp_path / "in").iterdir()))
    list(carry_out(settings, images, str(tmp_path / "out"), shards=1))
    place = tmp_path / "out" / "job.json"
    job = json.loads(place.read_text())
    assert job.pop("resizer") == "pillow"
    place.write_text(json.dumps(job))
    assert [before for _, before in carry_out(settings, images, str(tmp_path / "out"), shards=1)] == [True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shards", "2"], "name it with --out"),
        (["--shards", "2", "--out", "x", "--format", "csv"], "leave out --format csv"),
        (["--engine", "ray", "--out", "x", "--dicom-uid"], "no DICOM objects"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message):
    done = run(tmp_path / "a.jpg", *options)
    assert done.exception.exit_code == 2
    assert message in str(done.exception)


def test_images_that_cannot_be_reached_stop_the_job_and_it_goes_on(settings, files_server, draw, tmp_path, monkeypatch):
    monkeypatch.setattr("dermdistill.remote._PAUSE", 0.01)
    draw(tmp_path / "web", NAMES)
    images = [f"{files_server.address}/{name}" for name in NAMES]
    files_server.fails["/09.jpg"] = [503] * 3
    going = carry_out(settings, images, str(tmp_path / "out"), shards=2)
    assert next(going)[0].images == 5
    with pytest.raises(PausedError, match=r"1 of 5 images of .*00001-of-00002.* cannot be reached now"):
        next(going)
    assert sorted(contents(tmp_path / "out")) == ["job.json", "part-00000-of-00002.parquet"]
    assert [before for _, before in carry_out(settings, images, str(tmp_path / "out"), shards=2)] == [True, False]


def test_a_job_that_was_killed_goes_on_and_ends_with_the_same_bytes(settings, files_server, draw, tmp_path):
    draw(tmp_path / "web", NAMES)
    images = [f"{files_server.address}/{name}" for name in NAMES]
    list(carry_out(settings, images, str(tmp_path / "whole"), shards=5))
    files_server.hold("/06.jpg")  # of the fourth shard
    command = [
        sys.executable, "-m", "dermdistill", "predict", *images, "--shards", "5", "--out", str(tmp_path / "out"),
        "--threshold", "0.5", "--batch-size", "3", "--gate", "off",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert files_server.waits.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    made = {name: path for path in (tmp_path / "out").iterdir() if (name := path.name).startswith("part")}
    assert sorted(made) == [f"part-{shard:05d}-of-00005.parquet" for shard in range(3)]
    times = {name: path.stat().st_mtime_ns for name, path in made.items()}
    files_server.goes_on.set()
    time.sleep(0.01)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 of them before" in done.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert {name: path.stat().st_mtime_ns for name, path in made.items()} == times
