"""`dermdistill export --from`: what it asks for, and that it keeps the fastest form."""

import pytest
from typer.testing import CliRunner

from dermdistill.bench import measure
from dermdistill.bench import run as run_module
from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.variants import read_certificate


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a finished run or --from BUNDLE"),
        (["run", "--from", "lite0-cut-112", "--out", "b"], "not both"),
        (["--from", "lite0-cut-112"], "a folder with --out"),
        (["--from", "lite0-cut-112", "--out", "b"], "--from needs --formats"),
        (["run", "--out", "b"], "--manifest is missing"),
        (["--from", "lite0-cut-112", "--out", "b", "--formats", "tensorrt"], "formats must be all or some of"),
        (["--from", "lite0-cut-112", "--out", "b", "--formats", "onnx-fp16", "--images", "x.csv"], "no such manifest"),
    ],
)
def test_what_does_not_fit_is_told(arguments: list[str], said: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", *arguments])
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_fastest_form_is_kept(tmp_path, monkeypatch):
    """Here that of 16 bits, which is said to be the fastest."""

    def of_16_bits(bundle, effort, tell):
        found = fastest(bundle, effort, tell)
        timing = found.timings[0].model_copy(update={"median_ms": 0.25})
        return found.model_copy(update={"runtime": "onnxruntime", "precision": "fp16", "timings": (timing,)})

    fastest = run_module.fastest
    monkeypatch.delenv("DERMDISTILL_DATA", raising=False)
    monkeypatch.setattr(measure, "FULL", measure.Effort(rounds=1, slice_s=0.0, starts=1))
    monkeypatch.setattr(run_module, "fastest", of_16_bits)
    out = tmp_path / "b"
    call = ["export", "--from", "lite0-cut-64", "--formats", "onnx-fp16,onnx-int8", "--count", "60", "--out", str(out)]
    done = CliRunner().invoke(app, [*call, "--for-this-machine"])
    assert done.exit_code == 0, done.output
    assert "fastest here: 0.25 ms an image" in done.output
    assert "--runtime onnxruntime --precision fp16" in done.output
    certificate = read_certificate(read_bundle(out))
    assert certificate is not None
    assert list(certificate.variants) == ["onnx-fp16"]
    assert not (out / "model.int8.onnx").exists()
