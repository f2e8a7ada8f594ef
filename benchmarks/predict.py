"""From image files to answers, against decoding the same files and doing nothing with them.

    python benchmarks/predict.py
    python benchmarks/predict.py --count 2000 --large 100

Generated lesions are stored as JPEG files of 600x450 and 4000x3000 pixels. Each turn reads all files in four ways,
one after the other, on as many threads: decoded by Pillow and thrown away, decoded as `dermdistill` does, judged as
`dermdistill predict` does, and judged with `--fast`. It prints medians over the turns, of rates (least and most) and of
their ratios (quartiles) to Pillow's decoding in the same turn, which noise moves less. Last come the largest difference
of melanoma probability between the two ways to judge, that which comes from rounding the resized pixels to 8 bits
alone, and the memory that the process has needed at most.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dermdistill.data.synthetic.generate import generate
from dermdistill.images.decode import load_rgb
from dermdistill.images.preprocess import fast_resizer
from dermdistill.predict.pipeline import ahead, usable_cores
from dermdistill.predict.predictor import Predictor
from dermdistill.predict.runtime import load
from dermdistill.run import hardware

KINDS = {"600x450": (600, 450), "4000x3000": (4000, 3000)}
GRAIN = 3.0
"""Standard deviation of the noise of a sensor, in levels of 255."""


def files(folder: Path, size: tuple[int, int], count: int, seed: int) -> list[Path]:
    """JPEG files of generated lesions, with the grain that photographs have."""
    lesions = generate(folder / "lesions", n=max(50, min(count, 100)), size=400, seed=seed)["path"]
    rng, made = np.random.default_rng(seed), []
    for index in range(count):
        image = Image.open(lesions.iloc[index % len(lesions)]).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        grain = rng.normal(0, GRAIN, (size[1], size[0], 1)).astype(np.float32)
        path = folder / f"{size[0]}-{index:05}.jpg"
        Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
        made.append(path)
    return made


def pillow(path: Path) -> Image.Image:
    """An image decoded whole, and nothing else."""
    with Image.open(path) as image:
        return image.convert("RGB")


def rate(work: Callable[[], object], count: int) -> float:
    """Images a second."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def measure(paths: Sequence[Path], model: str, turns: int, threads: int) -> None:
    """Print the rates of one kind of file."""
    # the gate is asked as ever, and some generated lesions that it refuses are judged like the others
    exact, fast = (Predictor(model, threads=threads, gate="judge", fast=fast) for fast in (False, True))
    ways: dict[str, Callable[[], object]] = {
        "decode": lambda: [image.close() for image in ahead(pillow, paths, threads)],
        "load": lambda: [image.close() for image in ahead(load_rgb, paths, threads)],
        "predict": lambda: list(exact.predict(paths)),
        "fast": lambda: list(fast.predict(paths)),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            found[name].append(rate(way, len(paths)))
    for name, rates in found.items():
        low, middle, high = np.quantile(np.array(rates) / np.array(found["decode"]), (0.25, 0.5, 0.75))
        print(
            f"  {name:<8} {statistics.median(rates):7.1f} images/s ({min(rates):.1f} to {max(rates):.1f}), "
            f"{middle:.2f} ({low:.2f} to {high:.2f}) of decoding in the same turn"
        )
    tell_gaps(paths, exact, fast)


def tell_gaps(paths: Sequence[Path], exact: Predictor, fast: Predictor) -> None:
    """Print how far `--fast` moves probabilities, and how far the rounding of resized pixels to 8 bits does."""
    judged = np.array([[one.p_melanoma or 0.0 for one in way.predict(paths)] for way in (fast, exact)])
    size, column = exact.bundle.spec.input.size, exact.bundle.spec.melanoma_index
    graph = load(exact.bundle.graph, 1)
    smooth = [graph.run(["probabilities"], unrounded(path, size)[None])[0][0, column] for path in paths]
    for name, gaps in (("--fast", judged[0] - judged[1]), ("rounding to 8 bits", judged[1] - np.array(smooth))):
        gaps = np.abs(gaps)
        print(f"  {name} moves a melanoma probability by {gaps.max():.4f} at most, {gaps.mean():.4f} on average")


def unrounded(path: Path, size: int) -> np.ndarray:
    """The pixels that a model would see if they were not rounded after resizing, float32 [3, size, size] in [0, 1]."""
    image = np.asarray(load_rgb(path), np.float32)
    channels = [
        Image.fromarray(channel).resize((size, size), Image.Resampling.BILINEAR) for channel in image.transpose(2, 0, 1)
    ]
    return np.stack([np.asarray(channel) for channel in channels]) / np.float32(255)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="files of 600x450 (200)")
    parser.add_argument("--large", type=int, default=12, help="files of 4000x3000 (12)")
    parser.add_argument(
        "--models", nargs="+", default=["lite0-cut-112", "lite0-cut-64"], help="bundles, by name or folder"
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(f"machine: {hardware()}; {asked.threads} threads, seed {asked.seed}, load {os.getloadavg()[0]:.1f}")
    print(f"--fast resizes with {fast_resizer()}")
    for (kind, size), count in zip(KINDS.items(), (asked.count, asked.large), strict=True):
        with tempfile.TemporaryDirectory(prefix="dermdistill-bench-") as folder:
            paths = files(Path(folder), size, count, asked.seed)
            print(
                f"{count} JPEG files of {kind}, {sum(path.stat().st_size for path in paths) / count / 1e3:.0f} kB each"
            )
            for model in asked.models:
                print(model)
                measure(paths, model, asked.turns, asked.threads)
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
