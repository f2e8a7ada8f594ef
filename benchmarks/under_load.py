"""What training costs beside other work: CPU time alone and beside busy processes, with threads that sleep or spin.

    python benchmarks/under_load.py
    python benchmarks/under_load.py --busy 8 --steps 40

Steps of the default student's network on random images, on all cores, each measurement in a process of its own:
as dermdistill sets threads up (they sleep while they wait), with threads that spin (OpenMP's own default), and with one
thread, alone and beside busy processes. Prints seconds, CPU seconds, and their ratio to the same way alone. A way that
takes longer than `--limit` seconds is ended.
"""

import argparse
import os
import subprocess
import sys
import time

from dermdistill.predict.pipeline import usable_cores
from dermdistill.run import hardware

STEPS = """
import sys, time
import dermdistill, torch
torch.manual_seed(0)
model = dermdistill.build_student("lite0_cut", image_size=112, weights="none").train()
model = model.to(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
images = torch.randn(32, 3, 112, 112).to(memory_format=torch.channels_last)
for step in range(int(sys.argv[1]) + 2):
    if step == 2:
        began, used = time.perf_counter(), time.process_time()
    model(images).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
print(time.perf_counter() - began, time.process_time() - used)
"""
BUSY = "while True: pass"
WAYS: dict[str, dict[str, str]] = {
    "sleep": {},
    "spin": {"OMP_WAIT_POLICY": "ACTIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def measure(changes: dict[str, str], steps: int, limit: float) -> tuple[float, float] | None:
    """Seconds and CPU seconds of some steps; None beyond the limit."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "GOMP_"))}
    command = [sys.executable, "-c", STEPS, str(steps)]
    try:
        done = subprocess.run(command, env=known | changes, capture_output=True, text=True, timeout=limit, check=True)
    except subprocess.TimeoutExpired:
        return None
    wall, used = map(float, done.stdout.split())
    return wall, used


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=4, help="busy processes (4)")
    parser.add_argument("--steps", type=int, default=4, help="training steps (4)")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a measurement may take (120)")
    asked = parser.parse_args()
    print(f"machine: {hardware()}; {usable_cores()} cores, load {os.getloadavg()[0]:.1f}")
    alone = {name: measure(changes, asked.steps, asked.limit) for name, changes in WAYS.items()}
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(asked.busy)]
    try:
        time.sleep(1)
        beside = {name: measure(changes, asked.steps, asked.limit) for name, changes in WAYS.items()}
    finally:
        for process in others:
            process.kill()
    for name in WAYS:
        for what, found in (("alone", alone[name]), (f"beside {asked.busy}", beside[name])):
            base = alone[name]
            if found is None:
                print(f"{name:<11} {what:<10} ended after {asked.limit:.0f} s")
            else:
                ratio = f", {found[1] / base[1]:.2f} of the CPU time alone" if base and found is not base else ""
                print(f"{name:<11} {what:<10} {found[0]:6.1f} s, {found[1]:6.1f} s of CPU time{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
