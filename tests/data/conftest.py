import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app


@pytest.fixture
def case(tmp_path):
    """case(name): a copy of an input from a public bug report, in a folder that may be written to."""

    def copy(name):
        there = tmp_path / name
        shutil.copytree(Path(__file__).parents[1] / "cases" / name, there)
        return there

    return copy


@pytest.fixture
def import_command(tmp_path):
    """import_command(folder, *options): `dermdistill data import`; its result and the manifest's path."""

    def run(folder, *options):
        out = tmp_path / "out" / "m.csv"
        return CliRunner().invoke(app, ["data", "import", str(folder), "--out", str(out), *options]), out

    return run
