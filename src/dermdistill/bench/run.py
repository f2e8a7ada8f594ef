"""A run of the benchmark: all subjects in turns, in each setting."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dermdistill.bench.document import Advice, Bench, GateCost, Start, Subject, Timing
from dermdistill.bench.measure import Effort, alternate, matmul_gmacs, pinned, spread, start
from dermdistill.bench.subjects import RIVALS, Loadable, of_bundle, rivals, runs
from dermdistill.errors import IntegrityError
from dermdistill.export.formats.form import installed
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.pipeline import usable_cores
from dermdistill.predict.runtime import OnnxRuntime
from dermdistill.run import hardware, versions

BATCHES = (1, 32)
_RUNTIMES = ("onnxruntime", "openvino", "executorch", "ai-edge-litert")


@dataclass
class Plan:
    """What a run measures."""

    bundles: Sequence[Path]
    """The first one's ONNX graph in float32 is what ratios refer to."""
    rivals: Sequence[str] = tuple(RIVALS)
    """Names of `RIVALS`."""
    threads: Sequence[int] = field(default_factory=lambda: tuple(sorted({1, usable_cores()})))
    batches: Sequence[int] = BATCHES
    rival_runtimes: Sequence[str] = ("onnxruntime", "openvino")


def bench(plan: Plan, effort: Effort, command: str, tell: Callable[[str], None] = print) -> Bench:
    """Measure.

    Args:
        plan: what is measured.
        effort: for how long.
        command: what makes the run again.
        tell: gets a line about each step.

    Raises:
        InputError: no such bundle or rival.
        IntegrityError: a bundle is damaged, or no graph of the first one can be run.
    """
    skipped: dict[str, str] = {}
    loadables = _collect(plan, skipped, tell)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with pinned(1):
        peak = matmul_gmacs()
    timings: dict[str, list[Timing]] = {one.key: [] for one in loadables}
    held = True
    for threads in plan.threads:
        for batch in plan.batches:
            tell(f"{len(loadables)} subjects in turns: {threads} threads, batch {batch}")
            held &= _in_turns(loadables, timings, (threads, batch), effort)
    gates = tuple(cost for folder in plan.bundles if (cost := gate_cost(folder, effort)) is not None)
    tell("fresh processes")
    starts = {one.key: start(one.graph, one.runtime, one.size, effort.starts) for one in loadables}
    subjects = tuple(_subject(one, timings[one.key], starts[one.key], peak) for one in loadables)
    return Bench(
        command=command, hardware=hardware(), versions={**versions(), **installed(_RUNTIMES)}, load=load, pinned=held,
        reference=subjects[0].label, matmul_gmacs=peak, subjects=subjects, advice=tuple(_advice(subjects)),
        gates=gates, skipped=skipped,
    )  # fmt: skip


def _collect(plan: Plan, skipped: dict[str, str], tell: Callable[[str], None]) -> list[Loadable]:
    found: list[Loadable] = []
    for folder in plan.bundles:
        found += of_bundle(folder, skipped)
    tell("networks of the literature: the first run exports them, later ones take them from the cache")
    runtimes = [runtime for runtime in plan.rival_runtimes if runs(runtime)]
    for name in plan.rivals:
        try:
            found += rivals([name], runtimes)
        except ModuleNotFoundError as error:
            skipped[name] = f"needs '{error.name}' for its export: pip install 'dermdistill[export]'"
    return found


def _in_turns(
    loadables: list[Loadable], timings: dict[str, list[Timing]], setting: tuple[int, int], effort: Effort
) -> bool:
    """Add a timing to each subject; whether threads were held on their cores."""
    threads, batch = setting
    rounds = effort.rounds if batch == 1 else max(2, effort.rounds // 4)
    with pinned(threads) as held:
        calls = {one.key: _call(one, threads, batch) for one in loadables}
        found = {key: spread(seconds) for key, seconds in alternate(calls, rounds, effort.slice_s).items()}
    base = found[loadables[0].key][0]
    for key, (median, low, high, best) in found.items():
        timings[key].append(
            Timing(
                threads=threads, batch=batch, median_ms=median, low_ms=low, high_ms=high, best_ms=best, rounds=rounds,
                ratio=median / base,
            )
        )  # fmt: skip
    return held


def _call(one: Loadable, threads: int, batch: int) -> Callable[[], object]:
    runtime = one.load(threads)
    images = np.random.default_rng(0).random((batch, 3, one.size, one.size), np.float32)
    return lambda: runtime.run(["probabilities"], images)


def gate_cost(folder: Path, effort: Effort) -> GateCost | None:
    """What a bundle's gate costs beside its model, on one core; None for a bundle without a gate.

    Raises:
        IntegrityError: the bundle is damaged.
    """
    bundle = read_bundle(folder)
    if bundle.gate is None:
        return None
    size = bundle.spec.input.size
    image = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    with pinned(1):
        model, gate = OnnxRuntime(bundle.graph, 1), OnnxRuntime(bundle.gate, 1)
        calls = {
            "model": lambda: model.run(["probabilities"], image),
            "gate": lambda: gate.run(["measures", "excess"], image),
        }
        taken = alternate(calls, effort.rounds, effort.slice_s)
    ratios = np.array(taken["gate"]) / np.array(taken["model"])
    low, middle, high = map(float, np.quantile(ratios, (0.25, 0.5, 0.75)))
    return GateCost(
        bundle=bundle.spec.name, median_ms=spread(taken["gate"])[0], ratio=middle, low=low, high=high,
        rounds=effort.rounds,
    )  # fmt: skip


def _subject(one: Loadable, timings: list[Timing], began: Start, peak: float) -> Subject:
    single = next((timing for timing in timings if (timing.threads, timing.batch) == (1, 1)), None)
    return Subject(
        name=one.name, ours=one.ours, runtime=one.runtime, precision=one.precision, size=one.size, bytes=one.bytes,
        parameters=one.parameters, macs=one.macs, auroc=one.auroc, agreement=one.agreement, timings=tuple(timings),
        start=began, share_of_peak=one.macs / single.median_ms / 1e6 / peak if single else None,
    )  # fmt: skip


def _advice(subjects: Sequence[Subject]) -> list[Advice]:
    """For each bundle the fastest form at batch 1, on as few threads as were measured."""
    found = []
    for name in dict.fromkeys(one.name for one in subjects if one.ours):
        forms = {one: min(one.timings, key=lambda t: (t.threads, t.batch)).median_ms for one in subjects
                 if one.ours and one.name == name}  # fmt: skip
        same = min((one for one in forms if one.precision == "fp32"), key=forms.__getitem__)
        fastest = min(forms, key=forms.__getitem__)
        (plain,) = [ms for one, ms in forms.items() if (one.runtime, one.precision) == ("onnxruntime", "fp32")]
        found.append(
            Advice(bundle=name, same_answers=_options(same), fastest=_options(fastest), gain=plain / forms[fastest])
        )
    return found


def _options(subject: Subject) -> str:
    return f"--runtime {subject.runtime} --precision {subject.precision}"


def fastest(bundle: Path, effort: Effort, tell: Callable[[str], None] = print) -> Subject:
    """The form of a bundle that is fastest here at batch 1 on one thread.

    Raises:
        IntegrityError: none of its forms runs here.
    """
    plan = Plan([bundle], rivals=(), threads=(1,), batches=(1,))
    found = bench(plan, replace(effort, starts=1), "", tell)
    if not found.subjects:
        raise IntegrityError(f"no form of {bundle} runs here")
    return min(found.subjects, key=lambda one: one.timings[0].median_ms)
