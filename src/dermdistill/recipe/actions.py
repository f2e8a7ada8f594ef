"""What each stage does. Torch and pandas are imported when a stage is carried out, not before."""

from typing import TYPE_CHECKING, Any

from dermdistill.distillation.spec import StudentSpec, TeacherSpec
from dermdistill.recipe.state import mark
from dermdistill.recipe.work import Work
from dermdistill.run import TrainedHeader

if TYPE_CHECKING:
    from dermdistill.recipe.session import Session
    from dermdistill.run import Run

CHANCE = 0.55
"""A teacher of this validation melanoma AUROC or less knows hardly more than a coin."""


def data(work: Work, identity: dict[str, Any], session: "Session") -> str:
    from dermdistill.recipe.prepare import make_data

    line = make_data(session)
    mark(work.folder, "data", identity, work.manifest)
    return line


def split(work: Work, session: "Session") -> str:
    from dermdistill.recipe.prepare import make_split

    return make_split(session)


def teach_one(work: Work, spec: TeacherSpec, session: "Session") -> str:
    from dermdistill.distillation.foreign import import_logits
    from dermdistill.distillation.teach import teach

    cohort = session.cohort(work)
    cohort.require_melanomas()
    folder, seed = work.teacher(spec.name), work.seed(spec)
    if spec.logits is not None:
        run = import_logits(spec, cohort, folder, work.recipe.soften, seed=seed, tell=session.tell)
    else:
        run = teach(spec, cohort, folder, seed=seed)
    auroc = run.finished().best_auroc
    if auroc is not None and auroc <= CHANCE:
        session.tell(
            f"warning: the validation melanoma AUROC of the teacher '{spec.name}' is {auroc:.2f}, hardly better than "
            "chance (0.5); students learn nothing of use from it: train it longer, or look at the data"
        )
    return _where(work) + trained(run)


def soften(work: Work, session: "Session") -> str:
    from dermdistill.recipe.soften import fill_bank

    return _where(work) + fill_bank(work, session)


def distill_one(work: Work, spec: StudentSpec, session: "Session") -> str:
    from dermdistill.distillation.distill import Lessons, distill
    from dermdistill.recipe.soften import open_bank

    cohort = session.cohort(work)
    cohort.require_melanomas()
    bank = open_bank(work, cohort.manifest_sha256) if spec.labels == "bank" else None
    lessons = Lessons(work.recipe.soften, bank, work.ensemble if spec.labels == "online" else ())
    return _where(work) + trained(distill(spec, cohort, work.student(spec.name), lessons, seed=work.seed(spec)))


def evaluate(work: Work, session: "Session") -> str:
    from dermdistill.recipe.conclude import make_report, report_identity

    line = make_report(work, session)
    mark(work.folder, "evaluate", report_identity(work))
    return line


def export(work: Work, name: str, session: "Session") -> str:
    from dermdistill.recipe.conclude import bundle_identity, make_bundle

    line = make_bundle(work, name, session)
    mark(work.folder, f"export-{name}", bundle_identity(work, name))
    return line


def trained(run: "Run") -> str:
    """What came out of a training, in a line."""
    header = run.finished()
    if not isinstance(header, TrainedHeader):
        told = "" if header.best_auroc is None else f", validation AUROC {header.best_auroc:.3f}"
        return f"{header.stage} {header.name}: a table of logits of {len(header.classes)} classes{told}"
    best, epoch = header.best_auroc, header.best_epoch + 1
    kept = f"epoch {epoch} kept" if best is None else f"validation AUROC {best:.3f} (epoch {epoch})"
    return f"{header.stage} {header.name}: {header.parameters:,} parameters, {kept}, {header.training_seconds:.0f} s"


def _where(work: Work) -> str:
    return f"{work.part} " if work.part else ""
