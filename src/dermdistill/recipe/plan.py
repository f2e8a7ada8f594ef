"""The one list of a recipe's stages, which every command reads and carries out. No torch, no pandas."""

from functools import partial
from typing import Any

from dermdistill.data.spec import SplitsFile
from dermdistill.distillation.identity import Origin, student_identity, teacher_identity
from dermdistill.distillation.spec import StudentSpec, TeacherSpec
from dermdistill.recipe import actions
from dermdistill.recipe.conclude import bundle_identity, report_identity, report_state
from dermdistill.recipe.parts import part_names
from dermdistill.recipe.soften import bank_identity, bank_state, teacher_hashes
from dermdistill.recipe.stage import Kind, Stage
from dermdistill.recipe.state import marked_state, run_state, split_identity, split_state
from dermdistill.recipe.work import Work
from dermdistill.run import UNKNOWN
from dermdistill.specs import load_header


def plan(work: Work) -> list[Stage]:
    """The stages of a recipe, in the order in which they are carried out.

    Args:
        work: the recipe and its folder; nothing there is changed.
    """
    stages = [_data(work), _split(work)]
    for name in part_names(work.recipe.split):
        stages += _part(work.of(name))
    trained = tuple(stage.name for stage in stages if stage.kind in ("teach", "distill"))
    stages.append(_evaluate(work, trained))
    return [*stages, *(_export(work, name) for name in work.exported)]


def data_identity(work: Work) -> dict[str, Any]:
    """What decides the manifest."""
    spec = work.recipe.data
    given = None
    if spec.manifest is not None:
        from dermdistill.data.manifest import manifest_hash, read_manifest

        given = manifest_hash(read_manifest(spec.manifest))
    return {"data": spec.model_dump(mode="json"), "manifest": given}


def _data(work: Work) -> Stage:
    identity = data_identity(work)
    return Stage(
        "data", "data", "", lambda: identity,
        (work.manifest, work.synthetic, work.folder / "stages" / "data.json", work.folder / "set_aside.csv"), (),
        lambda: marked_state(work.folder, "data", identity, work.manifest, remade=False),
        partial(actions.data, work, identity),
    )  # fmt: skip


def _split(work: Work) -> Stage:
    spec = work.recipe.split
    return Stage(
        "split", "split", "", lambda: split_identity(spec), (work.splits,), ("data",),
        lambda: split_state(work.splits, spec), partial(actions.split, work),
    )  # fmt: skip


def origin(work: Work) -> Origin:
    """The images of a part, as far as they are known."""
    split = work.recipe.split
    if not work.splits.exists() or split_state(work.splits, split).standing != "done":
        return Origin(UNKNOWN, UNKNOWN, work.split)
    header = load_header(work.splits, SplitsFile)
    return Origin(header.manifest_sha256, header.sha256, work.split)


def _part(work: Work) -> list[Stage]:
    """The teachers, the bank and the students of one part."""
    stages = [_teach(work, spec) for spec in work.teachers]
    if any(spec.labels == "bank" for spec in work.students):
        stages.append(_soften(work))
    return [*stages, *(_distill(work, spec) for spec in work.students)]


def _named(kind: Kind, work: Work, model: str = "") -> str:
    return " ".join([kind, *filter(None, (model, f"({work.part})" if work.part else ""))])


def _ensemble(work: Work) -> tuple[str, ...]:
    """The names of the stages that train the teachers of a part's students."""
    return tuple(_named("teach", part, spec.name) for part in work.taught_in for spec in work.recipe.teachers)


def _teach(work: Work, spec: TeacherSpec) -> Stage:
    folder, seed = work.teacher(spec.name), work.seed(spec)

    def identity() -> dict[str, Any]:
        return teacher_identity(spec, origin(work), seed)

    return Stage(
        "teach", _named("teach", work, spec.name), spec.name, identity, (folder,), ("split",),
        lambda: run_state(folder, identity()), partial(actions.teach_one, work, spec), everywhere=True,
    )  # fmt: skip


def _soften(work: Work) -> Stage:
    def identity() -> dict[str, Any]:
        known = origin(work)
        part = {"split": known.split, "splits": known.splits_sha256}
        return {**bank_identity(work, known.manifest_sha256), **part, "teachers": teacher_hashes(work)}

    return Stage(
        "soften", _named("soften", work), "", identity, (work.bank,),
        _ensemble(work), lambda: bank_state(work, origin(work)), partial(actions.soften, work), grows=True,
    )  # fmt: skip


def _distill(work: Work, spec: StudentSpec) -> Stage:
    folder, seed, views = work.student(spec.name), work.seed(spec), work.recipe.soften
    needs = {"bank": (_named("soften", work),), "online": _ensemble(work), "none": ("split",)}[spec.labels]

    def identity() -> dict[str, Any]:
        return student_identity(spec, views, origin(work), seed, teacher_hashes(work))

    return Stage(
        "distill", _named("distill", work, spec.name), spec.name, identity, (folder,), needs,
        lambda: run_state(folder, identity()), partial(actions.distill_one, work, spec), everywhere=True,
    )  # fmt: skip


def _evaluate(work: Work, needs: tuple[str, ...]) -> Stage:
    return Stage(
        "evaluate", "evaluate", "", partial(report_identity, work), (work.report,), needs,
        partial(report_state, work), partial(actions.evaluate, work),
    )  # fmt: skip


def _export(work: Work, name: str) -> Stage:
    kind: Kind = "teach" if name in work.recipe.export.teachers else "distill"
    return Stage(
        "export", _named("export", work.of(""), name), name, partial(bundle_identity, work, name), (work.bundle(name),),
        ("evaluate", _named(kind, work.shipped, name)),
        lambda: marked_state(
            work.folder, f"export-{name}", bundle_identity(work, name), work.bundle(name) / "bundle.json", remade=True
        ),
        partial(actions.export, work, name),
    )  # fmt: skip
