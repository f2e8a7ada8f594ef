"""The public Python API: few names, each documented, imported when it is first used, with examples that run."""

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import dermdistill

HEAVY = {"numpy", "onnxruntime", "PIL", "pydantic", "torch", "pandas", "sklearn", "matplotlib", "rich", "typer"}
ROOT = Path(__file__).parents[1]


def test_importing_it_loads_nothing():
    code = "import json, sys; import dermdistill; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    modules = set(json.loads(done.stdout))
    assert not modules & HEAVY
    assert {name for name in modules if name.startswith("dermdistill")} <= {
        "dermdistill", "dermdistill.privacy", "dermdistill.threads", "dermdistill.version",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in dermdistill.__all__ if not name.startswith("__")])
def test_each_name_can_be_called_and_is_documented(name: str):
    value = getattr(dermdistill, name)
    assert callable(value)
    assert value.__doc__
    assert f"dermdistill.{name}" in (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert name in dir(dermdistill)


def test_a_name_that_is_not_offered_is_told():
    with pytest.raises(AttributeError, match=r"has no attribute 'dream'; it offers .*Predictor"):
        dermdistill.dream  # noqa: B018


def test_evaluate_is_the_function_and_still_the_package():
    import dermdistill.evaluate.metrics

    assert dermdistill.evaluate is sys.modules["dermdistill.evaluate"]
    assert dermdistill.evaluate.metrics.__name__ == "dermdistill.evaluate.metrics"
    with pytest.raises(dermdistill.errors.InputError, match="no such manifest"):
        dermdistill.evaluate("no-such-manifest.csv", {}, "out")


@pytest.mark.parametrize("module", ["dermdistill", "dermdistill.api"])
def test_the_examples_in_docstrings_run(module: str):
    failures, tried = doctest.testmod(importlib.import_module(module))
    assert tried
    assert not failures
