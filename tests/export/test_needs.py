"""The extra that a format names is enough to make it, and what is missing is told with that extra."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from dermdistill.cli import EXTRA_OF
from dermdistill.export.formats.form import COMPARING, Format
from dermdistill.export.formats.table import FORMATS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "src" / "dermdistill" / "export" / "formats"
CORE = {"PIL", "dermdistill", "google", "numpy", "onnxruntime", "pydantic", "rich", "simplejpeg", "typer"}
DISTRIBUTIONS = {"docx": "python-docx", "python_multipart": "python-multipart", "sklearn": "scikit-learn"}
"""Of packages that are not imported by the name by which they are installed."""

WITHOUT = """
import json, sys
from importlib.machinery import PathFinder

absent = set(json.loads(sys.argv.pop(1)))

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from dermdistill.cli import main
main()
"""
"""The command in a process that does not find some packages, as if they were not installed."""

every_format = pytest.mark.parametrize("format", FORMATS.values(), ids=lambda format: format.name)


@cache
def locked() -> dict[str, list[dict]]:
    """What uv.lock holds, by name: a package may stand there in several versions."""
    found: dict[str, list[dict]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]:
        found.setdefault(package["name"], []).append(package)
    return found


def named_by(extra: str) -> set[str]:
    """The distributions that an extra names itself, or by another extra of dermdistill."""
    (own,) = locked()["dermdistill"]
    return {item["name"] for item in own["optional-dependencies"][extra]}


def with_theirs(names: Iterable[str]) -> set[str]:
    """Distributions, those that they need, and so on."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += [item["name"] for package in locked()[name] for item in package.get("dependencies", ())]
    return found


def distribution(module: str) -> str:
    return DISTRIBUTIONS.get(module, module.replace("_", "-"))


def run_with(packages: Iterable[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `dermdistill` command in a process that has, besides the core, some packages and what they need."""
    there = with_theirs(map(distribution, packages))
    absent = [module for module in EXTRA_OF if distribution(module) not in there]
    command = [sys.executable, "-c", WITHOUT, json.dumps(absent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def imported(module: str) -> set[str]:
    """The packages that a module of formats imports anywhere, and those of other modules of formats that it imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.split(".")[0])
            *folder, other = node.module.split(".")
            if folder == ["dermdistill", "export", "formats"] and other != module:
                found |= imported(other)
    return found - set(sys.stdlib_module_names) - CORE


@every_format
def test_the_extra_of_a_format_brings_all_that_it_is_made_with(format: Format):
    module = format.make.__module__.rpartition(".")[2]
    used = {*format.packages, *COMPARING, *imported(module)}
    assert {distribution(package) for package in used} <= named_by(format.extra)


@every_format
def test_a_format_says_what_its_module_imports(format: Format):
    beside = [other for other in FORMATS.values() if other.make.__module__ == format.make.__module__]
    said = {package for other in beside for package in other.packages}
    assert imported(format.make.__module__.rpartition(".")[2]) <= {*said, *COMPARING}


@pytest.mark.parametrize("name", ["openvino", "onnx-fp16"])
def test_a_format_is_made_with_what_it_says_and_no_more(name: str, tmp_path: Path, monkeypatch):
    """Of those that are quick to make; .ci/extras.py makes the others, each with its extra alone."""
    format = FORMATS[name]
    if reason := format.needs():
        pytest.skip(f"{name} {reason}")
    monkeypatch.delenv("DERMDISTILL_DATA", raising=False)
    out = tmp_path / "bundle"
    call = ("export", "--from", "lite0-cut-64", "--formats", name, "--count", "30", "--out", str(out))
    done = run_with((*format.packages, *COMPARING), *call)
    assert done.returncode == 0, done.stderr
    assert list(json.loads((out / "parity.json").read_text(encoding="utf-8"))["variants"]) == [name]
    assert all((out / file).is_file() for file in format.files)


@pytest.mark.parametrize("there", [(), ("openvino",)], ids=["the core", "what predicts with OpenVINO"])
def test_what_is_missing_is_told_with_the_extra_of_the_format(there: tuple[str, ...], tmp_path: Path):
    call = ("export", "--from", "lite0-cut-64", "--formats", "all", "--out", str(tmp_path / "bundle"))
    if any(find_spec(package) is None for package in there):
        pytest.skip(f"needs {', '.join(there)}")
    done = run_with(there, *call)
    assert done.returncode == 2, done.stderr
    told = " ".join((done.stdout + done.stderr).split())
    for format in FORMATS.values():
        missing = ", ".join(f"'{package}'" for package in (*format.packages, *COMPARING) if package not in there)
        said = f"needs {missing}; install it with: pip install 'dermdistill[{format.extra}]'"
        assert f"{format.name}: not made: {said}" in told
    assert not re.search(r"dermdistill\[(export|openvino)\]", told)
