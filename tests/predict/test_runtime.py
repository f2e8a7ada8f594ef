"""Runtimes give the same answers, say so where they are not installed, and send nothing."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError, IntegrityError, MissingExtraError
from dermdistill.predict import runtime as runtime_module
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.predictor import Predictor
from dermdistill.predict.runtime import load
from dermdistill.predict.vectors import verify


@pytest.fixture
def with_openvino():
    """Skip where OpenVINO is not installed; it is not imported here, for that would send an event."""
    from importlib.util import find_spec

    if find_spec("openvino") is None:
        pytest.skip("needs the extra openvino")


def printed_by(code: str) -> str:
    """What a new process prints that runs some code."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    return run.stdout


def test_openvino_gives_the_answers_of_onnx_runtime(with_openvino):
    images = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), np.uint8)
    images[1] = (160, 110, 90)  # plain skin, as the network sees it
    one, other = (Predictor(threads=1, runtime=name).probabilities(images) for name in ("onnxruntime", "openvino"))
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert np.ptp(one, axis=0).max() > 0.02  # else this would show nothing


def test_openvino_gives_the_answers_to_the_test_vectors(with_openvino, trained):
    """Its resize too, in float32; by default it would take bfloat16 where the processor has it."""
    checked = verify(read_bundle(trained.bundle), "openvino")
    assert max(one.pixels for one in checked) <= 1


def test_the_command_line_asks_openvino(with_openvino, photos):
    call = ["predict", str(photos.good / "a.png"), "--gate", "off", "--format", "json", "--runtime"]
    found = [CliRunner().invoke(app, [*call, name]) for name in ("onnxruntime", "openvino")]
    rows = [json.loads(run.stdout)["results"][0] for run in found]
    assert rows[0]["p_melanoma"] == pytest.approx(rows[1]["p_melanoma"], abs=1e-4)


def test_the_gate_is_asked_whatever_runs_the_network(with_openvino, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    for mode, is_answered in (("refuse", False), ("judge", True)):
        call = ["predict", str(tmp_path / "noise.png"), "--gate", mode, "--format", "json", "--runtime"]
        runs = [CliRunner().invoke(app, [*call, name]) for name in ("onnxruntime", "openvino")]
        one, other = (json.loads(run.stdout)["results"][0] for run in runs)
        assert one["status"] == other["status"] == "refused"
        assert one["message"] == other["message"] != ""
        assert (one["p_melanoma"] is not None, other["p_melanoma"] is not None) == (is_answered, is_answered)
        if is_answered:
            assert one["p_melanoma"] == pytest.approx(other["p_melanoma"], abs=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO changes the stack on Linux")
def test_openvino_leaves_the_stack_of_signal_handlers_as_it_was(with_openvino):
    """On its own, which is too small for AMX registers, a Ctrl-C could end in a segmentation fault."""
    code = (
        "import signal\n"
        "from dermdistill.predict.predictor import Predictor\n"
        "from dermdistill.predict.signal_stack import signal_stack\n"
        "before = signal_stack()\n"
        "Predictor(threads=1, runtime='openvino')\n"
        "assert signal_stack() == before\n"
        "signal.signal(signal.SIGINT, lambda *_: print('stopped'))\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    assert printed_by(code) == "stopped\n"


def test_openvino_sends_nothing(with_openvino):
    code = (
        "import sys, numpy as np\n"
        "from dermdistill.predict.predictor import Predictor\n"
        "Predictor(threads=1, runtime='openvino').probabilities(np.zeros((1, 112, 112, 3), np.uint8))\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry') and sys.modules[name]])\n"
    )
    assert printed_by(code) == "[]\n"


def test_openvino_tells_of_graphs_that_it_cannot_load_or_run(with_openvino, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(IntegrityError, match="is not a graph that OpenVINO can load"):
        load(tmp_path / "model.onnx", runtime="openvino")
    with pytest.raises(IntegrityError, match="fails when it is run"):
        load(default_bundle() / "model.onnx", runtime="openvino").run(["probabilities"], np.zeros((1, 3), np.float32))


def test_a_runtime_that_is_not_installed_or_not_known_is_told(monkeypatch):
    def missing():
        raise ModuleNotFoundError(name="openvino")

    monkeypatch.setattr(runtime_module, "openvino", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'dermdistill\[openvino\]'"):
        Predictor(runtime="openvino")
    known = "onnxruntime, openvino, executorch, litert"
    with pytest.raises(InputError, match=f"runtime must be one of {known}, got 'tensorrt'"):
        Predictor(runtime="tensorrt")
