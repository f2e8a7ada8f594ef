"""Judge models whose predictions lie in files: `dermdistill.evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dermdistill.evaluate.document import Report


def evaluate(
    manifest: str | Path,
    models: Mapping[str, str | Path],
    out: str | Path,
    *,
    baseline: str | None = None,
    replicates: int = 2000,
    seed: int = 0,
    role: str = "test",
    allow_overlap: bool = False,
    cross_fit: bool = False,
) -> "Report":
    """Judge models side by side on the same images, and write report.json, report.html and table.md.

    Args:
        manifest: path of the manifest.
        models: for each name a finished run's folder, or a table of predictions.
        out: the report's folder.
        baseline: the model that the others are compared with, by default the first.
        replicates: bootstrap replicates, at least 100.
        seed: of the bootstrap.
        role: `test` or `validation`, the rows that are judged. A `test` is written into the ledger beside the manifest.
        allow_overlap: flag judged images that a model has learned from, and do not refuse them.
        cross_fit: of models without validation rows, let the images of a test choose temperature and thresholds for
            each other, and do not refuse to.

    Returns:
        The contents of report.json, typed.

    Raises:
        InputError: predictions do not fit the manifest or each other, a model has learned from what it is judged on, or
            a test would have to calibrate it.
    """
    from dermdistill.data.manifest import read_manifest
    from dermdistill.evaluate.ledger import DeclaredTest, ledger_of
    from dermdistill.evaluate.predictions import read_model
    from dermdistill.evaluate.report import Circumstances
    from dermdistill.evaluate.report import evaluate as judge

    predictions = {name: read_model(Path(path)) for name, path in models.items()}
    test = DeclaredTest(ledger_of(Path(manifest)), "dermdistill.evaluate(…)") if role == "test" else None
    return judge(
        read_manifest(manifest), predictions, out, baseline=baseline, replicates=replicates, seed=seed, role=role,
        circumstances=Circumstances(test=test, allow_overlap=allow_overlap, cross_fit=cross_fit),
    )  # fmt: skip
