"""Which share of a training step is spent on data: no step should wait for its images.

Trains the lite0_cut student without soft labels by `distill`, the call that `dermdistill distill` makes, and
reads what the training loop measures itself (`data_share` of metrics.jsonl): sampling the view's parameters,
taking the pixels out of the memory-mapped cache, augmenting and normalising them, against forward, backward
and optimiser. Decoding goes before training and is not counted; the first epoch warms up and is not either.
Target: at most 15 % in the median epoch.

    .venv/bin/python benchmarks/data_share.py [--steps 48] [--data DIR]
"""

import statistics
import sys

import _common as common

from dermdistill.data.splits import make_splits
from dermdistill.distillation.distill import Lessons, distill
from dermdistill.distillation.spec import SoftenSpec, StudentSpec
from dermdistill.training.cohort import Cohort
from dermdistill.training.loop import make_fabric
from dermdistill.training.spec import LossSpec, TrainSpec

TARGET = 0.15
EPOCH = 8
"""Steps of an epoch."""


def main() -> int:
    asked = common.arguments(__doc__, 48)
    epochs = 1 + max(1, asked.steps // EPOCH)
    train = TrainSpec(epochs=epochs, batch_size=common.BATCH, checkpoint_seconds=3600)
    student = StudentSpec(
        name="bench", model=common.STUDENT, weights="none", labels="none", loss=LossSpec(kind="ce"), train=train
    )
    with common.images(asked, EPOCH * common.BATCH + 32) as (manifest, folder):
        names = manifest["image_id"].tolist()
        roles = {"train": names[32:], "validation": names[:32], "test": []}
        cohort = Cohort(manifest, make_splits(manifest, 3), roles, make_fabric("cpu"), folder / "cache")
        lessons = Lessons(SoftenSpec(views=epochs, seed=asked.seed))
        run = distill(student, cohort, folder / "run", lessons, seed=asked.seed)
        lines = run.read_metrics()
    shares = [line["data_share"] for line in lines[1:]]
    seconds = (lines[-1]["seconds"] - lines[0]["seconds"]) / (len(shares) * EPOCH)
    print(f"steps:   {len(shares) * EPOCH} in {len(shares)} epochs, {1000 * seconds:.0f} ms each on average")
    print(f"share:   median {statistics.median(shares):.3f}, {min(shares):.3f} to {max(shares):.3f} over the epochs")
    return common.verdict(statistics.median(shares), TARGET, "share of step time spent on data")


if __name__ == "__main__":
    sys.exit(main())
