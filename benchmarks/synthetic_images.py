"""How fast synthetic images are drawn: a demo or a test must not wait for its data.

Draws images of 112 px by `generate`, the call that `dermdistill data synth` makes: painting, photographing, JPEG,
hashing and the manifest. Target: at most 30 seconds of CPU time for 1,000 images.

    .venv/bin/python benchmarks/synthetic_images.py [--images 300]
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from dermdistill.data.synthetic.generate import generate
from dermdistill.run import hardware

TARGET = 30.0
SIZE = 112


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300, help="images that are drawn (300)")
    count = parser.parse_args().images
    print(f"machine: {hardware()}, load {os.getloadavg()[0]:.1f}; {count} images of {SIZE} px", flush=True)
    with tempfile.TemporaryDirectory(prefix="dermdistill-bench-") as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        generate(Path(folder) / "set", n=count, size=SIZE)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"drawn:   {count / wall:.0f} images a second, {wall:.1f} s")
    per_thousand = 1000 * cpu / count
    met = per_thousand <= TARGET
    print(
        f"{'PASS' if met else 'FAIL'}: {per_thousand:.1f} s of CPU time for 1,000 images, target at most {TARGET:.0f}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
