"""The benchmark measures what it says, in turns, and says which runtime to choose."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dermdistill.bench import subjects as subjects_module
from dermdistill.bench.document import Advice, Bench, Subject, Timing
from dermdistill.bench.measure import Effort, alternate, pinned, spread, start
from dermdistill.bench.run import Plan, bench, gate_cost
from dermdistill.bench.show import forms, front, markdown, notes, plot, times_as_fast
from dermdistill.bench.subjects import of_bundle, rivals
from dermdistill.cli import app
from dermdistill.errors import InputError, IntegrityError
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.variants import FORMS, Certificate
from dermdistill.specs import load_header

TINY = Effort(rounds=2, slice_s=0.0, starts=1)


@pytest.fixture(scope="module")
def found() -> Bench:
    plan = Plan([default_bundle()], rivals=(), threads=(1,), batches=(1, 2))
    return bench(plan, TINY, "dermdistill bench", lambda line: None)


def test_turns_alternate_and_begin_with_a_call_that_is_not_timed():
    calls: list[str] = []
    seconds = alternate({name: lambda name=name: calls.append(name) for name in "ab"}, 2, 0.0)  # type: ignore[misc]
    assert [len(seconds[name]) for name in "ab"] == [2, 2]
    assert "".join(calls) == "aabb" + "aabb" + "bbaa"  # one to warm up and one to see how long it takes, then rounds


def test_the_spread_is_that_of_the_rounds():
    assert spread([0.004, 0.001, 0.002, 0.003, 0.005]) == pytest.approx((3.0, 2.0, 4.0, 1.0))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin threads")
def test_threads_are_held_and_let_go():
    before = os.sched_getaffinity(0)
    with pinned(1) as held:
        assert held
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    with pinned(len(before) + 1) as held:
        assert not held


def test_a_bundle_is_measured_in_all_its_forms(found):
    first = found.subjects[0]
    assert (first.runtime, first.precision, first.size) == ("onnxruntime", "fp32", 112)
    assert first.ours
    assert found.reference == first.label
    assert first.timings[0].ratio == 1
    assert [(t.threads, t.batch) for t in first.timings] == [(1, 1), (1, 2)]
    assert all(0 < t.best_ms <= t.low_ms <= t.median_ms <= t.high_ms for t in first.timings)
    assert first.timings[1].best_ms > first.timings[0].best_ms  # two images take longer than one
    assert first.start is not None
    assert 20 < first.start.peak_mib < 600
    assert first.start.wall_ms > first.timings[0].best_ms
    assert first.bytes == (default_bundle() / "model.onnx").stat().st_size
    assert first.auroc is not None
    (advice,) = found.advice
    assert advice.gain >= 1
    assert advice.fastest.startswith("--runtime ")


def test_what_the_gate_costs_is_told_beside(found, tmp_path):
    (gate,) = found.gates
    assert gate.bundle == "lite0-cut-112"
    assert 0 < gate.low <= gate.ratio <= gate.high
    assert any(line.startswith("lite0-cut-112: its gate takes ") for line in notes(found))
    assert not any("its gate" in line for line in notes(found.model_copy(update={"gates": ()})))
    folder = shutil.copytree(default_bundle(), tmp_path / "plain")
    (folder / "gate.onnx").unlink()
    header = json.loads((folder / "bundle.json").read_text())
    del header["files"]["gate.onnx"]
    (folder / "bundle.json").write_text(json.dumps(header))
    assert gate_cost(folder, TINY) is None


def test_it_is_told_and_drawn(found, tmp_path):
    text = markdown(found)
    assert text.splitlines()[0].startswith("| network | runtime | bytes | MMACs | AUROC | flips | 1 thread, batch 1 |")
    size = (default_bundle() / "model.onnx").stat().st_size
    assert f"lite0-cut-112@112 | onnxruntime fp32 | {size:,} |" in text
    assert "made by `dermdistill bench`" in text
    busy, calm = (markdown(found.model_copy(update={"load": load})) for load in (7.0, 0.1))
    assert "load before the run 7.0; others wanted the 1 cores too, so that these figures are DOUBTFUL" in busy
    assert "DOUBTFUL" not in calm
    assert "onnxruntime" in found.versions
    plot(found, tmp_path / "pareto.svg")
    drawn = (tmp_path / "pareto.svg").read_text()
    assert "lite0-cut-112 onnxruntime fp32" in drawn
    assert "melanoma AUROC" in drawn
    nameless = found.model_copy(
        update={"subjects": tuple(s.model_copy(update={"auroc": None}) for s in found.subjects)}
    )
    with pytest.raises(InputError, match="nothing to plot"):
        plot(nameless, tmp_path / "none.svg")


def test_advice_tells_both_the_same_answers_and_the_fastest():
    def subject(runtime: str, precision: str, ms: float) -> Subject:
        timing = Timing(threads=1, batch=1, median_ms=ms, low_ms=ms, high_ms=ms, best_ms=ms, rounds=1, ratio=ms)
        return Subject(
            name="tiny", ours=True, runtime=runtime, precision=precision, size=8, bytes=1, parameters=1, macs=1,
            auroc=None, agreement=None, timings=(timing,), start=None, share_of_peak=None,
        )  # fmt: skip

    from dermdistill.bench.run import _advice

    of = [subject("onnxruntime", "fp32", 4.0), subject("openvino", "fp32", 2.0), subject("openvino", "int8", 1.0)]
    expected = Advice(
        bundle="tiny", same_answers="--runtime openvino --precision fp32",
        fastest="--runtime openvino --precision int8", gain=4.0,
    )  # fmt: skip
    assert _advice(of) == [expected]


def _subject(name: str, runtime: str, ms: float, *, ours: bool = False) -> Subject:
    timing = Timing(threads=1, batch=1, median_ms=ms, low_ms=ms, high_ms=ms, best_ms=ms, rounds=1, ratio=ms)
    return Subject(
        name=name, ours=ours, runtime=runtime, precision="fp32", size=224, bytes=1234, parameters=1, macs=1,
        auroc=None, agreement=None, timings=(timing,), start=None, share_of_peak=None,
    )  # fmt: skip


def test_it_tells_how_many_times_as_long_the_papers_networks_take_on_their_faster_runtimes(found):
    subjects = [
        _subject("slow", "openvino", 2.0, ours=True), _subject("tiny", "openvino", 0.5, ours=True),
        _subject("dsnet", "onnxruntime", 30.0), _subject("dsnet", "openvino", 20.0),
        _subject("resnet50", "onnxruntime", 80.0), _subject("resnet50", "openvino", 100.0),
    ]  # fmt: skip
    whole = found.model_copy(update={"subjects": tuple(subjects)})
    lines = times_as_fast(whole)
    assert lines[0] == ("| one thread, one image | ms | dsnet takes (aim 40x) | resnet50 takes (aim 150x) | bytes |")
    assert lines[2:] == [
        "| tiny@224 openvino fp32 | 0.50 | 40.0x | 160.0x | 1,234 |",
        "| slow@224 openvino fp32 | 2.00 | 10.0x | 40.0x | 1,234 |",
    ]
    assert "\n".join(lines) in markdown(whole)
    assert times_as_fast(whole.model_copy(update={"subjects": tuple(subjects[:4])})) == []


@pytest.mark.parametrize(("origin", "known"), [("photographs", True), ("generated", False)])
def test_an_auroc_of_a_form_is_told_only_after_a_comparison_on_photographs(monkeypatch, tmp_path, origin, known):
    told = json.loads((Path(__file__).parents[2] / "results" / "speed" / "parity.json").read_text())
    certificate = Certificate.model_validate({**told, "images": {**told["images"], "origin": origin}})
    graph = tmp_path / FORMS["onnx-int8"].files[0]
    graph.write_bytes(b"")
    monkeypatch.setattr(subjects_module, "read_certificate", lambda bundle: certificate)
    monkeypatch.setattr(subjects_module, "find_graph", lambda *asked: graph)
    form = subjects_module._form(read_bundle(default_bundle()), "onnxruntime", "int8")
    assert (form.auroc is not None) == known
    assert form.agreement is not None


def test_the_front_holds_what_nothing_beats_in_both():
    assert front([(2, 0.8), (1, 0.7), (3, 0.75), (2, 0.6), (4, 0.9)]) == [(1, 0.7), (2, 0.8), (4, 0.9)]


def test_a_runtime_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(subjects_module, "runs", lambda runtime: runtime == "onnxruntime")
    skipped: dict[str, str] = {}
    forms = of_bundle(default_bundle(), skipped)
    assert [(one.runtime, one.precision) for one in forms] == [("onnxruntime", "fp32")]
    assert skipped == {"lite0-cut-112 openvino fp32": "needs: pip install 'dermdistill[openvino]'"}


def test_a_rival_is_exported_once_with_random_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("DERMDISTILL_CACHE", str(tmp_path))
    monkeypatch.setitem(subjects_module.RIVALS, "tiny", ("dsnet", 32))
    (one,) = rivals(["tiny"], ["onnxruntime"])
    assert not one.ours
    assert one.size == 32
    assert one.macs > one.parameters > 1000
    assert one.auroc is None
    written = one.graph.stat().st_mtime_ns
    assert next(iter(rivals(["tiny"], ["onnxruntime"]))) == one
    assert one.graph.stat().st_mtime_ns == written
    assert start(one.graph, "onnxruntime", 32, 1).peak_mib > 10
    with pytest.raises(InputError, match=r"rivals are dsnet, .*, got 'vgg'"):
        next(iter(rivals(["vgg"], ["onnxruntime"])))


def test_a_graph_that_does_not_run_is_told(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(IntegrityError, match="a fresh process cannot run"):
        start(tmp_path / "model.onnx", "onnxruntime", 32, 1)


def test_the_command_writes_all_three_files(monkeypatch, tmp_path):
    from dermdistill.bench import measure

    monkeypatch.setattr(measure, "QUICK", replace(TINY, starts=1))
    monkeypatch.setattr(sys, "argv", ["dermdistill", "bench", "--quick"])
    call = ["bench", "lite0-cut-64", "--quick", "--rivals", "none", "--json", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    written = Bench.model_validate_json((tmp_path / "bench.json").read_text())
    assert json.loads(done.stdout) == written.model_dump(mode="json")
    assert written.command == "dermdistill bench --quick"
    assert written.subjects[0].name == "lite0-cut-64"
    assert (tmp_path / "pareto.svg").exists()
    assert "| lite0-cut-64@64 |" in (tmp_path / "timings.md").read_text()
    assert any(line.startswith("lite0-cut-64: fastest here") for line in notes(written))


@pytest.mark.parametrize("name", ["parity.json", "parity-64.json"])
def test_the_page_on_speed_has_the_table_of_its_certificate(name: str):
    folder = Path(__file__).resolve().parents[2] / "results" / "speed"
    certificate = load_header(folder / name, Certificate)
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert forms(certificate) in page
    assert f"{certificate.images.compared:,} photographs" in page
    assert certificate.hardware in page
    assert certificate.reference_sha256[:12] in page
