"""The last stages: the report and the bundles. What they rest on is known without torch or pandas."""

from typing import TYPE_CHECKING, Any

from dermdistill.recipe.stage import State
from dermdistill.recipe.state import file_hash, marked_state
from dermdistill.recipe.work import Work
from dermdistill.run import Run

if TYPE_CHECKING:
    from dermdistill.evaluate.predictions import ModelPredictions
    from dermdistill.recipe.session import Session


def names(work: Work) -> list[str]:
    """The teachers and the students of a recipe."""
    return [spec.name for spec in work.recipe.teachers] + [spec.name for spec in work.recipe.students]


def report_identity(work: Work) -> dict[str, Any]:
    """What decides the report."""
    predictions = {name: [file_hash(Run(part.run(name)).predictions) for part in work.tested] for name in names(work)}
    return {
        "predictions": predictions,
        "evaluate": work.recipe.evaluate.model_dump(mode="json"),
        "manifest": file_hash(work.manifest),
    }


def report_state(work: Work) -> State:
    """How the report stands."""
    return marked_state(work.folder, "evaluate", report_identity(work), work.report / "report.json", remade=True)


def bundle_identity(work: Work, name: str) -> dict[str, Any]:
    """What decides a bundle; of a report that is yet to be made, or made anew, None."""
    report = work.report / "report.json"
    calibration = work.recipe.export.calibration
    return {
        **({} if calibration == "temperature" else {"calibration": calibration}),  # bundles of before stay done
        "model": file_hash(Run(work.shipped.run(name)).model),
        "predictions": [file_hash(Run(part.run(name)).predictions) for part in work.tested],
        "report": file_hash(report) if report_state(work).standing == "done" else None,
    }


def make_report(work: Work, session: "Session") -> str:
    """Judge every model on the same images."""
    from dermdistill.evaluate.ledger import DeclaredTest, ledger_of
    from dermdistill.evaluate.report import Circumstances, evaluate

    spec = work.recipe.evaluate
    evaluate(
        session.manifest, _predictions(work), work.report, baseline=work.recipe.baseline,
        replicates=spec.replicates, seed=spec.seed,
        settings=spec.model_dump(exclude={"baseline", "replicates", "seed"}),
        circumstances=Circumstances(
            test=DeclaredTest(ledger_of(work.manifest), f"dermdistill run {work.recipe.name}"), allow_overlap=True,
            cross_fit=work.recipe.split.scheme != "hold-out",
        ),
    )  # fmt: skip
    return f"evaluate: {work.report / 'report.html'}"


def make_bundle(work: Work, name: str, session: "Session") -> str:
    """Export one network."""
    from dermdistill.export.bundle import export_bundle

    crossed = work.recipe.split.scheme != "hold-out"
    export_bundle(
        work.shipped.run(name), work.bundle(name), session.manifest, name=name,
        report=work.report / "report.json", force=True, out_of_fold=_predictions(work)[name] if crossed else None,
        calibration=work.recipe.export.calibration,
    )  # fmt: skip
    return f"export: {work.bundle(name)}"


def _predictions(work: Work) -> "dict[str, ModelPredictions]":
    """Each model's predictions and the teachers' average; of several parts each image's by what never saw it."""
    from dermdistill.evaluate.predictions import pool, read_model, with_ensemble
    from dermdistill.files import atomic_path

    teachers = [spec.name for spec in work.recipe.teachers]
    if work.recipe.split.scheme == "hold-out":
        return with_ensemble({name: read_model(work.run(name)) for name in names(work)}, teachers)
    pooled = {name: pool({part.part: read_model(part.run(name)) for part in work.tested}) for name in names(work)}
    pooled = with_ensemble(pooled, teachers)
    for name, model in pooled.items():
        path = work.report / "out-of-fold" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            model.table.to_parquet(temporary, index=False)
    return pooled
