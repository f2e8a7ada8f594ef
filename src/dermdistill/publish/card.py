"""Sections of a model card that are written once its bundle exists: external tests, and unknown cameras."""

from pathlib import Path

from dermdistill.data.sources import source_name
from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.external import read_external
from dermdistill.evaluate.document import load_report
from dermdistill.evaluate.render.text import interval
from dermdistill.export.card import put_section
from dermdistill.files import sha256_file
from dermdistill.publish.external import HEADING, section

UNKNOWN_CAMERAS = "## Unknown cameras"


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
    of, sources = found.data, ", ".join(map(source_name, found.data.sources))
    return (
        f"A network of the same recipe that learned from no image of {sources} has an AUROC of "
        f"{interval(areas['unknown'])} there, on {of.n:,} images with {of.positives} melanomas that neither saw; the "
        f"one that knows these cameras has {interval(areas['known'])}: a difference of {interval(gap, signed=True)}. "
        f"Within collections it is {interval(inside['unknown'])} against {interval(inside['known'])}. Expect a loss of "
        "this kind on a camera that is not among the sources above."
    )
