"""The soft-label bank of a part: how it stands, how it is filled, and how it is opened. Banks are used here alone."""

from typing import TYPE_CHECKING, Any

from dermdistill.distillation.identity import Origin
from dermdistill.errors import InputError
from dermdistill.recipe.parts import part_names
from dermdistill.recipe.stage import DONE, TO_DO, State
from dermdistill.recipe.state import Marker, mark, marker_path
from dermdistill.recipe.work import Work
from dermdistill.run import TABLE, UNKNOWN, Run, TrainedHeader, changes
from dermdistill.specs import load_header

if TYPE_CHECKING:
    from dermdistill.distillation.bank import Bank
    from dermdistill.distillation.bank_format import BankIdentity
    from dermdistill.recipe.session import Session
    from dermdistill.training.cohort import Cohort

_ASKED = ("manifest_sha256", "classes", "seed", "spec", "turns", "split", "splits")
"""What a recipe decides of a bank; the rest is how this version decodes and renders."""


def bank_identity(work: Work, manifest_sha256: Any) -> dict[str, Any]:
    """What decides the views and the meaning of the logits in the bank of a part.

    Args:
        work: the part.
        manifest_sha256: of the manifest, `UNKNOWN` before there is one.
    """
    from dermdistill.images.preprocess import PREPROCESS_VERSION
    from dermdistill.images.view_spec import RENDER_VERSION

    spec = work.recipe.soften
    return {
        "manifest_sha256": manifest_sha256,
        "classes": list(work.recipe.teachers[0].class_names),
        "seed": spec.seed,
        "spec": spec.spec.model_dump(mode="json"),
        "preprocess": PREPROCESS_VERSION,
        "render": RENDER_VERSION,
        **({"turns": spec.turns} if spec.turns > 1 else {}),
    }


def bank_state(work: Work, origin: Origin) -> State:
    """How the bank of a part stands; where no student still needs one, it need not be there."""
    if not (work.bank / "bank.json").exists():
        return TO_DO if work.needs_bank else DONE
    from dermdistill.distillation.bank import Bank
    from dermdistill.distillation.bank_files import read_stored
    from dermdistill.distillation.bank_v1 import is_first, read_first

    stored = read_first(work.bank) if is_first(work.bank) else read_stored(work.bank)
    found = tuple(changes(stored.identity.model_dump(mode="json"), bank_identity(work, origin.manifest_sha256)))
    found += tuple(changes(_filled_for(work), {"split": origin.split, "splits": origin.splits_sha256}))
    if not work.needs_bank:
        found = tuple(change for change in found if change.key.split(".")[0] in _ASKED)
    if found:
        return State("differs", found)
    hashes = teacher_hashes(work)
    if not work.needs_bank and (UNKNOWN in hashes or is_first(work.bank)):
        return DONE
    if UNKNOWN in hashes:
        return TO_DO
    return TO_DO if Bank.missing(work.bank, stored.identity, hashes, work.recipe.soften.views) else DONE


def _marker(work: Work) -> str:
    return f"soften-{work.part}" if work.part else "soften"


def _filled_for(work: Work) -> dict[str, Any]:
    """Which part of which splits the images of the bank are; `UNKNOWN` for a bank that came from elsewhere."""
    path = marker_path(work.folder, _marker(work))
    known = load_header(path, Marker).content if path.exists() else None
    return known or {"split": UNKNOWN, "splits": UNKNOWN}


def teacher_hashes(work: Work) -> list[Any]:
    """The SHA-256 of the weights of the teachers that a part's students learn from; `UNKNOWN` of an unfinished one."""
    runs = [Run(folder) for folder in work.ensemble]
    return [run.finished().model_sha256 if run.is_complete() else UNKNOWN for run in runs]


def fill_bank(work: Work, session: "Session") -> str:
    """Write every teacher's logits for every view of the training images, those that are not there yet.

    Only teachers of whom the bank lacks something are loaded. What a bank of another part holds of them is copied, and
    so are the shares that other calls have computed. A call for a share writes that alone.
    """
    from dermdistill.distillation.bank import Bank
    from dermdistill.distillation.foreign import write_table
    from dermdistill.distillation.share import shares_of
    from dermdistill.distillation.soften import write_teacher
    from dermdistill.distillation.teach import load_teacher

    share = session.share
    folder = work.bank if share is None else share.folder(work.bank)
    cohort, spec = session.cohort(work), work.recipe.soften
    identity, runs = _identity(work, cohort.manifest_sha256), [Run(folder) for folder in work.ensemble]
    missing = Bank.missing(folder, identity, teacher_hashes(work), spec.views)
    part = {"split": cohort.split, "splits": cohort.splits.sha256}
    others = [work.of(name).bank for name in part_names(work.recipe.split) if name != work.part]
    others += shares_of(work.bank) if share is None else [work.bank]
    if share is None:
        mark(work.folder, _marker(work), part)
    tables = [run for run in runs if run.finished().model == TABLE]
    for run in runs:
        if run not in tables and run.finished().model_sha256 in missing:
            teacher, header = load_teacher(run.folder)
            teacher.arithmetic = session.fabric.autocast  # the precision that the recipe trains in
            images = cohort.images(header.image_size, header.classes)["train"]
            if share is not None:
                images = share.of(images, spec.batch_size)
            write_teacher(
                folder, identity, teacher, _facts(header, cohort), images, spec.views,
                device=session.fabric.device, batch_size=spec.batch_size, others=others,
            )  # fmt: skip
    if share is not None:
        return (
            f"soften: part {share.number} of {share.count} in {folder}; `dermdistill soften` without --part joins them"
        )
    for run in tables:  # after the networks, which know which images can be read
        if run.finished().model_sha256 in missing:
            write_table(work.bank, identity, run, cohort, spec)
    bank = open_bank(work, cohort.manifest_sha256)
    return f"soften: {bank.views} views of {len(bank.images)} images in {bank.folder}"


def _facts(header: TrainedHeader, cohort: "Cohort") -> dict[str, Any]:
    """A teacher's run header, one from before licences were recorded with those of the manifest if that is its own."""
    from dermdistill.data.licensing import known_licences

    if header.data_licences is None and header.inputs.manifest == cohort.manifest_sha256:
        return {**header.plain(), "data_licences": known_licences(cohort.manifest)}
    return header.plain()


def open_bank(work: Work, manifest_sha256: str) -> "Bank":
    """The finished bank, with the recipe's teachers and views.

    Raises:
        InputError: another bank, or one that lacks a teacher or views.
    """
    from dermdistill.distillation.bank import Bank

    return Bank.open(
        work.bank, teachers=teacher_hashes(work), views=work.recipe.soften.views,
        identity=_identity(work, manifest_sha256),
    )  # fmt: skip


def _identity(work: Work, manifest_sha256: str) -> "BankIdentity":
    from dermdistill.distillation.bank_format import BankIdentity

    headers = [Run(folder).finished() for folder in work.ensemble]
    if not headers:
        raise InputError("a bank needs at least one teacher")
    synthetic = any("synthetic" in header.data_sources for header in headers)
    return BankIdentity.model_validate({**bank_identity(work, manifest_sha256), "synthetic": synthetic})
