"""How far the stages of a recipe have come, read from what lies in the work folder. No torch, no pandas."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dermdistill.distillation.bank_format import BankTeacher
from dermdistill.recipe.stage import Stage, State
from dermdistill.recipe.work import Work
from dermdistill.run import Run
from dermdistill.specs import load_header

FRESH = 300.0
"""Seconds within which a stage that is being carried out has written something, at least."""
_CHECKPOINTS = 3
"""How many of a training's checkpoints may be missed before it counts as stopped."""

Standing = Literal["done", "running", "begun", "to do", "differs"]


@dataclass(frozen=True)
class Progress:
    """How far a stage has come."""

    stage: Stage
    state: State
    standing: Standing
    """`running` if something was written lately, `begun` if it was stopped."""
    steps: tuple[int, int] | None = None
    """How many are done, and how many there are; None where they are not counted."""
    unit: str = ""
    """What a step is: epochs or views."""
    seconds: float | None = None
    """That it has trained; None where it is not known."""
    seconds_left: float | None = None
    """By the epochs that are done, or by another training of the same network; None where it is not known."""

    def plain(self) -> dict[str, Any]:
        """The values for JSON."""
        return {
            "name": self.stage.name,
            "kind": self.stage.kind,
            "standing": self.standing,
            "changes": [str(change) for change in self.state.changes],
            "steps_done": self.steps[0] if self.steps else None,
            "steps": self.steps[1] if self.steps else None,
            "unit": self.unit or None,
            "seconds": self.seconds,
            "seconds_left": self.seconds_left,
        }


def look(work: Work, standing: Iterable[tuple[Stage, State]], now: float | None = None) -> list[Progress]:
    """How far each stage has come.

    Args:
        work: the recipe and its folder; nothing there is changed.
        standing: each stage and how it stands, as `dermdistill.recipe.run.intended` gives them.
        now: the time in seconds since 1970, by default that of the clock.
    """
    now = time.time() if now is None else now
    found = [_of(work, stage, state, now) for stage, state in standing]
    known: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in found:
        if one.standing == "done" and one.seconds is not None:
            known[one.stage.kind, one.stage.model].append(one.seconds)
    return [_estimated(one, known[one.stage.kind, one.stage.model]) for one in found]


def _estimated(one: Progress, alike: list[float]) -> Progress:
    """A stage that has not begun takes as long as the same network in the other parts."""
    if one.standing != "to do" or one.seconds_left is not None or not alike:
        return one
    return replace(one, seconds_left=sum(alike) / len(alike))


def _of(work: Work, stage: Stage, state: State, now: float) -> Progress:
    if stage.kind in ("teach", "distill"):
        return _of_training(stage, state, now)
    if stage.kind == "soften" and state.standing == "to do":
        return _of_bank(work, stage, state, now)
    return Progress(stage, state, state.standing)


def _of_training(stage: Stage, state: State, now: float) -> Progress:
    run = Run(stage.outputs[0])
    if state.standing == "differs" or not run.header_path.exists():
        return Progress(stage, state, state.standing)
    header = run.load()
    train = header.recipe.get("train", {})
    lines, epochs = run.read_metrics(), int(train.get("epochs", 0))
    seconds = float(lines[-1]["seconds"]) if lines else 0.0
    steps = (len(lines), epochs)
    if state.standing == "done":
        trained = header.plain().get("training_seconds")
        return Progress(stage, state, "done", steps if lines else None, "epochs", trained)
    left = seconds / len(lines) * (epochs - len(lines)) if lines else None
    quiet = max(FRESH, _CHECKPOINTS * float(train.get("checkpoint_seconds", 0.0)))
    files = (run.header_path, run.metrics, run.checkpoint)
    return Progress(stage, state, _pace(files, now, quiet), steps, "epochs", seconds, left)


def _of_bank(work: Work, stage: Stage, state: State, now: float) -> Progress:
    headers = sorted(stage.outputs[0].glob("*/teacher.json"))
    if not headers:
        return Progress(stage, state, "to do")
    views = work.recipe.soften.views
    done = sum(min(views, load_header(path, BankTeacher).views) for path in headers)
    total = views * max(len(headers), len(work.recipe.teachers))
    return Progress(stage, state, _pace(headers, now, FRESH), (done, total), "views")


def _pace(files: Iterable[Path], now: float, quiet: float) -> Standing:
    """Whether something was written within so many seconds."""
    latest = max(path.stat().st_mtime for path in files if path.exists())
    return "running" if now - latest <= quiet else "begun"
