"""What cannot be carried out ends in one line, before hours of training."""

import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dermdistill import cli
from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.recipe import actions

CASES = Path(__file__).resolve().parents[1] / "cases"
RECIPE = CASES / "oserror_tracebacks" / "r.toml"


def _line(monkeypatch, capsys, *arguments):
    """What the command prints to standard error, and its exit code."""
    monkeypatch.setattr(sys, "argv", ["dermdistill", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, capsys.readouterr().err


def test_a_set_without_a_melanoma_stops_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(actions, "teach_one", lambda *_: pytest.fail("it trained"))
    case = CASES / "no_melanoma"
    command = ["run", str(case / "r.toml"), "--data", str(case), "--out", str(tmp_path / "out"), "--accelerator", "cpu"]
    done = CliRunner().invoke(app, [*command, "--cache", str(tmp_path / "cache")])
    assert isinstance(done.exception, InputError)
    assert "0 of 24 images are melanomas: a melanoma detector needs images of both kinds" in str(done.exception)
    assert not (tmp_path / "out" / "manifest.parquet").exists()


@pytest.mark.parametrize("option", ["--out", "--cache"])
def test_a_file_where_a_folder_belongs_is_told(tmp_path, monkeypatch, capsys, option):
    (tmp_path / "f").touch()
    code, told = _line(monkeypatch, capsys, "teach", RECIPE, "--out", tmp_path / "out", option, tmp_path / "f")
    assert (code, told.splitlines()) == (2, [f"error: {option} is {tmp_path / 'f'}, which is a file; give a folder"])


@pytest.mark.parametrize("accelerator", ["gpu", "none-such"])
def test_an_accelerator_that_is_not_there_is_told(tmp_path, monkeypatch, capsys, accelerator):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    code, told = _line(monkeypatch, capsys, "teach", RECIPE, "--out", tmp_path / "o", "--accelerator", accelerator)
    assert code == 2
    assert told.startswith(f"error: --accelerator {accelerator} with 1 device(s) cannot be used here: ")
    assert told.rstrip().endswith("choose --accelerator auto or cpu")
    assert len(told.splitlines()) == 1


def test_a_run_header_without_a_status_is_told(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "out" / "teachers" / "t"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"format": "dermdistill-run/1"}')
    code, told = _line(monkeypatch, capsys, "run", RECIPE, "--out", tmp_path / "out", "--dry-run")
    assert code == 2
    assert told.startswith(f"error: {folder / 'run.json'} is damaged:\n  status: Field required")
    shutil.rmtree(folder)
