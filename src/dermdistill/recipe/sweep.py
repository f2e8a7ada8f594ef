"""Try values of a student's keys, and keep those with the best validation AUROC. Test images are never read.

A sweep lies in one folder, and its trials in a storage of Optuna that several processes may share:

    journal.log     the storage, unless another is named
    trials/HASH/    the run folder of each trial, named by its values
    trials.csv      a line a trial: state, validation AUROC, epoch, values, folder
    sweep.json      what was tried, and the best of it
    *.png           Optuna's plots

A trial ends early when its validation AUROC in an epoch is below the median of the others in that epoch. One that was
stopped goes on from its checkpoint when the same command runs again, on the same machine.
"""

import csv
import io
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from dermdistill.classes import DISCLAIMER
from dermdistill.distillation.distill import Lessons, distill
from dermdistill.distillation.spec import StudentSpec
from dermdistill.errors import DermdistillError, InputError, no_such
from dermdistill.files import sha256_json, write_json, write_text
from dermdistill.recipe.plan import plan
from dermdistill.recipe.run import run_recipe
from dermdistill.recipe.session import Session
from dermdistill.recipe.soften import open_bank
from dermdistill.recipe.space import Axis, check_axes, with_values
from dermdistill.recipe.work import Work
from dermdistill.run import Run
from dermdistill.training.cohort import Cohort

NEEDS = {"bank": ("teach", "soften"), "online": ("teach",), "none": ()}
"""Kinds of stages that must be done, by where soft labels come from."""
STARTUP = 4
"""Trials that end before others are compared with their median."""
_DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Sweep:
    """What is tried, on which images."""

    work: Work
    """The part of the recipe."""
    student: StudentSpec
    axes: Sequence[Axis]
    folder: Path
    cohort: Cohort
    """Without test images."""
    lessons: Lessons
    tell: Callable[[str], None]

    @property
    def identity(self) -> str:
        """The hash of what makes its trials comparable."""
        return sha256_json([
            self.student.model_dump(mode="json"), [str(axis) for axis in self.axes], self.cohort.manifest_sha256,
            self.cohort.splits.sha256, self.work.recipe.soften.model_dump(mode="json"),
        ])  # fmt: skip


class Reporter:
    """A logger of Fabric that tells Optuna each epoch's validation AUROC, and ends a trial that is below the median."""

    trial: Trial | None = None

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Called by the training loop at the end of an epoch."""
        found = [value for key, value in metrics.items() if key.split("/")[0] == "auroc"]
        if self.trial is not None and found and step is not None:
            self.trial.report(found[0], step)
            if self.trial.should_prune():
                raise optuna.TrialPruned


def prepare(
    work: Work, fabric: Any, axes: Sequence[Axis], folder: Path, student: str | None, tell: Callable[[str], None]
) -> Sweep:
    """Check what is asked for, and find the images and soft labels of the recipe's work folder.

    Args:
        work: the recipe and its folder, in which the stages that the student needs are done.
        fabric: launched already, with a `Reporter` among its loggers.
        axes: what is tried.
        folder: of the sweep.
        student: the student's name; by default the first.
        tell: says a line.

    Raises:
        InputError: no such student, values that do not fit, stages that are not done, or no validation images.
    """
    names = [spec.name for spec in work.recipe.students]
    if student is not None and student not in names:
        raise no_such("student of this recipe", student, names)
    spec = work.recipe.students[names.index(student) if student else 0]
    check_axes(spec, axes)
    run_recipe(work, fabric, tell, only=lambda stage: False)  # data and splits
    todo = [stage.name for stage in plan(work) if stage.kind in NEEDS[spec.labels] and stage.look().standing != "done"]
    if todo:
        raise InputError(f"a sweep starts from finished teachers and soft labels; to do: {', '.join(todo)}. "
                         "Run `dermdistill teach RECIPE` and `dermdistill soften RECIPE` first")  # fmt: skip
    session = Session(work, fabric, tell)
    part = session.parts[0]
    cohort = session.cohort(part)
    if not cohort.roles.get("validation"):
        raise InputError(
            f"a sweep chooses by validation images, and split.scheme = '{work.recipe.split.scheme}' has none; "
            "use split.scheme = 'hold-out' with split.validation"
        )
    cohort = replace(cohort, roles={**cohort.roles, "test": []})
    cohort.require_melanomas()
    bank = open_bank(part, cohort.manifest_sha256) if spec.labels == "bank" else None
    lessons = Lessons(work.recipe.soften, bank, part.ensemble if spec.labels == "online" else ())
    return Sweep(part, spec, axes, folder, cohort, lessons, tell)


def open_study(sweep: Sweep, storage: str | None, name: str | None) -> optuna.Study:
    """Make the sweep's study in a storage, or open the one that is there.

    Args:
        sweep: what is tried.
        storage: a URL of a database such as 'sqlite:///sweep.db', or the path of a journal; by default the folder's.
        name: of the study; by default the recipe's and the student's.

    Raises:
        InputError: the study that is there tries something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = name or f"{sweep.work.recipe.name}-{sweep.student.name}"
    place = _storage(storage or str(sweep.folder / "journal.log"))
    study = optuna.create_study(
        storage=place, study_name=name, direction="maximize", load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
    )  # fmt: skip
    before = study.user_attrs.get("identity", sweep.identity)
    if before != sweep.identity:
        raise InputError(f"the study '{name}' of this storage has other keys, ranges, images or soft labels; choose "
                         "another --study, --storage or --out")  # fmt: skip
    study.set_user_attr("identity", sweep.identity)
    study.set_user_attr("disclaimer", DISCLAIMER)
    # a seed of its own for each call: the same one would draw the same values again
    study.sampler = optuna.samplers.TPESampler(
        seed=sweep.work.recipe.seed + len(study.trials), n_startup_trials=STARTUP
    )
    _retry_stopped(study)
    return study


