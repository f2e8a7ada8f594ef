"""What the benchmarks share: their images, their student, and the lines that tell the circumstances."""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

from dermdistill.data.importing.datasets import combine, import_dataset
from dermdistill.data.synthetic.generate import generate
from dermdistill.run import hardware, versions

STUDENT = "lite0_cut"
BATCH = 64
SIDE = 160
"""Of synthetic images, in pixels; a little more than the student's 128, so that they too are resized."""


def arguments(what: str, steps: int) -> argparse.Namespace:
    """Read the command line; the figure's circumstances must not depend on anything else."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=steps, help=f"measured steps of {BATCH} images ({steps})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("DERMDISTILL_DATA") or None,
        help="folder with ham10000/; without it and DERMDISTILL_DATA, synthetic images",
    )  # fmt: skip
    return parser.parse_args()


@contextmanager
def images(asked: argparse.Namespace, count: int) -> Iterator[tuple[pd.DataFrame, Path]]:
    """A manifest of `count` images and an empty folder, which goes away afterwards; prints what was taken."""
    with tempfile.TemporaryDirectory(prefix="dermdistill-bench-") as name:
        folder = Path(name)
        if asked.data:
            manifest = combine([import_dataset(Path(asked.data) / "ham10000", "ham10000")]).manifest
            manifest = manifest.sample(count, random_state=asked.seed).reset_index(drop=True)
            origin = f"{count} images drawn from {Path(asked.data) / 'ham10000'}"
        else:
            manifest = generate(folder / "data", n=count, size=SIDE, seed=asked.seed)
            origin = f"{count} SYNTHETIC images of {SIDE} px"
        found = versions()
        print(f"machine: {hardware()}, {torch.get_num_threads()} torch threads, load {os.getloadavg()[0]:.1f}")
        print(f"with:    Python {found['python']}, torch {found['torch']}; seed {asked.seed}")
        print(f"data:    {origin}; student {STUDENT}, batch {BATCH}", flush=True)
        yield manifest, folder


def verdict(figure: float, target: float, name: str) -> int:
    """Print whether the target is met; the exit status."""
    met = figure <= target
    print(f"{'PASS' if met else 'FAIL'}: {name} {figure:.3f}, target at most {target}")
    return 0 if met else 1
