"""`dermdistill run --dry-run` tells the plan, in order, and touches nothing."""

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
    """Without data, too: the plan needs none."""
    run = _run(tmp_path, RECIPE, "--data", str(tmp_path / "nowhere"))
    assert run.exit_code == 0, run.output
    lines = [line for line in run.stdout.splitlines() if "to do" in line]
    assert [line.strip("│ ").split("│")[0].strip() for line in lines] == STAGES
    assert [path.name for path in tmp_path.iterdir()] == ["planned.toml"]


def test_a_recipe_without_a_bank_plans_none(tmp_path):
    run = _run(tmp_path, RECIPE.replace('name = "distilled"', 'name = "distilled"\nlabels = "online"'))
    assert "soften" not in run.stdout
    assert run.stdout.count("to do") == len(STAGES) - 1


def test_a_recipe_with_errors_has_no_plan(tmp_path):
    run = _run(tmp_path, RECIPE.replace("labels", "lables"))
    assert isinstance(run.exception, InputError)
    assert "students.1.lables: unknown key" in str(run.exception)


def test_without_dry_run_missing_data_are_told(tmp_path):
    (tmp_path / "planned.toml").write_text(RECIPE)
    command = ["run", str(tmp_path / "planned.toml"), "--out", str(tmp_path / "out"), "--accelerator", "cpu"]
    run = CliRunner().invoke(app, [*command, "--data", str(tmp_path / "nowhere")])
    assert isinstance(run.exception, InputError)
    assert "nowhere: give --data DIR or set DERMDISTILL_DATA" in str(run.exception)
