"""External tests: official test sets that the maintainers score once a bundle ships.

results/external/external.json holds the figures, each with the SHA-256 of the ONNX graph that they belong to. They are
shown for that graph alone. They never choose between models.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dermdistill.errors import InputError
from dermdistill.evaluate.document import load_report
from dermdistill.evaluate.render.text import interval
from dermdistill.files import read_json, sha256_file, write_json, write_text
from dermdistill.specs import parse

NOT_YET = "External tests: not yet scored."
HEADING = "## External tests"
UNKNOWN_CAMERAS = "## Unknown cameras"


class _Open(BaseModel):
    """Frozen; keys that a later file adds are ignored."""

    model_config = ConfigDict(frozen=True)


class ExternalTest(_Open):
    """The figures on one test set. Rates and areas are 0 to 1; `low` and `high` bound the AUROC's 95 % interval."""

    name: str
    images: int
    melanomas: int
    auroc: float
    low: float
    high: float
    ece: float
    sensitivity: float
    """At the bundle's default threshold, as `specificity`."""
    specificity: float
    sensitivity_at_90_specificity: float
    specificity_at_95_sensitivity: float
    times_opened: int


class ScoredBundle(_Open):
    """A bundle by the hash of its graph, and its tests."""

    name: str
    model_onnx_sha256: str
    scored_on: str
    tests: tuple[ExternalTest, ...]


class External(_Open):
    """The whole file."""

    format: Literal["external-tests/1"]
    note: str
    bundles: tuple[ScoredBundle, ...]


def read_external(path: Path) -> External:
    """Read the file of external tests.

    Raises:
        InputError: there is none, or it does not fit.
    """
    return parse(External, read_json(path), str(path))


def scored(external: External, model_sha256: str) -> ScoredBundle | None:
    """The tests of the graph with this SHA-256; None if it is not yet scored."""
    return next((bundle for bundle in external.bundles if bundle.model_onnx_sha256 == model_sha256), None)


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


def amend_card(bundle: Path, path: Path) -> None:
    """Put the external tests into the model card of a bundle, in place of those there, and renew the card's hash.

    Args:
        bundle: the bundle's folder.
        path: the file of external tests.
    """
    put_section(bundle, HEADING, section(read_external(path), sha256_file(bundle / "model.onnx")))


def unknown_cameras(path: Path) -> str:
    """What a camera costs that a network has never seen, for a model card, as Markdown without a heading.

    Args:
        path: a report.json in which `known` is the card's recipe, and `unknown` the same without any image of the
            cameras that both are judged on; the baseline is `known`.

    Raises:
        InputError: the report compares something else.
    """
    found = load_report(path)
    gap = found.differences.get("unknown", {}).get("auroc")
    if found.baseline != "known" or gap is None or found.within is None:
        raise InputError(f"{path} must compare `unknown` with the baseline `known`, within collections too")
    areas = {name: found.models[name].metrics["auroc"] for name in ("known", "unknown")}
    inside = {name: found.within.models[name].auroc for name in areas}
    of, sources = found.data, ", ".join(found.data.sources)
    return (
        f"A network of the same recipe that learned from no image of {sources} has an AUROC of "
        f"{interval(areas['unknown'])} there, on {of.n:,} images with {of.positives} melanomas that neither saw; the "
        f"one that knows these cameras has {interval(areas['known'])}: a difference of {interval(gap, signed=True)}. "
        f"Within collections it is {interval(inside['unknown'])} against {interval(inside['known'])}. Expect a loss of "
        "this kind on a camera that is not among the sources above."
    )


def put_section(bundle: Path, heading: str, text: str) -> None:
    """Put a section into the model card of a bundle, in place of one with its heading, and renew the card's hash."""
    header = read_json(bundle / "bundle.json")
    card = bundle / "MODEL_CARD.md"
    before, _, rest = card.read_text(encoding="utf-8").partition(f"{heading}\n")
    if rest:
        _, mark, after = rest.partition("\n## ")
        after = mark.lstrip() + after
    else:
        before, mark, after = before.partition("## Limits\n")
        after = mark + after
    write_text(card, f"{before}{heading}\n\n{text}\n\n{after}")
    header["files"]["MODEL_CARD.md"] = sha256_file(card)
    write_json(bundle / "bundle.json", header)
