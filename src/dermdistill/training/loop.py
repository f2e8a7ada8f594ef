"""The one epoch loop that teachers and students share, on Lightning Fabric.

Nothing in it depends on a generator's state: the order of an epoch, the views and the dropout masks
are functions of (seed, epoch, step). So a run that was killed anywhere and resumed from its last
checkpoint ends with the same weights, bit for bit on a CPU.
"""

import contextlib
import importlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import lightning_fabric as lightning
import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric.loggers import TensorBoardLogger
from rich.progress import Progress
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from dermdistill import talk
from dermdistill.errors import DermdistillError, InputError
from dermdistill.run import Run
from dermdistill.training.checkpoint import Progressed, restore, save_model, store
from dermdistill.training.memory import keep_freed_memory
from dermdistill.training.spec import TrainSpec

_TOLD = {"loss": "loss", "auroc": "AUROC", "accuracy": "acc"}
"""What an epoch's line on the terminal says, and in which words."""


class Task(Protocol):
    """What is learned: batches, their loss, and how good a model is."""

    @property
    def size(self) -> int:
        """How many images an epoch shows."""

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The images of an epoch in their order, int64 [size]."""

    def batch(self, rows: np.ndarray, epoch: int, device: torch.device) -> Any:
        """Everything that one step needs, on the device."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of one batch, scalar."""

    def score(self, model: nn.Module, device: torch.device) -> dict[str, float | None]:
        """Validation figures; `auroc` decides which checkpoint is kept."""


def make_fabric(
    accelerator: str = "auto",
    devices: int | str = 1,
    precision: str = "32-true",
    tensorboard: Path | None = None,
    loggers: Sequence[Any] = (),
) -> lightning.Fabric:
    """A Fabric for the CPU, one GPU or several (DDP), with a folder for TensorBoard's event files if wanted.

    Each of `loggers` gets an epoch's figures at its end: `log_metrics(figures, step)`.

    Under `torchrun` there are as many devices and machines as it was started for, whatever `devices` says.

    From here on the process keeps the memory that it frees (`dermdistill.training.memory`).

    Raises:
        ModuleNotFoundError: TensorBoard is wanted and not installed.
        InputError: this machine has no such accelerator, or not so many of them.
    """
    if tensorboard is not None:
        importlib.import_module("tensorboard")
    keep_freed_memory()
    nodes = 1
    if dist.is_available() and dist.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    several = nodes > 1 or devices not in (1, "1")
    strategy = "ddp" if several else "auto"
    try:
        return lightning.Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=precision,  # type: ignore[arg-type]
            loggers=[*loggers, *([] if tensorboard is None else [TensorBoardLogger(tensorboard, name="", version="")])],
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"--accelerator {accelerator} with {devices} device(s) cannot be used here: {error}; "
            "choose --accelerator auto or cpu"
        ) from None


def fit(task: Task, model: nn.Module, spec: TrainSpec, seed: int, run: Run, fabric: lightning.Fabric) -> Progressed:
    """Train `model`, or go on with it, and leave the best weights in `run.model`.

    Args:
        task: the batches, the loss and the validation.
        model: float32 weights as initialised; replaced by the checkpoint's if there is one.
        spec: optimiser, schedule, epochs.
        seed: decides order, views and dropout.
        run: the run folder.
        fabric: launched already.

    Raises:
        DermdistillError: the loss is no longer finite.
        KeyboardInterrupt: stopped by the user or by SIGTERM, after a checkpoint was written.
    """
    _deterministic(fabric)
    average = ModelEmaV3(model, decay=spec.ema, use_warmup=True) if spec.ema else None
    if spec.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if spec.batch_size % fabric.world_size:
        raise InputError(f"batch_size {spec.batch_size} must be a multiple of the {fabric.world_size} devices")
    trained: Any = torch.compile(model) if spec.compile else model
    wrapped, optimizer = fabric.setup(trained, make_optimizer(model, spec))
    if average is not None:
        average.to(fabric.device)
    done = restore(run, model, average, optimizer)
    with _stop_requests() as requests, _bars(fabric) as bars:
        loop = _Loop(task, model, wrapped, average, optimizer, spec, seed, run, fabric, done, requests)
        loop.train(bars)
    fabric.barrier()
    return done


