"""Where the time of a network goes: ONNX Runtime's profiler, one thread, one image, by kind of operator.

    python benchmarks/operators.py
    python benchmarks/operators.py bundles/forms/model.int8.onnx lite0-cut-64

Each graph runs in turn. Prints medians over the runs, summed by kind, with the share of the time and of the
multiply-accumulates. Profiling itself costs some microseconds an operator. Then come the runtime's own choices, in
turns: how long a call takes without the layout in blocks of channels (NCHWc), without any fusion, and on two threads
that sleep or spin between calls, in times of one thread with everything on.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from dermdistill.bench.measure import Call, alternate
from dermdistill.predict.bundle import find_bundle
from dermdistill.privacy import onnx_runtime
from dermdistill.run import hardware

RUNS = 60
ROUNDS = 30
"""Turns of each choice."""


def events(graph: Path) -> list[dict[str, Any]]:
    """The profiler's entries for the operators of all runs."""
    runtime = onnx_runtime()
    with tempfile.TemporaryDirectory(prefix="dermdistill-profile-") as folder:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        session = runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        fed = feed(session)
        for _ in range(RUNS):
            session.run(None, fed)
        content = json.loads(Path(session.end_profiling()).read_text())
    return [one for one in content if one.get("cat") == "Node" and one["name"].endswith("_kernel_time")]


def feed(session: Any) -> dict[str, np.ndarray]:
    """An image of the size that a graph takes, float32 [1, 3, S, S] in [0, 1]."""
    return {"image": np.random.default_rng(0).random((1, 3, *session.get_inputs()[0].shape[2:]), np.float32)}


def weights(graph: Path) -> list[tuple[int, ...]]:
    """The shape [out, in / groups, height, width] of each convolution's weights, in the order of the graph."""
    content = onnx.load(graph).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in content.initializer}
    for node in content.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return [shapes[node.input[1]] for node in content.node if node.op_type == "Conv"]


def kind(event: dict[str, Any], shape: tuple[int, ...]) -> tuple[str, int]:
    """What a convolution is, and its multiply-accumulates."""
    made = next(iter(event["args"]["output_type_shape"][0].values()))
    places = made[1] * made[2] if made[3] == shape[0] else made[2] * made[3]
    what = "depthwise" if shape[1] == 1 else "pointwise" if shape[2] == 1 else "first convolution"
    return what, int(np.prod(shape)) * places


def choices(graph: Path) -> dict[str, list[float]]:
    """How long a call takes with each choice, in times of the first one's in the same round."""
    runtime = onnx_runtime()
    level = runtime.GraphOptimizationLevel
    calls: dict[str, Call] = {}
    for name, (threads, optimised, spins) in {
        "as it is": (1, level.ORT_ENABLE_ALL, "0"),
        "without NCHWc": (1, level.ORT_ENABLE_EXTENDED, "0"),
        "without fusions": (1, level.ORT_DISABLE_ALL, "0"),
        "2 threads that sleep": (2, level.ORT_ENABLE_ALL, "0"),
        "2 threads that spin": (2, level.ORT_ENABLE_ALL, "1"),
    }.items():
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.graph_optimization_level = threads, optimised
        options.add_session_config_entry("session.intra_op.allow_spinning", spins)
        session = runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        calls[name] = partial(session.run, None, feed(session))
    found = alternate(calls, ROUNDS, 0.01)
    return {name: (np.array(seconds) / np.array(found["as it is"])).tolist() for name, seconds in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="*", default=["lite0-cut-112", "lite0-cut-64"], help="graphs, or bundles")
    asked = parser.parse_args()
    print(f"machine: {hardware()}, load {os.getloadavg()[0]:.1f}; one thread, one image, {RUNS} runs")
    for given in asked.graphs:
        graph = Path(given) if given.endswith(".onnx") else find_bundle(given) / "model.onnx"
        taken: dict[str, list[float]] = defaultdict(list)
        kinds: dict[str, tuple[str, int]] = {}
        shapes = iter(weights(graph))
        for event in events(graph):
            name = event["name"]
            if name not in taken:
                kinds[name] = kind(event, next(shapes)) if "Conv" in event["args"]["op_name"] else ("others", 0)
            taken[name].append(event["dur"])
        total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for name, durations in taken.items():
            what, macs = kinds[name]
            total[what][0] += statistics.median(durations)
            total[what][1] += macs
        time, work = (sum(of[place] for of in total.values()) for place in (0, 1))
        print(f"{given}: {time:.0f} microseconds, {work / 1e6:.1f} million multiply-accumulates in convolutions")
        for what, (spent, done) in sorted(total.items(), key=lambda entry: -entry[1][0]):
            print(
                f"  {what:<18} {spent:5.0f} us, {spent / time:4.0%} of the time, {done / max(work, 1):4.0%} of the work"
            )
        for name, ratios in list(choices(graph).items())[1:]:
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            print(f"  {name:<20} {middle:.2f} times the time (quartiles {low:.2f} to {high:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
