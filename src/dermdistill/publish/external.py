"""External tests in Markdown, for model cards and pages."""

from dermdistill.evaluate.analyses.external import External, scored

NOT_YET = "External tests: not yet scored."
HEADING = "## External tests"


def section(external: External, model_sha256: str) -> str:
    """The external tests of a graph for its model card, as Markdown without a heading."""
    bundle = scored(external, model_sha256)
    if bundle is None:
        return NOT_YET
    rows = [
        f"| {test.name} | {test.images:,} | {test.melanomas} | {test.auroc:.3f} [{test.low:.3f}, {test.high:.3f}] "
        f"| {test.sensitivity:.3f} | {test.specificity:.3f} | {test.ece:.3f} |"
        for test in bundle.tests
    ]
    head = "| test set | images | melanomas | AUROC | sensitivity at the default threshold | specificity there | ECE |"
    return "\n".join([
        f"Graph `{model_sha256[:16]}`, scored on {bundle.scored_on}. {external.note}", "",
        head, "|---|---|---|---|---|---|---|", *rows,
    ])  # fmt: skip
