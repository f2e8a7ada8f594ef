"""`dermdistill doctor` finds what there is, what is missing, and what is broken."""

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dermdistill import doctor
from dermdistill.cli import app
from dermdistill.doctor import CORE, examine, probe, read_extras
from dermdistill.predict import bundle

REQUIRES = [
    "numpy>=2.0",
    "PyYAML>=1; extra == 'all'",
    "pandas>=2.2; extra == 'data'",
    'no-such-package>=1; extra == "odd"',
    "pillow>=999; extra == 'odd'",
    "ruff>=0.8; extra == 'dev'",
]


@pytest.fixture
def requires(monkeypatch):
    """An installation with few requirements."""
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRES)


def test_extras_are_those_of_the_package_for_its_users(requires):
    extras = read_extras()
    assert list(extras) == [CORE, "data", "odd"]
    ((core,), (missing, old)) = extras[CORE], extras["odd"]
    assert (core.name, core.least, core.state) == ("numpy", "2.0", "ready")
    assert (missing.state, missing.version) == ("missing", None)
    assert (old.state, old.version) == ("too old", metadata.version("pillow"))


def test_what_is_missing_is_told_with_the_line_that_installs_it(requires):
    run = CliRunner().invoke(app, ["doctor", "--quick"], env={"COLUMNS": "200"})
    assert run.exit_code == 0, run.output
    assert "lacks no-such-package, pillow (too old): pip install 'dermdistill[odd]'" in run.output
    assert "What is installed was not tried." in run.output


def test_an_unpacked_archive_has_no_extras(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    assert read_extras() == {}
    assert examine(quick=True).broken == []


def test_modules_that_cannot_be_imported_are_found_and_the_others_too(tmp_path, monkeypatch):
    (tmp_path / "raises_here.py").write_text("print('noise')\nraise OSError('libmissing.so: cannot open')")
    (tmp_path / "ends_here.py").write_text("import os\nos.abort()")
    monkeypatch.setenv("PYTHONPATH", f"{Path(doctor.__file__).parents[1]}:{tmp_path}")
    problems, devices = probe(["raises_here", "json", "ends_here", "onnxruntime"])
    assert problems == {
        "raises_here": "OSError: libmissing.so: cannot open",
        "ends_here": "importing it ends Python with the signal SIGABRT",
    }
    assert "CPUExecutionProvider" in devices["onnxruntime"]


def test_a_broken_package_is_named_and_the_exit_code_says_so(requires, monkeypatch):
    monkeypatch.setattr(doctor, "probe", lambda modules: ({"numpy": "ImportError: no libblas"}, {}))
    run = CliRunner().invoke(app, ["doctor"])
    assert run.exit_code == 1
    assert f"broken: numpy {metadata.version('numpy')} cannot be imported: ImportError: no libblas" in run.stderr
    assert json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["broken"]


def test_a_model_that_was_changed_is_named(requires, tmp_path, monkeypatch):
    name, folder = next(iter(bundle.shipped_bundles().items()))
    shutil.copytree(folder, tmp_path / name)
    with (tmp_path / name / "model.onnx").open("ab") as graph:
        graph.write(b"0")
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path)
    run = CliRunner().invoke(app, ["doctor", "--quick", "--json"])
    assert run.exit_code == 1
    (problem,) = json.loads(run.stdout)["broken"]
    assert problem.startswith(f"the model {name}: ")
    assert "was changed" in problem


def test_data_and_disk_are_found(requires, tmp_path, monkeypatch):
    (tmp_path / "images" / "ham10000").mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "x").write_bytes(b"0" * 1000)
    monkeypatch.setenv("DERMDISTILL_DATA", str(tmp_path / "images"))
    monkeypatch.setenv("DERMDISTILL_CACHE", str(tmp_path / "cache"))
    found = examine(quick=True)
    assert found.data.folder == str(tmp_path / "images")
    assert found.data.sources["ham10000"]
    assert not found.data.sources["isic2017"]
    assert (found.cache.folder, found.cache.used_bytes) == (str(tmp_path / "cache"), 1000)
    assert found.cache.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    monkeypatch.setenv("DERMDISTILL_DATA", str(tmp_path / "nowhere"))
    missing = examine(quick=True).data
    assert missing.folder is None
    assert "set DERMDISTILL_DATA" in missing.advice
    assert not any(missing.sources.values())


def test_the_core_install_is_enough():
    code = (
        "import sys\n"
        "from dermdistill.cli import EXTRA_OF, main\n"
        "sys.modules.update(dict.fromkeys(EXTRA_OF))\n"  # as if they were not installed
        "sys.argv = ['dermdistill', 'doctor', '--quick', '--json']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["default"]
