"""Checkpoints: all that a killed training needs to go on as if nothing had happened."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from dermdistill.errors import IntegrityError
from dermdistill.files import atomic_path
from dermdistill.run import Run

log = logging.getLogger(__name__)


@dataclass
class Progressed:
    """How far a run has come; stored in each checkpoint."""

    epoch: int = 0
    step: int = 0
    """Steps done within the epoch."""
    best: float | None = None
    """Highest validation melanoma AUROC so far."""
    best_epoch: int = -1
    loss_sum: float = 0.0
    seconds: float = 0.0
    """Training time of the finished epochs and of this one."""
    timing: dict[str, float] = field(default_factory=lambda: {"data": 0.0, "step": 0.0})


def save_model(model: nn.Module, run: Run) -> None:
    """Write a model's weights and statistics to the run's model.safetensors."""
    with atomic_path(run.model) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)


def store(run: Run, model: nn.Module, average: ModelEmaV3 | None, optimizer: Any, done: Progressed) -> None:
    """Write a checkpoint; the one before stays beside it."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.module.state_dict().items()}
    scalars: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    metadata = {"progress": json.dumps(vars(done)), "optimizer": json.dumps(scalars)}
    with atomic_path(run.checkpoint) as temporary:
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
                  temporary, metadata=metadata)  # fmt: skip
        if run.checkpoint.exists():
            run.checkpoint.replace(run.previous_checkpoint)


@dataclass(frozen=True)
class _Checkpoint:
    path: Path
    tensors: dict[str, Tensor]
    scalars: dict[str, Any]
    """What the optimiser keeps besides tensors."""
    done: Progressed


def _read_checkpoint(run: Run) -> _Checkpoint | None:
    """The last checkpoint, or the one before if the last is damaged; None if there is none.

    Raises:
        IntegrityError: all that are there are damaged.
    """
    there = [path for path in (run.checkpoint, run.previous_checkpoint) if path.exists()]
    for path in there:
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata()
            done = Progressed(**json.loads(metadata["progress"]))
            return _Checkpoint(path, tensors, json.loads(metadata["optimizer"]), done)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s)", path, error)
    if there:
        names = " and ".join(str(path) for path in there)
        raise IntegrityError(f"{names} cannot be read; remove {run.folder} to train anew")
    return None


def restore(run: Run, model: nn.Module, average: ModelEmaV3 | None, optimizer: Any) -> Progressed:
    """Load the last intact checkpoint, if there is one, into model, averaged model and optimiser.

    Raises:
        IntegrityError: every checkpoint is damaged, or it is of another model.
    """
    found = _read_checkpoint(run)
    if found is None:
        return Progressed()
    try:
        model.load_state_dict(_part(found.tensors, "model."))
        if average is not None:
            average.module.load_state_dict(_part(found.tensors, "average."))
    except RuntimeError as error:
        raise IntegrityError(f"{found.path} does not fit this model ({error}); remove it to start anew") from error
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*_part(found.tensors, "optimizer.").items(), *found.scalars.items()]:
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return found.done


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
