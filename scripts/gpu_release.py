"""Train a recipe's teachers and students on one GPU, in several calls if need be.

    python scripts/gpu_release.py recipes/gpu.toml --pack PACK --state STATE --out OUT --minutes 8
    python scripts/gpu_release.py recipes/views.toml --ablation --pack PACK --state STATE --out OUT --minutes 8

The trainings are the stages of the recipe, each in a process of its own and several at a time: small networks leave a
GPU waiting for their Python code. Images lie in the GPU's memory, views are rendered there. When the minutes are over,
trainings write a checkpoint; the same command goes on with them. OUT gets summary.json and the finished runs as zip
files: unzip them into the parent of the work folder that was packed and is named as the recipe, where
`dermdistill run RECIPE --out WORK` then reports and exports. Every run header has the hash of the manifest and of the
splits.

Hair, rulers, noise, resampling and JPEG coding are drawn on the CPU, image by image: leave them out of the views of a
recipe that shall be fast; the other effects and all of geometry and colour are batched on the GPU.
"""

import argparse
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from dermdistill.classes import MELANOMA
from dermdistill.errors import DermdistillError, InputError
from dermdistill.evaluate.predictions import read_model
from dermdistill.files import write_json
from dermdistill.publish.ablation import recipes, write_table
from dermdistill.recipe.pack import MIB, on_pack, round_run, unpack, write_runs
from dermdistill.recipe.parts import part_names
from dermdistill.recipe.plan import plan
from dermdistill.recipe.run import run_recipe
from dermdistill.recipe.spec import Recipe, load_recipe
from dermdistill.recipe.work import Work
from dermdistill.run import Run
from dermdistill.training.loop import make_fabric

KINDS = ("teach", "soften", "distill")
QUICK_REPLICATES = 200
"""Of the ablation's bootstrap in a call; `python -m dermdistill.publish.ablation` makes the table with more."""
STOP_SECONDS = 20
"""How long before the end trainings are asked to write their checkpoints."""


def main(arguments: list[str] | None = None) -> int:
    began = time.monotonic()
    asked = _arguments(arguments)
    try:
        works = prepare(asked)
        failed = carry_out(jobs(works, asked), asked, began + 60 * asked.minutes - STOP_SECONDS)
        report(works, asked)
    except DermdistillError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--pack", type=Path, required=True, help="folder of part-*.zip, see gpu_pack.py")
    parser.add_argument("--state", type=Path, required=True, help="what is unpacked and trained; kept between calls")
    parser.add_argument("--out", type=Path, required=True, help="gets the finished runs and summary.json")
    parser.add_argument("--minutes", type=float, default=8, help="time for this call (8)")
    parser.add_argument("--stage", choices=["unpack", *KINDS], nargs="*", default=list(KINDS), help="by default all")
    parser.add_argument("--folds", type=int, nargs="*", help="tested folds, by default the recipe's")
    parser.add_argument("--final", action=argparse.BooleanOptionalAction, help="train on all images as well, or not")
    parser.add_argument("--ablation", action="store_true", help="a row for each view parameter, see publish.ablation")
    parser.add_argument("--rows", nargs="*", help="of the ablation, by default all")
    parser.add_argument(
        "--jobs", type=int, default=4, help="trainings at a time (4); 0: one after the other in this process"
    )
    parser.add_argument("--accelerator", default="auto", help="auto, cpu or gpu")
    parser.add_argument("--part-mib", type=float, default=15.5, help="largest file in OUT (15.5)")
    parser.add_argument("--no-teacher-weights", action="store_true", help="leave teachers' weights out of OUT")
    return parser.parse_args(arguments)


def prepare(asked: argparse.Namespace) -> list[Work]:
    """Unpack the images, and make a work folder for the recipe, or name one for each row of the ablation."""
    folder = (asked.state / "pack").absolute()
    facts = unpack(asked.pack, folder)
    os.environ["DERMDISTILL_WEIGHTS"] = str(folder / "weights")
    recipe = _chosen(load_recipe(asked.recipe), asked)
    wanted = recipes(recipe, asked.rows) if asked.ablation else [recipe]
    print(f"{facts['images']} images, manifest {facts['manifest_sha256'][:12]}, {len(wanted)} recipes", flush=True)
    works = [Work(on_pack(one, folder), asked.state / one.name, cache=asked.state / "cache") for one in wanted]
    if not asked.ablation:
        _train(works[0], (), "cpu")
    return works


def _chosen(recipe: Recipe, asked: argparse.Namespace) -> Recipe:
    """The recipe with the folds that are asked for; the others may follow in another call."""
    changes: dict[str, Any] = {}
    if asked.folds is not None:
        changes["tested"] = tuple(asked.folds)
    if asked.final is not None:
        changes["final"] = asked.final
    split = type(recipe.split).model_validate({**recipe.split.model_dump(exclude_unset=True), **changes})
    return recipe.model_copy(update={"split": split})


@dataclass(frozen=True)
class Job:
    """What one process does."""

    name: str
    work: Work
    stages: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """The names of the jobs that must be done before."""


def jobs(works: list[Work], asked: argparse.Namespace) -> list[Job]:
    """A job for each stage that is to be done, or for all students of a row of the ablation."""
    if asked.ablation:
        wanted = works if "distill" in asked.stage else []
        return [Job(work.recipe.name, work, tuple(students(work))) for work in wanted]
    (work,) = works
    stages = [(stage, stage.look().standing == "done") for stage in plan(work)]
    done = {stage.name for stage, is_done in stages if is_done}
    return [
        Job(stage.name, work, (stage.name,), tuple(name for name in stage.needs if name not in done))
        for stage, is_done in stages
        if stage.kind in asked.stage and not is_done
    ]


