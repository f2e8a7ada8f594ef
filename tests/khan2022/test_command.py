"""`dermdistill reproduce khan2022` from the command line."""

import json

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError


def _call(*arguments):
    return CliRunner().invoke(app, ["reproduce", "khan2022", *map(str, arguments)], catch_exceptions=False)


def _times(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*") if path.is_file()}


def test_smoke_runs_rows_by_name_and_the_second_time_trains_nothing(tmp_path):
    arguments = ["--row", "as-published", "--row", "mobilenet-alone", "--teacher", "mobilenet", "--image-size", 32,
                 "--images", 120, "--out", tmp_path, "--accelerator", "cpu"]  # fmt: skip
    done = _call(*arguments)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["data"]["synthetic"]
    rows = {(entry["name"], entry["protocol"]): entry for entry in report["tables"]["2"]}
    assert rows["mobilenet-alone", "corrected"]["to_do"] == 0
    assert rows["vgg16-alone", "corrected"]["to_do"] == 1
    ablation = {entry["name"]: entry for entry in report["tables"]["ablation"]}
    assert ablation["as-published"]["published_accuracy"] == 0.917
    assert "from scratch, for want of hub weights, unlike the paper: MobileNet v1" in report["weights"]
    assert "SYNTHETIC" in (tmp_path / "report.md").read_text()
    before = _times(tmp_path)
    assert _call(*arguments).exit_code == 0
    assert _times(tmp_path) == before
    listed = _call(*arguments, "--list").output
    assert [line.split()[-2:-1] for line in listed.splitlines() if "mobilenet-alone" in line] == [["1"]], listed


def test_the_rows_can_be_listed_without_running_them(tmp_path):
    out = tmp_path / "out"
    done = _call("--list", "--table", "batch", "--image-size", 32, "--out", out, "--accelerator", "cpu")
    assert done.exit_code == 0, done.output
    assert [f"batch-{size}" in done.output for size in (18, 32, 64, 96)] == [True] * 4
    assert "temperature-3" not in done.output
    assert not out.exists()


def test_the_clock_runs_alone_and_its_ratios_are_printed(tmp_path):
    recipe = tmp_path / "clock.toml"
    recipe.write_text(
        'name = "clock"\nimage_size = 32\nweights = "none"\nsynthetic = true\nstudents = ["mobilenet", "dsnet"]\n'
        "timing = { images = 8, batch_size = 4, repeats = 1 }\n"
        "pool = { train_benign = 6, train_malignant = 6, test_benign = 2, test_malignant = 2 }\n"
    )
    done = _call("--recipe", recipe, "--clock-only", "--out", tmp_path / "out", "--accelerator", "cpu")
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "out" / "runs").exists()
    found = json.loads((tmp_path / "out" / "report.json").read_text())["timing"]["systems"]
    text = (tmp_path / "out" / "report.md").read_text().split("## Prediction times")[1]
    cells = [cell.strip() for line in text.splitlines() if line.startswith("| mobilenet ") for cell in line.split("|")]
    mine = found["mobilenet"]
    assert cells[2:5] == ["32", "5.14", "2.00"], "published: 5.14 s, twice DSNet's 2.57 s"
    assert cells[5:9] == [
        f"{mine['forward_seconds']:.2f}", f"{mine['forward_ratio']:.2f}",
        f"{mine['with_decoding_seconds']:.2f}", f"{mine['with_decoding_ratio']:.2f}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--table", "3"], "--table is one of 2, temperature, batch, ablation, got 3"),
        (["--protocol", "published"], "--protocol is one of corrected, as-published"),
        (["--budget", "huge"], "--budget is one of smoke, full"),
        (["--weights", "file"], "--weights is one of hub, package, none"),
        (["--row", "nobody"], "no row is called 'nobody'"),
        (["--budget", "full"], r"--data is needed: the folder of the paper's four \.npy arrays"),
        (["--teacher", "nobody"], "no system is called"),
        (["--clock-only", "--table", "2"], "--clock-only times every system and trains no row"),
        (["--image-size", 64], "images are too small: Inception-v3 needs at least 75 px, not 64"),
        (
            ["--row", "dsnet-distilled", "--image-size", 24],
            "images are too small: ResNet-50 needs at least 32 px, not 24",
        ),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, arguments, match):
    with pytest.raises(InputError, match=match):
        _call(*arguments, "--out", tmp_path, "--accelerator", "cpu")