def _storage(place: str) -> Any:
    if "://" in place:
        return place
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    Path(place).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(place))


def _retry_stopped(study: optuna.Study) -> None:
    """Ask again for the values of trials whose process on this machine is gone; their run folders go on."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        machine, process = trial.user_attrs.get("process", ["", 0])
        if machine == platform.node() and not _is_alive(process):
            study.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def carry_out(sweep: Sweep, study: optuna.Study, trials: int, reporter: Reporter) -> None:
    """Train until the study has so many trials that ended, well or early, or for values that cannot be trained.

    Args:
        sweep: what is tried.
        study: of the sweep; other processes may work on it too.
        trials: in all.
        reporter: the logger of the sweep's Fabric.

    Raises:
        KeyboardInterrupt: stopped by the user; the values are tried again by the next call.
    """
    while len(_ended(study)) < trials:
        trial = study.ask()
        trial.set_user_attr("process", [platform.node(), os.getpid()])
        values = {axis.key: axis.suggest(trial) for axis in sweep.axes}
        told = ", ".join(f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {value}"
                         for key, value in values.items())  # fmt: skip
        try:
            auroc = _train(sweep, trial, values, reporter)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            sweep.tell(f"trial {trial.number}: {told}: ended early")
        except DermdistillError as error:
            trial.set_user_attr("error", str(error))
            study.tell(trial, state=TrialState.FAIL)
            sweep.tell(f"trial {trial.number}: {told}: {error}")
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            study.enqueue_trial(values)
            raise
        else:
            study.tell(trial, auroc)
            sweep.tell(f"trial {trial.number}: {told}: validation AUROC {auroc:.4f}")


def _train(sweep: Sweep, trial: Trial, values: dict[str, Any], reporter: Reporter) -> float:
    spec = with_values(sweep.student, values)
    same = [one for one in trial.study.get_trials(deepcopy=False) if one.params == trial.params]
    busy = any(one.state == TrialState.RUNNING and one.number != trial.number for one in same)  # in another process
    run = Run(sweep.folder / "trials" / (sha256_json(values)[:12] + (f"-{trial.number}" if busy else "")))
    trial.set_user_attr("folder", run.folder.name)
    for line in run.read_metrics():  # of a trial that was stopped
        trial.report(line["auroc"], line["epoch"])
    reporter.trial = trial
    try:
        done = distill(spec, sweep.cohort, run.folder, sweep.lessons, seed=sweep.work.seed(spec)).finished()
    finally:
        reporter.trial = None
    if done.best_auroc is None:
        raise InputError("the validation images give no AUROC")
    return done.best_auroc


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that ended, those too whose values cannot be trained."""
    return [one for one in study.get_trials(deepcopy=False) if one.state in _DONE or "error" in one.user_attrs]


def write_results(sweep: Sweep, study: optuna.Study) -> dict[str, Any]:
    """Write the table, the plots and `sweep.json`.

    Returns:
        What `sweep.json` holds.
    """
    ended, keys = _ended(study), [axis.key for axis in sweep.axes]
    lines = io.StringIO(newline="")
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["trial", "state", "validation_auroc", "epochs", *keys, "folder", "message"])
    for one in ended:
        table.writerow([
            one.number, one.state.name.lower(), "" if one.value is None else f"{one.value:.6f}",
            len(one.intermediate_values), *(one.params.get(key, "") for key in keys),
            one.user_attrs.get("folder", ""), one.user_attrs.get("error", ""),
        ])  # fmt: skip
    write_text(sweep.folder / "trials.csv", lines.getvalue())
    whole = [one for one in ended if one.state == TrialState.COMPLETE]
    best = max(whole, key=lambda one: one.value or 0.0, default=None)
    found = {
        "disclaimer": DISCLAIMER,
        "study": study.study_name,
        "student": sweep.student.name,
        "chosen_by": "validation melanoma AUROC; the best of many is above what other images will show",
        "tried": [str(axis) for axis in sweep.axes],
        "trials": {state.name.lower(): sum(one.state == state for one in ended) for state in TrialState},
        "best": None if best is None else {"trial": best.number, "validation_auroc": best.value, "set": best.params},
        "manifest_sha256": sweep.cohort.manifest_sha256,
        "splits_sha256": sweep.cohort.splits.sha256,
    }
    write_json(sweep.folder / "sweep.json", found)
    if whole:
        _draw(sweep, study, enough=len(whole) >= STARTUP)
    return found


def _draw(sweep: Sweep, study: optuna.Study, enough: bool) -> None:
    """Optuna's plots; how much each key matters can be told from several trials alone."""
    import warnings

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as plots

    drawn: dict[str, Callable[..., Any]] = {
        "history": plots.plot_optimization_history,
        "epochs": plots.plot_intermediate_values,
        "slices": plots.plot_slice,
        **({"importance": plots.plot_param_importances} if enough and len(sweep.axes) > 1 else {}),
    }
    for name, draw in drawn.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the plots are marked as experimental
            draw(study)
        figure = pyplot.gcf()
        figure.savefig(sweep.folder / f"{name}.png", dpi=150, bbox_inches="tight")
        pyplot.close(figure)