def students(work: Work) -> list[str]:
    """The names of the stages that train students."""
    return [
        " ".join(filter(None, ("distill", spec.name, f"({part})" if part else "")))
        for part in part_names(work.recipe.split)
        for spec in work.of(part).students
    ]


def carry_out(waiting: list[Job], asked: argparse.Namespace, deadline: float) -> list[Job]:
    """Run jobs whose needs are met, several at a time, until all are done or the time is over.

    Returns:
        The jobs that failed.
    """
    if asked.jobs == 0:
        for job in waiting:
            if time.monotonic() < deadline:
                _train(job.work, job.stages, asked.accelerator)
        return []
    spawn = multiprocessing.get_context("spawn")
    running: list[tuple[Job, BaseProcess]] = []
    failed, done = [], set()
    while time.monotonic() < deadline:
        for job in [job for job in waiting if done.issuperset(job.needs)][: asked.jobs - len(running)]:
            waiting = [other for other in waiting if other is not job]
            process = spawn.Process(target=_in_process, args=(job, asked), name=job.name)
            process.start()
            running.append((job, process))
        if not running:
            break
        connection.wait([process.sentinel for _, process in running], max(0.0, deadline - time.monotonic()))
        for job, process in [pair for pair in running if not pair[1].is_alive()]:
            running.remove((job, process))
            (failed.append if process.exitcode else lambda job: done.add(job.name))(job)
            print(f"{'FAILED' if process.exitcode else 'done'}: {job.name}", flush=True)
    for _, process in running:
        process.terminate()  # the training loop writes a checkpoint and ends
    for _, process in running:
        process.join()
    for job in failed:
        print(_log(job).read_text(encoding="utf-8")[-2000:], file=sys.stderr)
    return failed


def _in_process(job: Job, asked: argparse.Namespace) -> None:
    """The body of a process, its output in a log."""
    path = _log(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // asked.jobs))
    try:
        _train(job.work, job.stages, asked.accelerator)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", flush=True)


def _train(work: Work, names: tuple[str, ...], accelerator: str) -> None:
    """Data, splits and the stages of these names; a teacher's weights are rounded before anything learns from it."""
    fabric = make_fabric(accelerator, 1, work.recipe.precision if names else "32-true")
    fabric.launch()
    run_recipe(work, fabric, lambda line: print(line, flush=True), only=lambda stage: stage.name in names)
    for stage in plan(work):
        if stage.name in names and stage.kind == "teach":
            round_run(Run(stage.outputs[0]))


def _log(job: Job) -> Path:
    return job.work.folder / "logs" / f"{job.name.replace(' ', '_')}.txt"


def report(works: list[Work], asked: argparse.Namespace) -> None:
    """Write what is finished to OUT, and say how far everything is."""
    asked.out.mkdir(parents=True, exist_ok=True)
    write_json(asked.out / "summary.json", {work.recipe.name: _summary(work) for work in works})
    weights = "none" if asked.ablation else "students" if asked.no_teacher_weights else "all"
    for path in write_runs(works, asked.out, asked.recipe.stem, asked.part_mib, weights):
        print(f"{path}  {path.stat().st_size / MIB:.1f} MiB")
    if asked.ablation:
        try:
            path = write_table(_chosen(load_recipe(asked.recipe), asked), asked.state, asked.out, QUICK_REPLICATES)
            print(path.read_text(encoding="utf-8"))
        except InputError as error:  # the base is not finished
            print(error)


def _summary(work: Work) -> dict[str, Any]:
    """How far each training is, how long an epoch takes, and the AUROC of the images that it never saw."""
    found: dict[str, Any] = {}
    if not work.manifest.exists():
        return found
    truth = pd.read_parquet(work.manifest, columns=["image_id", "melanoma"]).set_index("image_id")["melanoma"]
    for path in sorted(work.folder.glob("**/run.json")):
        run, lines = Run(path.parent), Run(path.parent).read_metrics()
        header = run.load()
        epochs = header.recipe["train"]["epochs"]
        pace = lines[-1]["seconds"] / len(lines) if lines else None
        name = run.folder.relative_to(work.folder).as_posix()
        found[name] = {"epochs": len(lines), "of": epochs, "seconds_an_epoch": pace, "inputs": header.plain()["inputs"]}
        found[name] |= _score(truth, run)
        left = "" if pace is None else f", {pace * (epochs - len(lines)):.0f} s to go"
        auroc = found[name]["auroc"]
        judged = "" if auroc is None else f", AUROC {auroc:.4f} of {found[name]['tested']} images"
        print(f"{work.recipe.name}: {name}: {len(lines)} of {epochs} epochs{left}{judged}", flush=True)
    return found


def _score(truth: pd.Series, run: Run) -> dict[str, Any]:
    """The melanoma AUROC of a finished run's test images; None without any, or of one kind alone.

    Args:
        truth: melanoma 0 or 1 of each image id.
        run: a teacher or student.
    """
    model = read_model(run.folder) if run.is_complete() else None
    tested = [] if model is None else model.ids("test")
    if model is None or not tested:
        return {"tested": 0, "auroc": None}
    logits, found = model.logits(tested), truth.loc[tested].to_numpy()
    score = logits[:, model.classes.index(MELANOMA)] - np.logaddexp.reduce(logits, axis=1)
    return {"tested": len(tested), "auroc": float(roc_auc_score(found, score)) if 0 < found.mean() < 1 else None}


if __name__ == "__main__":
    sys.exit(main())
