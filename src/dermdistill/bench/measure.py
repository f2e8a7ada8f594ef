"""Timings in turns: what slows the machine for a while slows all subjects alike."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dermdistill.bench.document import Start
from dermdistill.errors import IntegrityError

Call = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How long a run measures."""

    rounds: int
    """At batch 1; a quarter of them at larger batches."""
    slice_s: float
    """Seconds in which a subject is called again and again before it is the next one's turn; at least one call."""
    starts: int
    """Fresh processes for each subject."""


FULL = Effort(rounds=16, slice_s=0.03, starts=3)
QUICK = Effort(rounds=5, slice_s=0.01, starts=1)


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[bool]:
    """Hold this process, and threads that it starts, on as many cores; False where the system does not offer it."""
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:threads]))
    try:
        yield len(before) >= threads
    finally:
        os.sched_setaffinity(0, before)


def alternate(calls: Mapping[str, Call], rounds: int, slice_s: float) -> dict[str, list[float]]:
    """Seconds a call of each, one figure a round.

    Each round gives every one its turn, forwards and backwards by turns. A turn begins with a call that is not timed,
    so that caches and threads are warm.

    Args:
        calls: what is timed, by name.
        rounds: at least 1.
        slice_s: seconds of a turn; a call that takes longer is timed once.
    """
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, int(slice_s / max(1e-9, _seconds(call, 1))))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            calls[name]()
            found[name].append(_seconds(calls[name], repeats[name]))
    return found


def _seconds(call: Call, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def spread(seconds: list[float]) -> tuple[float, float, float, float]:
    """Median, first and third quartile, and least, in milliseconds."""
    low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75)) * 1e3
    return float(middle), float(low), float(high), min(seconds) * 1e3


def matmul_gmacs(side: int = 768, times: int = 5) -> float:
    """Billion multiply-accumulates a second of numpy's product of square matrices: what the cores can do at best."""
    one = np.random.default_rng(0).random((side, side), np.float32)
    return side**3 / min(_seconds(lambda: one @ one, 1) for _ in range(times)) / 1e9


def start(graph: Path, runtime: str, size: int, times: int) -> Start:
    """Start fresh processes that load a graph and judge one image.

    Raises:
        IntegrityError: one of them fails.
    """
    walls, peaks = [], []
    for _ in range(times):
        began = time.perf_counter()
        command = [sys.executable, "-m", "dermdistill.bench.child", str(graph), runtime, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        walls.append((time.perf_counter() - began) * 1e3)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise IntegrityError(f"a fresh process cannot run {graph} in {runtime}: {last}")
        peaks.append(json.loads(done.stdout)["peak_mib"])
    return Start(wall_ms=statistics.median(walls), peak_mib=statistics.median(peaks))
