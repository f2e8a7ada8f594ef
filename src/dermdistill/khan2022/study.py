"""Carry out rows: train what is not trained, go on with what was interrupted, measure what has ended.

study folder/
  runs/SYSTEM-KIND-sSEED-HASH/   run.json metrics.jsonl model.safetensors [last.safetensors] result-best|last.json
  report.json report.md report.html timing.json beside.json leak.json
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning_fabric as lightning
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dermdistill.errors import DermdistillError, InputError, IntegrityError
from dermdistill.files import atomic_path, read_json, sha256_file, write_json
from dermdistill.khan2022 import measures
from dermdistill.khan2022.data import Division, Pool
from dermdistill.khan2022.division import divide
from dermdistill.khan2022.protocol import relevant, soft_targets, teacher_faults
from dermdistill.khan2022.recipe import Row, Settings, identity, slug, train_spec
from dermdistill.khan2022.systems import build_system, fp32_bytes, keras_count, parameters, trunk_weights
from dermdistill.khan2022.task import PaperTask, auroc, entry_of, predict, ranking
from dermdistill.networks.cost import count
from dermdistill.run import Run, RunHeader, hardware, open_run
from dermdistill.specs import load_header
from dermdistill.training.loop import fit


class RowHeader(RunHeader):
    """run.json of a finished row: what its network costs, and how it was trained."""

    parameters: int
    keras_parameters: int
    """As Keras would count them."""
    macs: int
    fp32_bytes: int
    best_epoch: int
    epochs: int
    training_seconds: float
    initial_weights: str


@dataclass
class Study:
    """Rows of one pool, under one set of settings, in one folder."""

    settings: Settings
    pool: Pool
    folder: Path
    fabric: lightning.Fabric
    tell: Callable[[str], None] = print
    open_at: Callable[[int], Pool] | None = None
    """Opens the same images at another size."""
    _divisions: dict[tuple[bool, int], Division] = field(default_factory=dict)
    _sized: dict[int, "Study"] = field(default_factory=dict)

    def at(self, row: Row) -> "Study":
        """The same study with the images at the row's size."""
        size = row.image_size
        if size is None or size == self.settings.image_size:
            return self
        if size not in self._sized:
            if self.open_at is None:
                raise InputError(
                    f"the images of this study are at hand at {self.settings.image_size} px only, not {size}"
                )
            settings = self.settings.model_copy(update={"image_size": size})
            self._sized[size] = replace(self, settings=settings, pool=self.open_at(size), _divisions={}, _sized={})
        return self._sized[size]

    def division(self, row: Row, seed: int) -> Division:
        """The row's training, validation and test images."""
        key = (row.faults.random_split, seed)
        if key not in self._divisions:
            self._divisions[key] = divide(self.pool, random_split=key[0], seed=seed)
        return self._divisions[key]

    def identity(self, row: Row, seed: int) -> dict[str, Any]:
        """All that decides the result of a row."""
        return identity(row, self.settings, seed, self.pool.sha256)

    def run(self, row: Row, seed: int) -> Run:
        """The run folder of a row; rows of several tables may share one."""
        return Run(self.folder / "runs" / slug(row, self.identity(row, seed)))

    def result(self, row: Row, seed: int) -> dict[str, Any] | None:
        """What was measured, or why nothing could be ('failed'); None if the row was not run yet."""
        folder = self.run(row, seed).folder
        for path in (folder / f"result-{kept_epoch(row)}.json", folder / "failed.json"):
            if path.exists():
                return read_json(path)
        return None


def kept_epoch(row: Row) -> str:
    """Which epoch's weights a row keeps: 'last' or 'best'."""
    return "last" if row.faults.last_epoch else "best"


def run_row(study: Study, row: Row, seed: int) -> dict[str, Any]:
    """Train and measure a row, unless that was done; a training that diverges is recorded, and stops nothing.

    Raises:
        InputError: the data or settings do not fit.
        IntegrityError: a stored file is damaged.
        KeyboardInterrupt: stopped, after a checkpoint was written.
    """
    found = study.result(row, seed)
    if found is not None:
        return found
    study = study.at(row)
    run = study.run(row, seed)
    try:
        _train(study, row, seed)
        found = _measure(study, row, seed)
    except (InputError, IntegrityError):
        raise
    except DermdistillError as error:
        found = {"failed": str(error), "seed": seed}
        write_json(run.folder / "failed.json", found)
        study.tell(f"{row.table} {row.name}, seed {seed}: failed, {error}")
        return found
    write_json(run.folder / f"result-{kept_epoch(row)}.json", found)
    study.tell(summary(row, found))
    return found


def summary(row: Row, found: dict[str, Any]) -> str:
    """A result in a line."""
    auroc_value = found["test"]["auroc"]["value"]
    return (
        f"{row.table} {row.name}, seed {found['seed']}: accuracy {found['test']['accuracy']['value']:.3f}, "
        f"AUROC {'undefined' if auroc_value is None else format(auroc_value, '.3f')}, "
        f"ECE {found['test']['ece']:.3f}, trained for {found['training_seconds']:.0f} s"
    )


