"""Each format answers as model.onnx does, or is not written; each that cannot be made is named."""

import json
import shutil
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.synthetic.generate import generate
from dermdistill.errors import InputError, IntegrityError
from dermdistill.export import convert as convert_module
from dermdistill.export import rounding
from dermdistill.export.convert import convert, keep
from dermdistill.export.formats import litert, onnx_int8
from dermdistill.export.formats.form import Format, Source
from dermdistill.export.formats.table import FORMATS, choose
from dermdistill.files import sha256_file
from dermdistill.predict.bundle import find_bundle, read_bundle
from dermdistill.predict.predictor import Predictor
from dermdistill.predict.variants import FORMS, find_graph, read_certificate
from dermdistill.predict.vectors import verify_form

COUNT = 90
SMALL = find_bundle("lite0-cut-64")


def needs(name: str) -> None:
    """Skip, with the reason, where a format cannot be made."""
    if reason := FORMATS[name].needs():
        pytest.skip(f"{name} {reason}")


@pytest.fixture(scope="module", autouse=True)
def generated_images():
    """No photographs, whose import takes a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DERMDISTILL_DATA", raising=False)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The shipped bundle with all ONNX forms and OpenVINO's own, and what was told on the way."""
    told: list[str] = []
    folder = tmp_path_factory.mktemp("formats") / "bundle"
    names = ["onnx-fp16", "onnx-int8", "openvino", "openvino-fp16"]
    convert(SMALL, [n for n in names if not FORMATS[n].needs()], folder, count=COUNT, tell=told.append)
    return SimpleNamespace(folder=folder, told=told)


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 200, (4, 64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("runtime", "precision", "within"),
    [
        ("onnxruntime", "fp16", 0.02),
        ("onnxruntime", "int8", 0.3),
        ("openvino", "fp32", 1e-4),
        ("openvino", "fp16", 0.02),
    ],
)
def test_a_form_is_run_by_its_runtime(base, runtime: str, precision: str, within: float):
    if runtime == "openvino" and find_spec("openvino") is None:
        pytest.skip("needs the extra openvino")
    plain = Predictor(base.folder, threads=1).probabilities(images())
    other = Predictor(base.folder, threads=1, runtime=runtime, precision=precision)  # type: ignore[arg-type]
    assert other.graph.name == FORMS[next(n for n, f in FORMS.items() if (f.runtime, f.precision) ==
                                          (runtime, precision))].files[0]  # fmt: skip
    np.testing.assert_allclose(other.probabilities(images()), plain, atol=within)


def test_the_certificate_tells_what_was_compared(base):
    certificate = read_certificate(read_bundle(base.folder))
    assert certificate is not None
    assert certificate.images.origin == "generated"
    assert (certificate.images.calibration, certificate.images.compared) == (30, 60)
    half, eight = certificate.variants["onnx-fp16"], certificate.variants["onnx-int8"]
    whole = read_bundle(base.folder).graph.stat().st_size
    assert half.bytes < 0.6 * whole
    assert eight.bytes < 0.33 * whole
    assert half.agreement is not None
    assert eight.agreement is not None
    assert 0 < half.agreement.probabilities_max_abs_difference <= half.tolerance.probability
    assert half.agreement.melanoma_mean_abs_difference < eight.agreement.melanoma_mean_abs_difference
    assert half.agreement.images == 60
    assert half.agreement.auroc_difference is not None
    assert len(eight.answers) == len(read_bundle(base.folder).spec.vectors.images)
    tried = [key for key in eight.how if key.startswith("mean difference")]
    assert tried[:2] == ["mean difference, per tensor", "mean difference, per channel"]
    best = min(tried, key=lambda key: float(eight.how[key]))
    assert eight.how["kept"] == best.removeprefix("mean difference, ")
    assert any(line.startswith("onnx-int8: ") and "decisions change" in line for line in base.told)


@pytest.fixture
def drawn(tmp_path) -> Path:
    """A manifest of generated lesions, which a conversion takes for photographs."""
    generate(tmp_path / "drawn", n=40, size=64)
    return tmp_path / "drawn" / "manifest.parquet"


