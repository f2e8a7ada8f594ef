"""How a model does on whole frames that are squashed, cropped or padded to a square.

    python scripts/framing.py BUNDLE MANIFEST PREDICTIONS --source ham10000-whole

BUNDLE is a bundle of a run that did not see the images to which PREDICTIONS, its predictions.parquet, gives the role
`test`; those of one source are read from the files that MANIFEST names. Prints the melanoma AUROC of each framing, and
its paired difference to `squashed`, which is what `predict` does, with 95 % intervals of a bootstrap of lesions.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dermdistill.data.manifest import read_manifest
from dermdistill.errors import InputError
from dermdistill.evaluate.intervals import clusters, difference, figure, in_blocks, resamples
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.evaluate.render.text import interval
from dermdistill.images.decode import load_rgb
from dermdistill.images.preprocess import resize_square
from dermdistill.predict.predictor import Predictor

BATCH = 64


def cropped(image: Image.Image) -> Image.Image:
    """The largest square in the middle."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def padded(image: Image.Image) -> Image.Image:
    """The image in the middle of a square of its median colour."""
    side = max(image.size)
    colour = np.median(np.asarray(image).reshape(-1, 3), axis=0).astype(int)
    made = Image.new("RGB", (side, side), tuple(colour.tolist()))
    made.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return made


FRAMINGS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "squashed": lambda image: image, "cropped": cropped, "padded": padded,
}  # fmt: skip


def judge(predictor: Predictor, table: pd.DataFrame, framing: str) -> np.ndarray:
    """The probability of melanoma of each image in one framing, [N]."""
    found = []
    for start in range(0, len(table), BATCH):
        images = [
            resize_square(FRAMINGS[framing](load_rgb(path)), predictor.bundle.spec.input.size)
            for path in table["path"][start : start + BATCH]
        ]
        found.append(predictor.probabilities(np.stack(images))[:, predictor.bundle.spec.melanoma_index])
    return np.concatenate(found)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--source", required=True)
    parser.add_argument("--replicates", type=int, default=2000)
    asked = parser.parse_args(arguments)
    predicted = pd.read_parquet(asked.predictions)
    known = read_manifest(asked.manifest).set_index("image_id", drop=False)
    table = known.loc[predicted.loc[predicted["role"] == "test", "image_id"]]
    table = table[table["source"] == asked.source].reset_index(drop=True)
    if table.empty:
        raise InputError(f"{asked.predictions} has no test images of '{asked.source}'")
    predictor, y = Predictor(asked.bundle, threads=1), table["melanoma"].to_numpy(float)
    weights = resamples(clusters(table), asked.replicates, 0)
    print(f"{len(table):,} images, {int(y.sum()):,} melanomas")
    values: dict[str, np.ndarray] = {}
    for name in FRAMINGS:
        scored = Scored(judge(predictor, table, name), y, None, None)
        values[name] = in_blocks(partial(auroc, scored), weights)
        gap = interval(difference(values[name], values["squashed"]), signed=True) if name != "squashed" else ""
        print(f"{name}: {interval(figure(values[name], 'one class alone'))} {gap}".rstrip())


if __name__ == "__main__":
    main()