def teacher_of(row: Row, settings: Settings) -> Row:
    """The teacher of a distilled row: the same images, entering alike."""
    faults = relevant(teacher_faults(row.faults), distilled=False, optimizer=settings.teaching.optimizer)
    return Row(
        table="2", name="teacher", system=settings.teacher, distilled=False, faults=faults,
        training=settings.teaching, temperature=row.temperature, image_size=row.image_size,
    )  # fmt: skip


def _train(study: Study, row: Row, seed: int) -> Run:
    run = open_run(study.run(row, seed).folder, study.identity(row, seed))
    if run.is_complete():
        return run
    settings, division = study.settings, study.division(row, seed)
    targets = targets_of(study, row, seed) if row.distilled else None
    torch.manual_seed(seed)
    model = build_system(row.system, image_size=settings.image_size, weights=settings.weights)
    task = PaperTask(
        study.pool, division, entry_of(row.system, row.faults), row.faults, targets,
        alpha=settings.alpha, temperature=row.temperature,
    )  # fmt: skip
    study.tell(f"{row.table} {row.name}, seed {seed}: {run.folder.name}")
    done = fit(task, model, train_spec(row, settings), seed, run, study.fabric)
    if done.best_epoch != done.epoch - 1:
        _store_last(run)
    cost = count(build_system(row.system, image_size=settings.image_size, weights="none"), settings.image_size)
    run.finish(
        parameters=parameters(model), keras_parameters=keras_count(row.system, model), macs=cost.macs,
        fp32_bytes=fp32_bytes(model), best_epoch=done.best_epoch, best_auroc=done.best, epochs=done.epoch,
        training_seconds=round(done.seconds, 2), model_sha256=sha256_file(run.model),
        initial_weights=trunk_weights(row.system, settings.weights),
    )  # fmt: skip
    shutil.rmtree(run.checkpoint.parent)  # the optimiser's state is three times as large as the network
    return run


def _store_last(run: Run) -> None:
    """The last epoch's weights, out of the checkpoint; where that epoch is the best one, they are there already."""
    prefix = "model."
    tensors = load_file(run.checkpoint)
    with atomic_path(run.folder / "last.safetensors") as temporary:
        save_file({name.removeprefix(prefix): part for name, part in tensors.items() if name.startswith(prefix)},
                  temporary)  # fmt: skip


def trained(study: Study, row: Row, seed: int, which: str) -> nn.Module:
    """A finished row's network with the best or the last epoch's weights, on the device."""
    run = study.run(row, seed)
    model = build_system(row.system, image_size=study.settings.image_size, weights="none")
    last = run.folder / "last.safetensors"
    model.load_state_dict(load_file(last if which == "last" and last.exists() else run.weights()))
    return model.eval().to(study.fabric.device).to(memory_format=torch.channels_last)


def targets_of(study: Study, row: Row, seed: int) -> Tensor:
    """The soft targets of a distilled row, float32 [N, 2], after training its teacher if need be."""
    teacher, which = teacher_of(row, study.settings), kept_epoch(row)
    result = run_row(study, teacher, seed)
    if "failed" in result:
        raise DermdistillError(f"its teacher failed: {result['failed']}")
    path = study.run(teacher, seed).folder / f"logits-{which}.safetensors"
    if not path.exists():
        model = trained(study, teacher, seed, which)
        entry = entry_of(teacher.system, teacher.faults)
        logits = predict(model, study.pool.pixels, study.division(row, seed).train, entry, study.fabric.device)
        with atomic_path(path) as temporary:
            save_file({"train": torch.from_numpy(logits)}, temporary)
    return soft_targets(load_file(path)["train"].double(), row.temperature, row.faults).float()


def _measure(study: Study, row: Row, seed: int) -> dict[str, Any]:
    """The result of a row with one seed: its figures and what they rest on."""
    run, division, labels = study.run(row, seed), study.division(row, seed), study.pool.labels
    header, device = load_header(run.header_path, RowHeader), study.fabric.device
    model, entry = trained(study, row, seed, kept_epoch(row)), entry_of(row.system, row.faults)

    def outputs_of(rows: np.ndarray) -> np.ndarray:
        return predict(model, study.pool.pixels, rows, entry, device)

    outputs, checked = outputs_of(division.test), outputs_of(division.validation)
    truth = labels[division.validation]
    found = {
        "system": row.system, "distilled": row.distilled, "seed": seed,
        "kept": kept_epoch(row), "run": run.folder.name, "faults": row.faults.model_dump(),
        "images": division.describe(labels),
        "test": measures.figures_of(outputs, labels[division.test], study.pool.groups[division.test], row.faults),
        "by_leak": measures.by_leak(outputs, labels[division.test], division.seen, row.faults),
        "validation": {
            "accuracy": float((checked.argmax(1) == truth).mean()),
            "auroc": auroc(truth, ranking(torch.from_numpy(checked))),
        },
        "history": run.read_metrics(), "hardware": hardware(), "device": str(device),
    }  # fmt: skip
    found |= header.model_dump(mode="json", include=set(RowHeader.__annotations__))
    if row.distilled:
        targets = targets_of(study, row, seed)
        some = division.train[: measures.share_rows(len(division.train))]
        found["distillation"] = measures.target_measures(
            targets, torch.from_numpy(outputs_of(some)), torch.from_numpy(labels[some]),
            alpha=study.settings.alpha, temperature=row.temperature, faults=row.faults,
        )  # fmt: skip
    return found
