"""What a step costs that learns from a bank, against plainly supervised training: it should be nearly free.

Trains the lite0_cut student twice with the real task and loop (`fit`): plainly on the diagnoses (A), and
after a bank that the real `write_teacher` made with an untrained teacher (B; what its logits say does not change
what reading them costs). Blocks of steps alternate, ABAB…, so that a busy machine slows both alike. A block is
one epoch of a small set and shows one view, so that a new view's parameters, reading its logits and checking
their checksum are in it, in the same share as in a long training. The time of a block is from its first
batch to its validation; step time is that by its steps. The first pair warms up and is not counted. Target:
the ratio of the median step times is at most 1.15.

    .venv/bin/python benchmarks/bank_overhead.py [--steps 40] [--data DIR]
"""

import statistics
import sys
import time
from pathlib import Path

import _common as common
import numpy as np
import pandas as pd
import torch

from dermdistill.classes import CLASSES
from dermdistill.data.manifest import manifest_hash
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.distillation.labels import BankLabels
from dermdistill.distillation.soften import write_teacher
from dermdistill.images.view_spec import ViewSpec
from dermdistill.networks import registry
from dermdistill.networks.pretrained import build_teacher
from dermdistill.run import Run, open_run
from dermdistill.training.loop import fit, make_fabric
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec, TrainSpec
from dermdistill.training.task import ClassifierTask, ImageSet, image_sets

TARGET = 1.15
BLOCK = 4
"""Steps of a block."""
TEACHER = "mobilenetv3_small_050"


class Timed(ClassifierTask):
    """The real task, which notes when an epoch's first batch is asked for and when its validation is."""

    began = ended = 0.0

    def order(self, seed: int, epoch: int) -> np.ndarray:
        self.began = time.perf_counter()
        return super().order(seed, epoch)

    def score(self, model: torch.nn.Module, device: torch.device) -> dict[str, float | None]:
        self.ended = time.perf_counter()
        return {"auroc": None, "accuracy": None}


def bank_labels(manifest: pd.DataFrame, folder: Path, train: ImageSet, views: int, seed: int) -> BankLabels:
    """A bank of untrained logits for the training images."""
    side = 64
    images = image_sets(manifest, {"train": list(train.ids)}, side, CLASSES, folder / "cache")["train"]
    teacher = FrozenTeacher(build_teacher(TEACHER, 7, weights="none"), (0.5,) * 3, (0.5,) * 3, side)
    header = {"name": "bench", "model": TEACHER, "classes": CLASSES, "image_size": side, "mean": [0.5] * 3,
              "std": [0.5] * 3, "model_sha256": "0" * 64}  # fmt: skip
    identity = BankIdentity(manifest_sha256=manifest_hash(manifest), classes=CLASSES, seed=seed)
    write_teacher(folder / "bank", identity, teacher, header, images, views, device=torch.device("cpu"))
    return BankLabels(Bank.open(folder / "bank"), train, CLASSES, identity)


def block(task: Timed, run: Run, epochs: int, seed: int) -> float:
    """Train one more epoch; seconds a step."""
    torch.manual_seed(seed)
    student = registry.build(common.STUDENT, len(CLASSES))
    spec = TrainSpec(epochs=epochs, batch_size=common.BATCH, schedule="constant", checkpoint_seconds=3600)
    fit(task, student, spec, seed, run, make_fabric("cpu"))
    return (task.ended - task.began) / BLOCK


def main() -> int:
    asked = common.arguments(__doc__, 40)
    pairs = 1 + max(2, asked.steps // (2 * BLOCK))
    with common.images(asked, BLOCK * common.BATCH) as (manifest, folder):
        known = registry.spec(common.STUDENT)
        names = {"train": manifest["image_id"].tolist()}
        train = image_sets(manifest, names, known.image_size, CLASSES, folder / "cache")["train"]
        labels = bank_labels(manifest, folder, train, pairs, asked.seed)
        tasks, runs = {}, {}
        for name, loss, targets in (("plain", "ce", None), ("bank", "kd", labels)):
            tasks[name] = Timed(
                train, train, CLASSES, known.mean, known.std, ViewSpec(), asked.seed, pairs,
                make_loss(LossSpec(kind=loss)), targets,
            )  # fmt: skip
            runs[name] = open_run(folder / name, {"stage": "bench"})
        seconds: dict[str, list[float]] = {name: [] for name in tasks}
        for pair in range(pairs):
            for name, task in tasks.items():
                seconds[name].append(block(task, runs[name], pair + 1, asked.seed))
    plain, bank = (values[1:] for values in (seconds["plain"], seconds["bank"]))
    ratios = sorted(b / a for a, b in zip(plain, bank, strict=True))
    ratio = statistics.median(bank) / statistics.median(plain)
    print(f"steps:   {2 * len(plain) * BLOCK} in {len(plain)} pairs of blocks of {BLOCK}")
    for name, values in (("plain", plain), ("bank", bank)):
        low, median, high = (1000 * value for value in (min(values), statistics.median(values), max(values)))
        print(f"{name + ':':8} median {median:.0f} ms a step, {low:.0f} to {high:.0f} over the blocks")
    print(f"ratio:   {ratio:.3f}; of the single pairs {ratios[0]:.3f} to {ratios[-1]:.3f}")
    return common.verdict(ratio, TARGET, "step time with a bank / plainly supervised")


if __name__ == "__main__":
    sys.exit(main())
