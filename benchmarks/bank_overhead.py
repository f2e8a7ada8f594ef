"""What a bank costs and gains: steps after it, plain steps, steps with the teacher in the loop, and its building.

Trains the lite0_cut student with the real task and loop (`fit`) in three ways: plainly on the diagnoses, after a bank
that the real `write_teacher` made, and with the teacher in the loop, which softens every batch anew. Blocks of steps
take turns, so that a busy machine slows all alike. A block is one epoch of a small set and shows one view, so that a
new view's parameters, reading its logits and checking their checksum are in it, in the same share as in a long
training. The time of a block is from its first batch to its validation; step time is that by its steps. The bank's
views are built one at a time, and after each the bare teacher judges as many ready tensors. The first turn warms up and
is not counted. The teacher is untrained; what its logits say changes no time.

Targets: the step after a bank at most 1.15 of the plain one, and at most a sixth of that with the teacher in the loop;
the bank's building at most 1.15 of bare inference.

    .venv/bin/python benchmarks/bank_overhead.py [--steps 12] [--data DIR]
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from dermdistill.distillation.labels import BankLabels, OnlineLabels
from dermdistill.distillation.soften import write_teacher
from dermdistill.images.view_spec import ViewSpec
from dermdistill.networks import registry
from dermdistill.networks.pretrained import build_teacher
from dermdistill.run import Run, open_run
from dermdistill.training.loop import fit, make_fabric
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec, TrainSpec
from dermdistill.training.task import ClassifierTask, ImageSet, Targets, image_sets

BLOCK = 1
"""Steps of a block."""
STUDENT_SIDE = 112
"""Side of the student's images in pixels, that of `lite0-cut-112`."""
TEACHER, SIDE, BATCH = "resnet50", 224, 128
"""The paper's teacher, the side of its images in pixels, and its batch when a bank is built."""


class Timed(ClassifierTask):
    """The real task, which notes when an epoch's first batch is asked for and when its validation is."""

    began = ended = 0.0

    def order(self, seed: int, epoch: int) -> np.ndarray:
        self.began = time.perf_counter()
        return super().order(seed, epoch)

    def score(self, model: torch.nn.Module, device: torch.device) -> dict[str, float | None]:
        self.ended = time.perf_counter()
        return {"auroc": None, "accuracy": None}


@dataclass
class Softening:
    """An untrained teacher, and the bank that it writes."""

    teacher: FrozenTeacher
    images: ImageSet
    identity: BankIdentity
    folder: Path

    def build(self, views: int) -> float:
        """Seconds to write the next view."""
        header = {"name": "bench", "model": TEACHER, "classes": CLASSES, "image_size": SIDE, "mean": [0.5] * 3,
                  "std": [0.5] * 3, "model_sha256": "0" * 64}  # fmt: skip
        return _seconds(
            lambda: write_teacher(
                self.folder, self.identity, self.teacher, header, self.images, views,
                device=torch.device("cpu"), batch_size=BATCH,
            )
        )  # fmt: skip

    def bare(self) -> float:
        """Seconds for as many ready tensors."""
        count = len(self.images.ids)
        sizes = [min(BATCH, count - start) for start in range(0, count, BATCH)]
        ready = [torch.rand(size, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last) for size in sizes]
        with torch.inference_mode():
            return _seconds(lambda: [self.teacher(batch) for batch in ready])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def softening(manifest: pd.DataFrame, folder: Path, train: ImageSet, seed: int) -> Softening:
    """The teacher, with the images at its own size."""
    images = image_sets(manifest, {"train": list(train.ids)}, SIDE, CLASSES, folder / "cache")["train"]
    teacher = FrozenTeacher(build_teacher(TEACHER, 7, weights="none"), (0.5,) * 3, (0.5,) * 3, SIDE)
    identity = BankIdentity(manifest_sha256=manifest_hash(manifest), classes=CLASSES, seed=seed)
    return Softening(teacher, images, identity, folder / "bank")


def block(task: Timed, run: Run, epochs: int, seed: int) -> float:
    """Train one more epoch; seconds a step."""
    torch.manual_seed(seed)
    student = registry.build(common.STUDENT, len(CLASSES), image_size=STUDENT_SIDE)
    spec = TrainSpec(epochs=epochs, batch_size=common.BATCH, schedule="constant", checkpoint_seconds=3600)
    fit(task, student, spec, seed, run, make_fabric("cpu"))
    return (task.ended - task.began) / BLOCK


def measure(softened: Softening, train: ImageSet, folder: Path, turns: int, seed: int) -> dict[str, list[float]]:
    """Seconds of a view's building and of bare inference, and of a step in each way, without the first turn."""
    known = registry.spec(common.STUDENT)
    found: dict[str, list[float]] = {"build": [], "bare": []}
    for view in range(1, turns + 1):
        found["build"].append(softened.build(view))
        found["bare"].append(softened.bare())
    labels = BankLabels(Bank.open(softened.folder), train, CLASSES, softened.identity)
    online = OnlineLabels([softened.teacher], [softened.images], CLASSES, CLASSES, ViewSpec(), seed)
    ways: dict[str, tuple[LossSpec, Targets | None]] = {
        "plain": (LossSpec(kind="ce"), None), "bank": (LossSpec(kind="kd"), labels),
        "loop": (LossSpec(kind="kd"), online),
    }  # fmt: skip
    tasks, runs = {}, {}
    for name, (loss, targets) in ways.items():
        tasks[name] = Timed(
            train, train, CLASSES, known.mean, known.std, ViewSpec(), seed, turns, make_loss(loss), targets
        )  # fmt: skip
        runs[name] = open_run(folder / name, {"stage": "bench"})
        found[name] = []
    for turn in range(turns):
        for name, task in tasks.items():
            found[name].append(block(task, runs[name], turn + 1, seed))
    return {name: values[1:] for name, values in found.items()}


def main() -> int:
    asked = common.arguments(__doc__, 12)
    turns = 1 + max(2, asked.steps // (3 * BLOCK))
    with common.images(asked, BLOCK * common.BATCH) as (manifest, folder):
        names = {"train": manifest["image_id"].tolist()}
        train = image_sets(manifest, names, STUDENT_SIDE, CLASSES, folder / "cache")["train"]
        softened = softening(manifest, folder, train, asked.seed)
        found = measure(softened, train, folder, turns, asked.seed)
    print(f"student: at {STUDENT_SIDE} px; teacher: {TEACHER} at {SIDE} px, untrained")
    print(f"{turns - 1} turns of {BLOCK} steps")
    for name, values in found.items():
        low, median, high = (1000 * value for value in (min(values), statistics.median(values), max(values)))
        print(f"{name + ':':8} median {median:.0f} ms, {low:.0f} to {high:.0f}")
    middle = {name: statistics.median(values) for name, values in found.items()}
    worst = [
        common.verdict(middle["bank"] / middle["plain"], 1.15, "step after a bank / plainly supervised"),
        common.verdict(middle["bank"] / middle["loop"], 1 / 6, "step after a bank / with the teacher in the loop"),
        common.verdict(middle["build"] / middle["bare"], 1.15, "building a view / bare inference of the teacher"),
    ]
    return max(worst)


if __name__ == "__main__":
    sys.exit(main())