@dataclass
class _Loop:
    task: Task
    model: nn.Module
    wrapped: Any
    average: ModelEmaV3 | None
    optimizer: Any
    spec: TrainSpec
    seed: int
    run: Run
    fabric: lightning.Fabric
    done: Progressed
    stop_requests: list[int]

    def __post_init__(self) -> None:
        self.steps = max(1, self.task.size // self.spec.batch_size)
        self.saved = time.monotonic()

    def train(self, bars: Progress) -> None:
        epochs = bars.add_task("epochs", total=self.spec.epochs, completed=self.done.epoch, note="")
        steps = bars.add_task("steps", total=self.steps, note="")
        while self.done.epoch < self.spec.epochs and not self._tired():
            bars.reset(steps, total=self.steps, completed=self.done.step)
            self._epoch(lambda loss: bars.update(steps, advance=1, note=f"loss {loss:.4f}"))
            seconds = sum(self.done.timing.values())
            line = self._end_epoch()
            bars.update(epochs, advance=1, note=f"auroc {line['auroc'] or math.nan:.4f}")
            if bars.disable and self.fabric.is_global_zero:
                talk.say(self._summary(line, seconds))

    def _summary(self, line: dict[str, Any], seconds: float) -> str:
        """An epoch in at most 80 columns, for names of up to 20 letters."""
        name, epoch = self.run.folder.name, f"{line['epoch'] + 1}/{self.spec.epochs}"
        figures = [f"{word} {line[key]:.3f}" for key, word in _TOLD.items() if line.get(key) is not None]
        return f"{name:<12} epoch {epoch:<5} {'  '.join(figures)}  {seconds:.0f} s (total {line['seconds']:.0f} s)"

    def _tired(self) -> bool:
        patience = self.spec.patience
        return patience is not None and self.done.epoch - 1 - self.done.best_epoch >= patience

    def _epoch(self, tell: Callable[[float], None]) -> None:
        self.wrapped.train()
        epoch, rank, world = self.done.epoch, self.fabric.global_rank, self.fabric.world_size
        order = self.task.order(self.seed, epoch)
        size = min(self.spec.batch_size, len(order))
        while self.done.step < self.steps:
            began = time.perf_counter()
            step = self.done.step
            rows = order[step * size : (step + 1) * size][rank::world]
            batch = self.task.batch(rows, epoch, self.fabric.device)
            loaded = time.perf_counter()
            loss = self._step(batch, epoch, step)
            loss, stopped = self._shared(loss)
            ended = time.perf_counter()
            self.done.step += 1
            self.done.loss_sum += loss
            self.done.seconds += ended - began
            self.done.timing["data"] += loaded - began
            self.done.timing["step"] += ended - loaded
            tell(loss)
            if stopped or time.monotonic() - self.saved >= self.spec.checkpoint_seconds:
                self._save()
            if stopped:
                raise KeyboardInterrupt

    def _shared(self, loss: float) -> tuple[float, bool]:
        """The loss of the whole batch, of which each process has a part, and whether one of them was asked to stop;
        then all do, after the same step."""
        if self.fabric.world_size == 1:
            return loss, bool(self.stop_requests)
        own = torch.tensor([loss, float(len(self.stop_requests))], device=self.fabric.device)
        mean = self.fabric.all_reduce(own, reduce_op="mean")
        assert isinstance(mean, Tensor)
        return float(mean[0]), bool(mean[1] > 0)

    def _step(self, batch: Any, epoch: int, step: int) -> float:
        position = epoch * self.steps + step
        rate = learning_rate(position / self.steps, self.spec)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(_mix(self.seed, epoch, step, self.fabric.global_rank))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.task.loss(self.wrapped, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DermdistillError(
                f"the loss became {value} in epoch {epoch + 1}, step {step + 1}, at learning rate {rate:.2g}; "
                "lower train.learning_rate, set train.clip, or use train.precision = '32-true', then start anew"
            )
        self.fabric.backward(loss)
        if self.spec.clip:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.spec.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, step=position + 1)
        return value

    def _end_epoch(self) -> dict[str, Any]:
        done, best = self.done, self.average.module if self.average is not None else self.model
        score = self.task.score(best, self.fabric.device) if self.fabric.is_global_zero else {}
        score = self.fabric.broadcast(score)
        line = {
            "epoch": done.epoch,
            "loss": done.loss_sum / self.steps,
            "learning_rate": learning_rate(done.epoch + 1, self.spec),
            **score,
            "seconds": round(done.seconds, 3),
            "data_share": round(done.timing["data"] / max(1e-9, sum(done.timing.values())), 4),
        }
        auroc = score.get("auroc")
        if auroc is None or done.best is None or auroc > done.best:  # without validation the last epoch is kept
            done.best, done.best_epoch = auroc, done.epoch
            if self.fabric.is_global_zero:
                save_model(best, self.run)
        if self.fabric.is_global_zero:
            self.run.keep_metrics(done.epoch)
            self.run.append_metrics(line)
        numbers = {f"{key}/{self.run.folder.name}": value for key, value in line.items() if value is not None}
        self.fabric.log_dict(numbers, step=done.epoch)
        done.epoch, done.step, done.loss_sum = done.epoch + 1, 0, 0.0
        done.timing = {"data": 0.0, "step": 0.0}
        self._save()
        return line

    def _save(self) -> None:
        self.saved = time.monotonic()
        if self.fabric.is_global_zero:
            store(self.run, self.model, self.average, self.optimizer, self.done)


def learning_rate(epoch: float, spec: TrainSpec) -> float:
    """The learning rate at a (fractional) epoch: linear warm-up, then a cosine to zero, or constant."""
    if epoch < spec.warmup_epochs:
        return spec.learning_rate * max(epoch, 0.01) / spec.warmup_epochs
    if spec.schedule == "constant":
        return spec.learning_rate
    share = (epoch - spec.warmup_epochs) / max(1e-9, spec.epochs - spec.warmup_epochs)
    return spec.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def make_optimizer(model: nn.Module, spec: TrainSpec) -> torch.optim.Optimizer:
    """The optimiser, with weight decay on matrices and kernels only."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    match spec.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=spec.learning_rate)
        case "adam":
            return torch.optim.Adam(groups, lr=spec.learning_rate)
        case "sgd":
            return torch.optim.SGD(groups, lr=spec.learning_rate, momentum=0.9, nesterov=True)
        case "adadelta":
            return torch.optim.Adadelta(groups, lr=spec.learning_rate)


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _deterministic(fabric: lightning.Fabric) -> None:
    torch.backends.cudnn.benchmark = False
    if fabric.device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that the loop can stop between two steps; a second one is not waited for."""
    requests: list[int] = []

    def stop(number: int, _: object) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bars(fabric: lightning.Fabric) -> Progress:
    """None beside the lines about epochs that are written where standard output is no terminal."""
    return talk.bars(note=True, disable=not fabric.is_global_zero or sys.stdout is None or not sys.stdout.isatty())
