"""Carry out a recipe's stages: what is done is skipped, what was interrupted goes on, what differs is refused.

work folder/
  recipe.toml  manifest.parquet  splits.json  set_aside.csv  log.txt
  teachers/NAME/    bank/        students/NAME/
  report/           bundles/NAME/

With split.scheme = "cross" or "sources" the teachers, the bank and the students lie in a folder for each part, such as
fold-0/, and report/out-of-fold/NAME.parquet holds what each model predicted of the images that it never saw.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dermdistill.errors import InputError, no_such
from dermdistill.recipe.checks import refuse_problems
from dermdistill.recipe.plan import plan
from dermdistill.recipe.stage import TO_DO, Kind, Stage, State, refuse, set_aside
from dermdistill.recipe.work import Work

if TYPE_CHECKING:
    import lightning_fabric as lightning

    from dermdistill.distillation.share import Share


def intended(work: Work, redo: Sequence[str] = ()) -> list[tuple[Stage, State]]:
    """What `run_recipe` would do now, without doing it.

    Args:
        work: the recipe and its folder.
        redo: the names of stages to do again, and with each what depends on it.

    Returns:
        Every stage in order, and how it stands once the results of `redo` are set aside.

    Raises:
        InputError: no stage has such a name.
    """
    stages = plan(work)
    again = dependents(stages, redo)
    return [(stage, TO_DO if stage.name in again else stage.look()) for stage in stages]


def run_recipe(
    work: Work,
    fabric: "lightning.Fabric",
    tell: Callable[[str], None] = print,
    *,
    redo: Sequence[str] = (),
    only: Callable[[Stage], bool] = lambda _: True,
    started: Callable[[], None] = lambda: None,
    share: "Share | None" = None,
) -> None:
    """Carry out every stage that is not done.

    Args:
        work: the recipe and its folder.
        fabric: launched already.
        tell: called with a line about each stage that was carried out.
        redo: the names of stages whose results are moved aside and made again, with all that depends on them.
        only: which stages are wanted; those of data and splits are carried out with any other.
        share: of each bank, what is computed; by default all.
        started: called once nothing stands in the way, before anything is made.

    Raises:
        InputError: the folder holds what the recipe does not ask for, data or weights are missing, no stage has a name
            that `redo` gives, or a stage that is wanted needs one that is neither done nor wanted.
    """
    standing = [(stage, state) for stage, state in intended(work, redo) if _is_wanted(stage, only)]
    refuse(standing)
    refuse_problems(work, standing)
    fabric.barrier()  # all have looked before anything is moved
    if fabric.is_global_zero:
        started()
        _set_aside(work, redo, tell)
    fabric.barrier()
    _carry_out(work, fabric, tell, only, share)


def _is_wanted(stage: Stage, only: Callable[[Stage], bool]) -> bool:
    return stage.kind in ("data", "split") or only(stage)


def _carry_out(
    work: Work, fabric: "lightning.Fabric", tell: Callable[[str], None], only: Callable[[Stage], bool],
    share: "Share | None",
) -> None:  # fmt: skip
    from dermdistill.recipe.session import Session

    session, stages = Session(work, fabric, tell, share), plan(work)
    for stage in stages:
        if not _is_wanted(stage, only):
            continue
        state = fabric.broadcast(stage.look())
        refuse([(stage, state)])
        if state.standing == "done":
            tell(f"{stage.name}: done before")
            continue
        _require(stage, stages)
        if stage.everywhere or fabric.is_global_zero:
            tell(stage.run(session))
        fabric.barrier()


def _require(stage: Stage, stages: list[Stage]) -> None:
    """Refuse a stage whose needed stages are not done, and name them."""
    missing = [other for other in stages if other.name in stage.needs and other.look().standing != "done"]
    if missing:
        names = ", ".join(f"'{other.name}'" for other in missing)
        raise InputError(
            f"'{stage.name}' needs {names} first: `dermdistill run` carries out all, "
            f"`dermdistill {missing[0].kind} RECIPE` this one"
        )


def dependents(stages: list[Stage], names: Sequence[str]) -> set[str]:
    """The named stages and all that depends on them.

    Raises:
        InputError: no stage has such a name.
    """
    known = [stage.name for stage in stages]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise no_such("stage", unknown[0], known)
    found = set(names)
    for stage in stages:  # in order: a stage needs none that comes later
        if found & set(stage.needs):
            found.add(stage.name)
    return found


def _set_aside(work: Work, redo: Sequence[str], tell: Callable[[str], None]) -> None:
    stages = plan(work)
    again = dependents(stages, redo)
    other_images = bool(again & {"data", "split"})
    kept = {
        stage.name
        for stage in stages
        if stage.grows and stage.name not in redo and not other_images and stage.look().standing != "differs"
    }
    for stage in stages:
        if stage.name in again - kept:
            for path in stage.outputs:
                moved = set_aside(path)
                if moved is not None:
                    tell(f"{stage.name}: {path} is now {moved.name}")


def of_kind(kind: Kind, name: str | None = None) -> Callable[[Stage], bool]:
    """The stages of one kind, or that of one model.

    Args:
        kind: such as 'teach'.
        name: of the teacher or student; by default all.
    """
    return lambda stage: stage.kind == kind and name in (None, stage.model)
