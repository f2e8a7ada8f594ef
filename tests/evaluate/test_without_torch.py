"""The `eval` extra alone evaluates: no module of `evaluate` reaches torch, timm or Lightning."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

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


CODE = """
import contextlib, importlib, json
from dermdistill.cli import main

modules, *commands = (json.loads(argument) for argument in sys.argv[1:])
for name in modules:
    importlib.import_module(name)
for command in commands:
    sys.argv = ["dermdistill", *command]
    with contextlib.suppress(SystemExit):
        main()
"""


def test_every_module_is_imported_and_the_command_runs_without_torch(
    manifest: pd.DataFrame, make_model: Callable[..., ModelPredictions], tmp_path: Path
):
    """The command judges a run and a table, each in a folder of its own."""
    modules = [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((SOURCE / "evaluate").rglob("*.py"))
    ]
    write_manifest(manifest, tmp_path / "manifest.parquet")
    run, table = tmp_path / "run", tmp_path / "table.csv"
    run.mkdir()
    make_model().table.to_parquet(run / "predictions.parquet")
    (run / "run.json").write_text(json.dumps({"format": "dermdistill-run/1", "status": "complete"}))
    make_model().table.to_csv(table, index=False)
    outs = {given: tmp_path / f"out-{given.stem}" for given in (run, table)}
    commands = [
        ["evaluate", str(tmp_path / "manifest.parquet"), "--model", f"m={given}", "--out", str(out), "--replicates",
         "100"] for given, out in outs.items()
    ]  # fmt: skip
    command = [sys.executable, "-c", BLOCKED + CODE, *map(json.dumps, [modules, *commands])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for out in outs.values():
        assert (out / "report.html").is_file(), done.stderr
