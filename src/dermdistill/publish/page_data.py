"""What the page tells about thresholds and values: made from a student's out-of-fold predictions.

    python -m dermdistill.publish.page_data results/release --manifest WORK/manifest.parquet

writes src/dermdistill/serve/page_data/NAME.json for the bundle that ships (`--bundle` names another, `--out` another
file). The manifest gives the diagnoses, and the images whose quality is measured; none of them gets into the file.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dermdistill.data.manifest import manifest_hash, read_manifest
from dermdistill.errors import DermdistillError, InputError, IntegrityError
from dermdistill.evaluate.predictions import ModelPredictions, pool, read_model
from dermdistill.files import write_text
from dermdistill.images.decode import load_rgb
from dermdistill.images.preprocess import resize_square
from dermdistill.predict.bundle import Bundle, open_bundle
from dermdistill.recipe.parts import FINAL
from dermdistill.run import Run
from dermdistill.serve.page_data import PageData, QualityLimits, ValueBin

STEPS = 160
"""Thresholds of the curve, besides the bundle's own."""
BOUNDS = (0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
"""Where bins of similar values begin and end."""
FEWEST = 100
"""Images of a bin; smaller ones are joined with the next."""
AGREEMENT = 0.01
"""How far a rate of the bundle's own thresholds may be from the predictions': images may have left the data since."""
SIDE = 224
"""Of the square whose quality is measured, as in web/src/quality.ts."""
MEASURED = 2000
"""Images whose quality is measured, at most."""
LEAST_GLARE = 0.01
"""Of an image's pixels; fewer white ones hide nothing."""
_RADIUS, _BRIGHT = 0.45, 250


@dataclass(frozen=True)
class Judged:
    """Images out of fold: calibrated probability of melanoma, and whether they show one, [N] each."""

    p: np.ndarray
    y: np.ndarray


def make_page_data(bundle: Bundle, results: Path, manifest: pd.DataFrame) -> PageData:
    """The figures of a bundle.

    Args:
        bundle: a student's.
        results: the work folder of its recipe, or what is published of it: runs/PART/students/NAME, or under teachers.
        manifest: of the images that the student was judged on. Images that have left it since are left out.

    Raises:
        InputError: no runs of this student there.
        IntegrityError: the runs are of another model, or their figures are not those of the bundle.
    """
    judged = _judged(bundle, read_runs(bundle, results), manifest)
    return PageData(
        model=bundle.spec.name,
        weights_sha256=bundle.spec.model.weights_sha256,
        manifest_sha256=manifest_hash(manifest),
        n=len(judged.y),
        positives=int(judged.y.sum()),
        curve=tuple(curve(judged, [point.value for point in bundle.spec.thresholds.values()])),
        bins=tuple(bins(judged)),
        quality=quality_limits(manifest),
    )


def read_runs(bundle: Bundle, results: Path) -> ModelPredictions:
    """The student's predictions, each by a run that never saw the image; its shipped weights must be the bundle's."""
    root = results / "runs" if (results / "runs").is_dir() else results
    runs = {folder.parents[1].name: folder for folder in sorted(root.glob(f"*/*/{bundle.spec.name}"))}
    final = runs.pop(FINAL, None)
    if final is None or not runs:
        raise InputError(
            f"{root} has no PART/students/{bundle.spec.name}, nor PART/teachers, with a part '{FINAL}' and others"
        )
    found, expected = Run(final).load().model_sha256, bundle.spec.model.weights_sha256
    if found != expected:
        raise IntegrityError(f"{final} has the weights {str(found)[:12]}…, the bundle {expected[:12]}…")
    return pool({part: read_model(folder) for part, folder in runs.items()})


def _judged(bundle: Bundle, predictions: ModelPredictions, manifest: pd.DataFrame) -> Judged:
    table = predictions.table.merge(manifest[["image_id", "melanoma"]], on="image_id")
    if predictions.classes != bundle.spec.classes:
        raise IntegrityError(f"the runs tell {predictions.classes} apart, the bundle {bundle.spec.classes}")
    logits = table[[f"logit_{name}" for name in predictions.classes]].to_numpy(float)
    p = bundle.spec.calibrated.probabilities(logits, bundle.spec.melanoma_index)[:, bundle.spec.melanoma_index]
    judged = Judged(p, table["melanoma"].to_numpy(bool))
    for name, point in bundle.spec.thresholds.items():
        above = judged.p >= point.value
        rates = {"sensitivity": above[judged.y].mean(), "specificity": (~above)[~judged.y].mean()}
        for what, rate in rates.items():
            said = getattr(point, what)
            if said is not None and not abs(rate - said) <= AGREEMENT:
                raise IntegrityError(f"at {name} the runs have a {what} of {rate:.3f}, the bundle says {said:.3f}")
    return judged


def curve(judged: Judged, own: Sequence[float]) -> Iterator[tuple[float, int, int]]:
    """Rising thresholds, each with the melanomas and the other images at or above it.

    Half of the thresholds divide the melanomas evenly, half the others that are not below nearly all melanomas.
    They are rounded to three digits.
    """
    shares = np.linspace(0.005, 0.995, STEPS // 2)
    melanomas = np.quantile(judged.p[judged.y], shares)
    chosen = [*melanomas, *np.quantile(judged.p[~judged.y & (judged.p >= melanomas[0])], shares)]
    for value in sorted({float(f"{value:.3g}") for value in chosen} | set(own)):
        above = judged.p >= value
        yield value, int((above & judged.y).sum()), int((above & ~judged.y).sum())


def bins(judged: Judged) -> Iterator[ValueBin]:
    """How many images with similar values show a melanoma."""
    low: float = BOUNDS[0]
    for high in BOUNDS[1:]:
        inside = (judged.p >= low) & ((judged.p < high) | (high == 1))
        left = judged.p >= high
        if high < 1 and (inside.sum() < FEWEST or left.sum() < FEWEST):
            continue
        yield ValueBin(low=low, high=high, n=int(inside.sum()), positives=int((inside & judged.y).sum()))
        low = high


def quality_limits(manifest: pd.DataFrame) -> QualityLimits:
    """What all but one in a hundred images keep, of at most `MEASURED` drawn with seed 0."""
    drawn = manifest.sample(min(MEASURED, len(manifest)), random_state=0)
    measures = np.array([measure(resize_square(load_rgb(path), SIDE)) for path in drawn["path"]])
    low, high = np.quantile(measures, [0.01, 0.99], axis=0)
    return QualityLimits(
        images=len(drawn), blurred_below=round(float(low[2]), 4), dark_below=round(float(low[0]), 1),
        bright_above=round(float(high[0]), 1), glare_above=round(max(LEAST_GLARE, float(high[1])), 4),
    )  # fmt: skip


def measure(square: np.ndarray) -> tuple[float, float, float]:
    """Brightness, share of white pixels, and sharpness within a disc; web/src/quality.ts has the same.

    Args:
        square: RGB, uint8 [SIDE, SIDE, 3].
    """
    light = square.astype(float) @ np.array([299, 587, 114]) / 1000
    middle = (SIDE - 1) / 2
    y, x = np.mgrid[1 : SIDE - 1, 1 : SIDE - 1]
    disc = (x - middle) ** 2 + (y - middle) ** 2 <= (_RADIUS * SIDE) ** 2
    here = light[1:-1, 1:-1]
    edges = np.abs(4 * here - light[1:-1, :-2] - light[1:-1, 2:] - light[:-2, 1:-1] - light[2:, 1:-1])
    white = square[1:-1, 1:-1].min(axis=2) >= _BRIGHT
    spread = float(here[disc].std())
    return float(here[disc].mean()), float(white[disc].mean()), float(edges[disc].mean()) / spread if spread else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--bundle")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    try:
        bundle = open_bundle(given.bundle)
        data = make_page_data(bundle, given.results, read_manifest(given.manifest))
        out = given.out or Path(__file__).parents[1] / "serve" / "page_data" / f"{bundle.spec.name}.json"
        write_text(out, data.model_dump_json(indent=1) + "\n")
    except DermdistillError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{out}: {data.n} images, {data.positives} melanomas, {len(data.curve)} thresholds, {len(data.bins)} bins")
    return 0


if __name__ == "__main__":
    sys.exit(main())
