"""Distillation from the bank on one GPU: how long an epoch takes, and what bounds it.

    python benchmarks/gpu.py             # 300 epochs of 8,110 images at 112 px, in less than five minutes
    python benchmarks/gpu.py --small     # the same code on the CPU, in seconds

Images lie in the device's memory as uint8, views are rendered there, the network runs in bfloat16 and compiled, and the
host waits for the device once an epoch. Images and soft labels are random numbers: the time does not depend on them.
It prints the median and the spread of an epoch's time, what 300 epochs took, and a profile of some steps: the share of
the time in which the device is busy, and its longest operations. What does not end within --seconds is cut off, and the
rest is estimated and said to be so. The steps are those of `dermdistill.training`: tests/scripts/test_gpu_benchmark.py
compares them.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from dermdistill.classes import CLASSES
from dermdistill.images.cache import ImageCache
from dermdistill.images.preprocess import SOURCE_SCALE
from dermdistill.images.render import apply_views
from dermdistill.images.view_spec import ViewSpec
from dermdistill.images.views import sample_views, view_seed
from dermdistill.networks.registry import Wanted, network
from dermdistill.run import hardware, versions
from dermdistill.training.loop import learning_rate, make_optimizer
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec, TrainSpec
from dermdistill.training.task import ClassifierTask, ImageSet, normalise

GOAL_RUN, GOAL_EPOCH = 60.0, 0.2
"""Seconds of 300 epochs, and of one, on an H100."""
PROFILED = 8
"""Steps in the profile."""


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    images: int = 8110
    side: int = 112
    batch: int = 1024
    epochs: int = 300
    views: int = 8
    model: str = "lite0_cut"


SMALL = Size(images=48, side=32, batch=16, epochs=2, views=2, model="repds")


def make_task(size: Size, device: torch.device, seed: int = 0) -> tuple[ClassifierTask, nn.Module]:
    """A task as `dermdistill distill` has it, with images in the device's memory, and its network."""
    generator = torch.Generator(device).manual_seed(seed)
    source = SOURCE_SCALE * size.side
    shape = (size.images, 3, source, source)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device, generator=generator)
    names = tuple(f"{number:064x}" for number in range(size.images))
    labels = np.random.default_rng(seed).integers(0, len(CLASSES), size.images)
    rows = np.arange(size.images)
    cache = ImageCache(np.empty((0, 3, source, source), np.uint8), (), {})
    train = ImageSet(names, names, rows, labels, cache, size=size.side, resident=pixels)
    soft = torch.randn(size.views, size.images, len(CLASSES), device=device, generator=generator)

    def targets(which: np.ndarray, view: int, _: torch.device) -> Tensor:
        return soft[view, torch.from_numpy(which).to(device)]

    torch.manual_seed(seed)
    built = network("student", size.model, Wanted(len(CLASSES), size.side))
    nobody = replace(train, ids=(), sha256s=(), rows=rows[:0], labels=labels[:0], resident=None)
    task = ClassifierTask(
        train, nobody, CLASSES, built.mean, built.std, ViewSpec(), seed, size.views, make_loss(LossSpec()), targets
    )
    return task, built.module


