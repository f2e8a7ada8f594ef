"""The `eval` extra alone evaluates: no module of `evaluate` reaches torch, timm or Lightning."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from dermdistill.data.manifest import write_manifest
from dermdistill.evaluate.predictions import ModelPredictions

SOURCE = Path(__file__).resolve().parents[2] / "src" / "dermdistill"
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "lightning_fabric"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Blocked())
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_module_is_imported_without_torch():
    names = [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((SOURCE / "evaluate").rglob("*.py"))
    ]
    done = run("import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)", *names)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["run", "table"])
def test_the_command_runs_without_torch(
    manifest: pd.DataFrame, make_model: Callable[..., ModelPredictions], tmp_path: Path, kind: str
):
    write_manifest(manifest, tmp_path / "manifest.parquet")
    given = tmp_path / kind
    if kind == "run":
        given.mkdir()
        make_model().table.to_parquet(given / "predictions.parquet")
        (given / "run.json").write_text(json.dumps({"format": "dermdistill-run/1", "status": "complete"}))
    else:
        given = given.with_suffix(".csv")
        make_model().table.to_csv(given, index=False)
    done = run(
        "from dermdistill.cli import main\nmain()", "evaluate", str(tmp_path / "manifest.parquet"),
        "--model", f"m={given}", "--out", str(tmp_path / "out"), "--replicates", "100",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
