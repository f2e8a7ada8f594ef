"""Whether the memory of `dermdistill predict FOLDER` stays flat from a thousand files to many more.

    python benchmarks/folder.py
    python benchmarks/folder.py --counts 1000 100000

Generated lesions are stored as small JPEG files; a folder of many files holds hard links to them. Each count is one
process. Prints images per second, the most memory that the process held, and the ratio to the first count.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from dermdistill.data.synthetic.generate import generate
from dermdistill.run import hardware

PICTURES = 50
HELD = """
import os, subprocess, sys
_, status, used = os.wait4(subprocess.Popen(sys.argv[1:]).pid, 0)
print(used.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Runs a command and prints the MiB that it held at most; a child counts its parent's memory until it has begun, so
that the parent is a small process of its own."""


def fill(folder: Path, pictures: list[Path], count: int) -> None:
    """So many files in a folder, a thousand in each folder inside it."""
    for index in range(count):
        inside = folder / f"{index // 1000:04}"
        inside.mkdir(parents=True, exist_ok=True)
        os.link(pictures[index % len(pictures)], inside / f"lesion-{index:07}.jpg")


def measure(folder: Path, out: Path) -> tuple[float, float]:
    """Seconds, and MiB that were held at most."""
    command = [sys.executable, "-m", "dermdistill", "-q", "predict", str(folder), "--gate", "judge", "--out", str(out)]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", HELD, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr}")
    return time.perf_counter() - began, float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--side", type=int, default=128, help="of the pictures, in pixels (128)")
    asked = parser.parse_args()
    print(f"machine: {hardware()}")
    with tempfile.TemporaryDirectory(prefix="dermdistill-bench-") as name:
        root, pictures = Path(name), []
        (root / "pictures").mkdir()
        for path in generate(root / "lesions", n=PICTURES, size=asked.side, seed=0)["path"]:
            pictures.append(root / "pictures" / f"{Path(path).stem}.jpg")
            Image.open(path).convert("RGB").save(pictures[-1], quality=90)
        first = None
        for count in asked.counts:
            folder = root / str(count)
            fill(folder, pictures, count)
            seconds, held = measure(folder, root / f"{count}.csv")
            rows = (root / f"{count}.csv").read_bytes().count(b"\n") - 1
            if rows != count:
                sys.exit(f"{count} files gave {rows} rows")
            first = first or held
            ratio = held / first
            print(f"{count:>8} files: {count / seconds:7.1f} images/s, {held:6.1f} MiB, {ratio:.2f} of the first")
    return 0


if __name__ == "__main__":
    sys.exit(main())