def test_forms_that_need_no_torch_do_not_import_it():
    needs("openvino-int8")
    code = """
import sys
sys.modules["torch"] = None
from dermdistill.export.convert import convert
from dermdistill.export.formats import onnx_fp16, onnx_int8, openvino
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_torch_weights_are_not_fine_tuned_and_the_certificate_says_so(drawn, tmp_path, monkeypatch):
    needs("onnx-int8")
    monkeypatch.setattr(convert_module, "TUNED_BEYOND", -1.0)
    monkeypatch.setattr(convert_module, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    convert(SMALL, ["onnx-int8"], tmp_path / "bundle", images=drawn, count=40, tell=lambda _: None)
    certificate = read_certificate(read_bundle(tmp_path / "bundle"))
    assert certificate is not None
    assert "dermdistill[export]" in certificate.variants["onnx-int8"].how["fine-tuning"]


@pytest.mark.parametrize("beyond", [-1.0, 1.0], ids=["tuned", "not tuned"])
def test_weights_are_fine_tuned_where_eight_bits_lose_too_much(drawn, tmp_path, monkeypatch, beyond: float):
    needs("onnx-int8")
    monkeypatch.setattr(convert_module, "TUNED_BEYOND", beyond)
    few = partial(rounding.write_tuned, tuning=rounding.Tuning(steps=2))
    monkeypatch.setattr(rounding, "write_tuned", few)
    convert(SMALL, ["onnx-int8"], tmp_path / "bundle", images=drawn, count=40, tell=lambda _: None)
    certificate = read_certificate(read_bundle(tmp_path / "bundle"))
    assert certificate is not None
    made = certificate.variants["onnx-int8"]
    assert made.agreement is not None
    if beyond < 0:
        after, without = (float(text.split()[-1]) for text in made.how["mean difference"].split(","))
        assert made.how["fine-tuning"] == ("kept" if after < without else "not kept")
        assert made.agreement.melanoma_mean_abs_difference == pytest.approx(min(after, without), abs=1e-5)
    else:
        assert "fine-tuning" not in made.how
    # what was kept is what was compared: the file gives its own answers
    verify_form(read_bundle(tmp_path / "bundle"), "onnxruntime", "int8")


def test_a_form_gives_its_own_answers_to_the_vectors_or_is_refused(base, tmp_path):
    checked = verify_form(read_bundle(base.folder), "onnxruntime", "int8")
    assert len(checked) == len(read_bundle(base.folder).spec.vectors.images)
    assert max(one.probability for one in checked) < 1e-3
    assert CliRunner().invoke(app, ["verify", str(base.folder), "--precision", "int8"]).exit_code == 0
    folder = tmp_path / "bundle"
    shutil.copytree(base.folder, folder)
    certificate, header = (json.loads((folder / name).read_text()) for name in ("parity.json", "bundle.json"))
    answers = certificate["variants"]["onnx-int8"]["answers"]
    answers[0] = answers[0][::-1]
    (folder / "parity.json").write_text(json.dumps(certificate))
    header["files"]["parity.json"] = sha256_file(folder / "parity.json")
    (folder / "bundle.json").write_text(json.dumps(header))
    with pytest.raises(IntegrityError, match=r"model\.int8\.onnx does not give its own answers here: .*'single' by"):
        verify_form(read_bundle(folder), "onnxruntime", "int8")
    with pytest.raises(IntegrityError, match=r"keeps no answers of model\.onnx"):
        verify_form(read_bundle(folder), "onnxruntime", "fp32")


def test_a_changed_or_foreign_form_is_refused(base, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(base.folder, folder)
    content = json.loads((folder / "bundle.json").read_text())
    path = folder / "model.int8.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match=r"model\.int8\.onnx was changed"):
        read_bundle(folder)
    content["files"]["model.int8.onnx"] = sha256_file(path)
    (folder / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=r"is of another model\.int8\.onnx than bundle\.json"):
        Predictor(folder, precision="int8")


def test_forms_that_are_not_there_are_told_with_the_command_that_makes_them():
    bundle = read_bundle(SMALL)
    with pytest.raises(InputError, match=r"--formats onnx-int8 --out FOLDER"):
        find_graph(bundle, "onnxruntime", "int8")
    with pytest.raises(InputError, match="no fp16 form for litert; it has fp32, int8"):
        find_graph(bundle, "litert", "fp16")
    with pytest.raises(InputError, match="precision must be one of fp32, fp16, int8, got 'int4'"):
        find_graph(bundle, "onnxruntime", "int4")
    assert find_graph(bundle, "openvino", "fp32") == bundle.graph  # which OpenVINO reads as well


def wrong(name: str, change) -> Format:
    """The fp16 format, whose graph is changed after it was made."""
    import onnx

    def make(source: Source, folder):
        model = onnx.load(source.graph)
        change(model)
        (folder / "model.fp16.onnx").write_bytes(model.SerializeToString())
        return {}

    real = FORMATS[name]
    return Format(name=name, extra=real.extra, packages=(), tolerance=real.tolerance, make=make)


def sharpen(model) -> None:
    """Another temperature: the order of images stays, their probabilities do not."""
    from onnx import numpy_helper

    (node,) = [node for node in model.graph.node if node.output[0] == "probabilities"]
    (divide,) = [one for one in model.graph.node if one.output[0] == node.input[0]]
    (tensor,) = [one for one in model.graph.initializer if one.name == divide.input[1]]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / np.float32(2), tensor.name))


def test_a_form_beyond_its_tolerance_fails_and_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(convert_module, "choose", lambda names: [wrong("onnx-fp16", sharpen)])
    said = (
        r"onnx-fp16 differs from model\.onnx beyond its tolerance on 20 images: a probability by .* \(allowed 0\.02\)"
    )
    with pytest.raises(IntegrityError, match=said + ".*nothing was written"):
        convert(SMALL, ["onnx-fp16"], tmp_path / "out", count=30, tell=lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_a_converter_that_fails_is_told(monkeypatch, tmp_path):
    def fail(model) -> None:
        raise KeyError("no such operator")

    monkeypatch.setattr(convert_module, "choose", lambda names: [wrong("onnx-fp16", fail)])
    with pytest.raises(IntegrityError, match=r"onnx-fp16 cannot be made of .*KeyError: 'no such operator'; nothing"):
        convert(SMALL, ["onnx-fp16"], tmp_path / "out", count=30, tell=lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_a_format_whose_package_is_not_installed_is_named(monkeypatch, tmp_path):
    absent = Format(**{**vars(FORMATS["coreml"]), "packages": ("no_such_package",)})
    told: list[str] = []
    monkeypatch.setattr(convert_module, "choose", lambda names: [absent])
    with pytest.raises(InputError, match="none of these formats can be made here"):
        convert(SMALL, ["coreml"], tmp_path / "out", tell=told.append)
    assert told == [
        "coreml: not made: needs 'no_such_package'; install it with: pip install 'dermdistill[coreml]'"
    ]  # fmt: skip


def test_the_environment_of_litert_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DERMDISTILL_LITERT_PYTHON", str(tmp_path / "bin" / "python"))
    assert f"uv venv {tmp_path} --python 3.11 && uv pip install" in str(litert.hindrance())


def test_formats_are_chosen_by_name():
    assert [format.name for format in choose(["openvino", " onnx-fp16"])] == ["onnx-fp16", "openvino"]
    assert [format.name for format in choose(["all"])] == list(FORMS)
    with pytest.raises(InputError, match=r"formats must be all or some of onnx-fp16, .* got 'onnx-int4'"):
        choose(["onnx-int4"])


def test_int8_tries_further_ways_where_both_collapse(monkeypatch, tmp_path):
    """Of ways that are all bad the best one is kept, and the third one is tried at all."""
    made = []

    def quantise(graph, path, way, source):
        made.append(way.name)
        path.write_bytes(source.graph.read_bytes() if way.keep_depthwise else broken)

    import onnx

    model = onnx.load(SMALL / "model.onnx")
    sharpen(model)
    broken = model.SerializeToString()
    monkeypatch.setattr(onnx_int8, "_quantise", quantise)
    monkeypatch.setattr(onnx_int8, "_DEPTHWISE_APART", 1e-9)
    source = Source(SMALL / "model.onnx", 64, 4, images(), ())
    how = onnx_int8.make(source, tmp_path)
    assert made == ["per tensor", "per channel", "per channel, depthwise in float32"]
    assert how["kept"] == made[2]
    assert float(how["mean difference, per channel"]) > 0
    assert (tmp_path / "model.int8.onnx").read_bytes() == source.graph.read_bytes()


def test_forms_can_be_taken_out_again(base, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(base.folder, folder)
    keep(folder, ["onnx-fp16"])
    certificate = read_certificate(read_bundle(folder))
    assert certificate is not None
    assert list(certificate.variants) == ["onnx-fp16"]
    assert not (folder / "model.int8.onnx").exists()
    assert (folder / "model.fp16.onnx").exists()


@pytest.mark.parametrize("name", ["openvino-int8", "litert", "litert-int8", "coreml"])
def test_the_formats_of_other_packages(name: str, tmp_path):
    """Made, run and compared where the packages are; ExecuTorch's, which take minutes, in .ci/extras.py alone."""
    needs(name)
    folder = convert(SMALL, [name], tmp_path / "bundle", count=60, tell=lambda line: None)
    certificate = read_certificate(read_bundle(folder))
    assert certificate is not None
    assert (certificate.variants[name].agreement is None) == (name == "coreml")
    form = FORMS[name]
    if form.runtime is not None:
        found = Predictor(folder, threads=1, runtime=form.runtime, precision=form.precision).probabilities(images())
        np.testing.assert_allclose(found.sum(1), 1, atol=0.02)
