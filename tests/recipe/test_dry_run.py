"""`dermdistill run --dry-run` tells the plan, in order, and touches nothing."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError

RECIPE = """
name = "planned"
[data]
sources = [{ path = "ham10000" }]
[[teachers]]
name = "teacher"
[[students]]
name = "distilled"
[[students]]
name = "alone"
labels = "none"
loss = { kind = "ce" }
[export]
students = ["alone"]
"""
STAGES = ["data", "split", "teach teacher", "soften", "distill distilled", "distill alone", "evaluate", "export alone"]


def _run(folder, recipe, *options):
    (folder / "planned.toml").write_text(recipe)
    command = ["run", str(folder / "planned.toml"), "--out", str(folder / "out"), "--dry-run", *options]
    return CliRunner().invoke(app, command, env={"COLUMNS": "120"})


def test_the_plan_is_told_in_order_and_nothing_is_written(tmp_path):
    (tmp_path / "data" / "ham10000").mkdir(parents=True)
    run = _run(tmp_path, RECIPE, "--data", str(tmp_path / "data"))
    assert run.exit_code == 0, run.output
    lines = [line for line in run.stdout.splitlines() if "to do" in line]
    assert [line.strip("│ ").split("│")[0].strip() for line in lines] == STAGES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "planned.toml"]


def test_a_recipe_without_a_bank_plans_none(tmp_path):
    run = _run(tmp_path, RECIPE.replace('name = "distilled"', 'name = "distilled"\nlabels = "online"'))
    assert "soften" not in run.stdout
    assert run.stdout.count("to do") == len(STAGES) - 1


def test_a_recipe_with_errors_has_no_plan(tmp_path):
    run = _run(tmp_path, RECIPE.replace("labels", "lables"))
    assert isinstance(run.exception, InputError)
    assert "students.1.lables (line 11): unknown key; did you mean 'labels'?" in str(run.exception)


@pytest.mark.parametrize("how", [["--dry-run"], []], ids=["dry-run", "run"])
def test_whatever_is_missing_is_told_before_anything_is_made(tmp_path, how, monkeypatch):
    """By the plan and by the run alike, all of it at once."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    (tmp_path / "data" / "photos").mkdir(parents=True)
    for number in range(9):
        (tmp_path / "data" / "photos" / f"{number}.jpg").touch()
    recipe = tmp_path / "planned.toml"
    recipe.write_text(
        RECIPE.replace("[[students]]", '[[students]]\nweights = "file"\nweights_file = "none.safetensors"', 1)
        .replace('name = "teacher"', 'name = "teacher"\nmodel = "resnet18"')
        .replace('{ path = "ham10000" }', '{ path = "ham10000" }, { path = "photos" }')
    )
    command = ["run", str(recipe), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), *how]
    run = CliRunner().invoke(app, [*command, "--data", str(tmp_path / "data"), "--accelerator", "cpu"])
    assert isinstance(run.exception, InputError)
    assert run.exception.exit_code == 2
    for told in (
        f"no source at {tmp_path / 'data' / 'ham10000'}",
        "'teacher': no package holds weights for 'resnet18', only for tf_efficientnet_lite0",
        "'distilled': no such weights file: none.safetensors",
        "the image cache needs up to 0.0 GB",
    ):
        assert told in str(run.exception)
    assert not (tmp_path / "out").exists()


def test_a_missing_data_folder_is_told(tmp_path):
    run = _run(tmp_path, RECIPE, "--data", str(tmp_path / "nowhere"))
    assert isinstance(run.exception, InputError)
    assert "nowhere: give --data DIR or set DERMDISTILL_DATA" in str(run.exception)


def test_the_plan_needs_neither_torch_nor_pandas(tmp_path):
    (tmp_path / "planned.toml").write_text(RECIPE.replace('sources = [{ path = "ham10000" }]', "synthetic = {}"))
    code = (
        "import sys\n"
        "from dermdistill.cli import app\n"
        f"try: app(['run', {str(tmp_path / 'planned.toml')!r}, '--dry-run', '--out', {str(tmp_path / 'out')!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'torch', 'pandas', 'timm', 'lightning_fabric', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
