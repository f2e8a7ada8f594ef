"""What it gains that training keeps the memory it frees (`dermdistill.training.memory`), against glibc's habit.

Trains the lite0_cut student on one batch of noise, forward, backward and AdamW, in fresh processes, since the
setting cannot be taken back: with the setting and without in turn, so that a busy machine slows both alike. The first
two steps of each process warm up and are not counted. Target: the ratio of the median step times is at most 1, that
is, the setting never costs anything.

    .venv/bin/python benchmarks/allocator.py [--steps 16]
"""

import os
import statistics
import subprocess
import sys
import time

import _common as common
import torch

from dermdistill.classes import CLASSES
from dermdistill.networks import registry
from dermdistill.run import hardware, versions
from dermdistill.training.memory import _VARIABLES, keep_freed_memory

TARGET = 1.0
ROUNDS = 2
"""Processes with and without the setting."""
WARM = 2
CHILD = "DERMDISTILL_BENCH_KEEP"


def steps(count: int, seed: int) -> list[float]:
    """Seconds of each of `count` training steps after the warm-up."""
    torch.manual_seed(seed)
    size = registry.spec(common.STUDENT).image_size
    model = registry.build(common.STUDENT, len(CLASSES)).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters())
    images = torch.randn(common.BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(len(CLASSES), (common.BATCH,))
    seconds = []
    for _ in range(WARM + count):
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds[WARM:]


def child(kept: bool, count: int, seed: int) -> int:
    """What a fresh process does: take the setting or not, then print the seconds of its steps."""
    if not kept or keep_freed_memory():
        print(*steps(count, seed))
    return 0


def measure(kept: bool, count: int, seed: int) -> list[float]:
    """The same in a process of its own; nothing where the C library is not glibc."""
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    command = [sys.executable, __file__, "--steps", str(count), "--seed", str(seed)]
    done = subprocess.run(command, env={**environment, CHILD: str(int(kept))}, stdout=subprocess.PIPE, check=True)
    return [float(word) for word in done.stdout.split()]


def main() -> int:
    asked = common.arguments(__doc__, 16)
    count = max(2, asked.steps // (2 * ROUNDS))
    if CHILD in os.environ:
        return child(os.environ[CHILD] == "1", asked.steps, asked.seed)
    print(f"machine: {hardware()}, {torch.get_num_threads()} torch threads, load {os.getloadavg()[0]:.1f}")
    print(f"with:    torch {versions()['torch']}; seed {asked.seed}; student {common.STUDENT}, batch {common.BATCH}")
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for kept, found in seconds.items():
            found += measure(kept, count, asked.seed)
    if not seconds[True]:
        print("SKIP: this machine's C library is not glibc, there is nothing to set")
        return 0
    for kept, found in seconds.items():
        low, median, high = (1000 * value for value in (min(found), statistics.median(found), max(found)))
        print(f"{'with:   ' if kept else 'without:'} median {median:.0f} ms a step, {low:.0f} to {high:.0f}")
    ratio = statistics.median(seconds[True]) / statistics.median(seconds[False])
    return common.verdict(ratio, TARGET, "step time with freed memory kept / given back")


if __name__ == "__main__":
    sys.exit(main())