class Steps:
    """The steps of a training, none of which waits for the device.

    Args:
        task: what is learned, its images resident.
        model: float32 weights.
        spec: the schedule.
        fast: bfloat16, a compiled network and a fused optimiser; else the arithmetic of `precision = "32-true"`.
    """

    def __init__(self, task: ClassifierTask, model: nn.Module, spec: TrainSpec, fast: bool):
        self.task, self.spec, self.fast = task, spec, fast
        self.device = task.train.resident.device  # type: ignore[union-attr]
        self.model = model.to(self.device).to(memory_format=torch.channels_last).train()
        self.average = ModelEmaV3(self.model, decay=spec.ema, use_warmup=True) if spec.ema else None
        self.optimizer = make_optimizer(self.model, spec)
        compiled = fast and self.device.type == "cuda"
        self._forward = torch.compile(self.model, mode="reduce-overhead") if compiled else self.model
        if compiled:
            for group in self.optimizer.param_groups:
                group.update(fused=True, foreach=False)
        seeds = [view_seed(task.views_seed, view) for view in range(task.view_count or 1)]
        self._views = [torch.from_numpy(sample_views(task.train.sha256s, seed, task.views)) for seed in seeds]
        self._labels = torch.from_numpy(task.train.labels).to(self.device)

    def batch(self, rows: np.ndarray, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images, labels and soft labels, as `ClassifierTask.batch` has them."""
        view, place = self.task.view(epoch), torch.from_numpy(rows)
        there = place.to(self.device, non_blocking=True)
        pixels = self.task.train.resident[there]  # type: ignore[index]
        images = apply_views(pixels, self._views[view][place], self.task.train.size)
        images = normalise(images, self.task.mean, self.task.std).contiguous(memory_format=torch.channels_last)
        return images, self._labels[there], self.task.targets(rows, view, self.device)  # type: ignore[misc]

    def step(self, rows: np.ndarray, epoch: int, position: float) -> Tensor:
        """Learn one batch; the loss stays on the device.

        Args:
            rows: of the batch.
            epoch: decides the view.
            position: epochs so far, with the fraction of this one.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(position, self.spec)
        images, labels, soft = self.batch(rows, epoch)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.fast):
            logits = self._forward(images)
        loss = self.task.criterion(logits.float(), soft, labels)
        loss.backward()
        if self.spec.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, step=round(position * steps_an_epoch(self)) + 1)
        return loss.detach()

    def epoch(self, epoch: int, most: int | None = None) -> Iterator[Tensor]:
        """The losses of an epoch's steps, of at most so many."""
        order, size = self.task.order(0, epoch), self.spec.batch_size
        steps = max(1, len(order) // size)
        for step in range(min(steps, most or steps)):
            yield self.step(order[step * size : (step + 1) * size], epoch, epoch + step / steps)

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def measure(steps: Steps, seconds: float) -> tuple[list[float], float]:
    """The time of each epoch, as many as fit, and the mean loss of the last one."""
    times, began, loss = [], time.perf_counter(), torch.zeros(())
    for epoch in range(steps.spec.epochs):
        start = time.perf_counter()
        loss = torch.stack(list(steps.epoch(epoch))).mean()
        steps.wait()
        times.append(time.perf_counter() - start)
        if time.perf_counter() - began > seconds:
            break
    return times, float(loss)


def bounds(steps: Steps) -> list[str]:
    """What some steps spend their time on: the share in which the device is busy, and its longest operations."""
    on_gpu = steps.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    start = time.perf_counter()
    with profile(activities=activities) as found:
        done = sum(
            len(list(steps.epoch(epoch, PROFILED))) for epoch in range(max(1, PROFILED // steps_an_epoch(steps)))
        )
        steps.wait()
    wall = (time.perf_counter() - start) * 1e6
    events = found.key_averages()
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    total = sum(getattr(event, key) for event in events)
    lines = [f"profile of {done} steps (slower than without it): {wall / done / 1000:.2f} ms a step"]
    if on_gpu:
        busy = total / wall
        verdict = "the device bounds it" if busy > 0.8 else "the host, which prepares and launches, bounds it"
        lines.append(f"the device is busy in {busy:.0%} of the time: {verdict}")
    longest = sorted(events, key=lambda event: -getattr(event, key))[:12]
    return [*lines, *(f"{getattr(event, key) / max(total, 1e-9):7.1%}  {event.key[:100]}" for event in longest)]


def steps_an_epoch(steps: Steps) -> int:
    """How many there are."""
    return max(1, steps.task.size // steps.spec.batch_size)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few images on the CPU")
    parser.add_argument("--batch", type=int, help="images a step (1024)")
    parser.add_argument("--seconds", type=float, default=180, help="after which epochs are cut off (180)")
    asked = parser.parse_args(arguments)
    if not asked.small and not torch.cuda.is_available():
        print("there is no GPU that PyTorch can use: the small size runs on the CPU, which says nothing about a GPU")
        asked.small = True
    device = torch.device("cpu" if asked.small else "cuda")
    size = SMALL if asked.small else Size()
    size = replace(size, batch=asked.batch or size.batch)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name() if device.type == "cuda" else hardware()
    print(f"machine: {name}; torch {versions()['torch']}, {torch.get_num_threads()} threads")
    print(f"work:    {size}", flush=True)
    began = time.perf_counter()
    task, model = make_task(size, device)
    steps = Steps(task, model, TrainSpec(epochs=size.epochs, batch_size=size.batch), fast=True)
    list(steps.epoch(0, 3))  # compiles
    steps.wait()
    print(f"ready after {time.perf_counter() - began:.1f} s, compiling included", flush=True)
    times, loss = measure(steps, asked.seconds)
    median, total = statistics.median(times), sum(times)
    print(f"epoch:   median {median:.4f} s ({min(times):.4f} to {max(times):.4f}), {task.size / median:,.0f} images/s, "
          f"loss {loss:.3f}")  # fmt: skip
    whole = total * size.epochs / len(times)
    how = "measured" if len(times) == size.epochs else f"estimated from {len(times)}"
    print(f"{size.epochs} epochs: {whole:.1f} s ({how})")
    if device.type == "cuda":
        print(f"memory:  {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most")
    print("\n".join(bounds(steps)), flush=True)
    if asked.small:
        return 0
    met = whole <= GOAL_RUN and median <= GOAL_EPOCH
    print(f"{'PASS' if met else 'FAIL'}: {whole:.1f} s and {median:.3f} s, goals {GOAL_RUN:.0f} s and {GOAL_EPOCH} s")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
