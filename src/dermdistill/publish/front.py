"""The README's table of results and its chart, and the page of external tests.

    python -m dermdistill.publish.front

Reads the report of the default bundle's recipe, results/comparison/report.json and results/external/external.json, and
writes the table in README.md, docs/images/results.svg and the tables in docs/results/external.md. The README shows the
external tests only if they belong to the default bundle's graph.
"""

import argparse
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dermdistill.errors import DermdistillError, InputError
from dermdistill.evaluate.analyses.external import External, read_external, scored
from dermdistill.evaluate.analyses.headline import Model
from dermdistill.evaluate.document import Report, load_report
from dermdistill.evaluate.intervals import Figure
from dermdistill.files import sha256_file, write_text
from dermdistill.predict.header import read_header
from dermdistill.publish.external import NOT_YET, section
from dermdistill.publish.models import Area, out_of_fold
from dermdistill.publish.repository import add_root, find_root, replace_between

HEAD = "| tested on | images (melanomas) | AUROC | sensitivity | specificity |"
CHART = Path("docs") / "images" / "results.svg"
EXTERNAL = Path("results") / "external" / "external.json"
EXTERNAL_PAGE = Path("docs") / "results" / "external.md"
_COLOURS = {"student": "#0b5cad", "teacher": "#b45309", "other": "#64748b"}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        auroc: value, and both ends of its 95 % interval.
        rates: sensitivity and specificity at the default threshold; None where it has no meaning.
    """

    label: str
    images: int
    melanomas: int
    auroc: tuple[float, float, float]
    rates: tuple[float, float] | None = None


def shipped_bundle(root: Path) -> Path:
    """The folder of the bundle that is used where none is named."""
    weights = root / "src" / "dermdistill" / "weights"
    return weights / (weights / "DEFAULT").read_text(encoding="utf-8").strip()


def rows(root: Path) -> list[Row]:
    """The shipped student out of fold, within collections, and on the external tests of its graph."""
    bundle = shipped_bundle(root)
    header = read_header(bundle)
    figures = out_of_fold(bundle)
    if figures is None:
        raise InputError(f"{bundle} has no figures of its graph; ship it again with dermdistill.publish.results")
    path = root / "results" / figures.recipe / "report.json"
    report = load_report(path)
    if report.within is None:
        raise InputError(f"{path} has one collection of images, the table needs several")
    data, within = report.data, report.within
    own = report.models[header.name]
    at_default = own.realised[header.default_threshold]
    made = [
        Row(
            "public images, out of fold", data.n, data.positives, _figure(own.metrics["auroc"]),
            (_value(at_default["sensitivity"]), _value(at_default["specificity"])),
        ),
        Row(
            f"the same, within {within.collections} collections", data.n, data.positives,
            _figure(within.models[header.name].auroc),
        ),
    ]  # fmt: skip
    external = read_external(root / EXTERNAL)
    if known := scored(external, sha256_file(bundle / "model.onnx")):
        for test in known.tests:
            made.append(Row(test.name, test.images, test.melanomas, (test.auroc, test.low, test.high),
                            rates=(test.sensitivity, test.specificity)))  # fmt: skip
    return made


def _figure(metric: Figure) -> tuple[float, float, float]:
    area = Area.of(metric)
    if area is None or area.low is None or area.high is None:
        raise InputError(f"a figure of the table is undefined: {metric.reason}")
    return area.value, area.low, area.high


def _value(metric: Figure) -> float:
    if metric.value is None:
        raise InputError(f"a figure of the table is undefined: {metric.reason}")
    return metric.value


def table(shown: list[Row]) -> str:
    """The table as Markdown, with a row that says so if there are no external tests."""
    lines = [HEAD, "|---|---|---|---|---|"]
    for row in shown:
        rates = ("", "") if row.rates is None else tuple(f"{rate:.3f}" for rate in row.rates)
        lines.append(
            f"| {row.label} | {row.images:,} ({row.melanomas}) | {_interval(row.auroc)} | {rates[0]} | {rates[1]} |"
        )
    if len(shown) == 2:
        lines.append(f"| {NOT_YET} | | | | |")
    return "\n".join(lines)


def _interval(figure: tuple[float, float, float]) -> str:
    return f"{figure[0]:.3f} [{figure[1]:.3f}, {figure[2]:.3f}]"


def chart(shown: list[Row], comparison: Report) -> str:
    """The table's AUROCs, and the networks of the comparison against their size, as SVG."""
    import matplotlib
    from matplotlib.figure import Figure as Drawing

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dermdistill", "font.size": 9}):
        figure = Drawing(figsize=(9.6, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _draw_tests(left, shown)
        _draw_networks(right, comparison)
        text = io.StringIO()
        about = {"Date": None, "Description": figures(shown, comparison)}
        figure.savefig(text, format="svg", metadata=about, facecolor="white")
    return text.getvalue()


def figures(shown: list[Row], comparison: Report) -> str:
    """The figures of the chart in words, which the SVG carries as its description."""
    lines = [f"{row.label}: {_interval(row.auroc)}" for row in shown]
    lines += [f"{name}: {_interval(_figure(model.metrics['auroc']))}" for name, model in _networks(comparison).items()]
    return "; ".join(lines)


def _networks(comparison: Report) -> dict[str, Model]:
    """The models of the comparison; of several seeds the first."""
    return {name: model for name, model in comparison.models.items() if name[-2:] not in ("-1", "-2")}


def _draw_tests(axes: Any, shown: list[Row]) -> None:
    for place, row in enumerate(shown):
        _interval_bar(axes, row.auroc, place, "student")
    axes.set_yticks(range(len(shown)), [row.label.partition(", without")[0] for row in shown])
    axes.invert_yaxis()
    axes.set(xlabel="melanoma AUROC, 95 % interval", title="The model that ships")
    axes.grid(axis="x", color="#e2e8f0")


def _interval_bar(axes: Any, figure: tuple[float, float, float], place: float, kind: str) -> None:
    value, low, high = figure
    axes.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", ms=5, lw=1.5, color=_COLOURS[kind])


def _draw_networks(axes: Any, comparison: Report) -> None:
    for number, (name, model) in enumerate(_networks(comparison).items()):
        value, low, high = _figure(model.metrics["auroc"])
        kind = "teacher" if model.stage == "teacher" else "student" if "lite0" in name else "other"
        size = (model.parameters or 0) / 1e6 * (1.06 if number % 2 else 1 / 1.06)  # equal sizes stand side by side
        axes.errorbar(size, value, [[value - low], [high - value]], fmt="o", ms=5, lw=1.5, color=_COLOURS[kind])
        side = ("left", 5) if number % 2 else ("right", -5)
        axes.annotate(name, (size, value), xytext=(side[1], 0), textcoords="offset points", ha=side[0], va="center",
                      fontsize=8, color=_COLOURS[kind])  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.5)
    axes.set(xlabel="million parameters", ylabel="melanoma AUROC", title="Networks on one fold")
    axes.grid(color="#e2e8f0")


def replace_table(text: str, new: str) -> str:
    """A page with the table under `HEAD` replaced.

    Raises:
        InputError: it has no such table.
    """
    if HEAD not in text:
        raise InputError(f"README.md has no table that begins with '{HEAD}'; put that line where the table belongs")
    before, rest = text.split(HEAD, 1)
    return f"{before}{new}\n\n{rest.partition(chr(10) * 2)[2]}"


def shipped_graphs(root: Path) -> dict[str, str]:
    """The SHA-256 of each shipped graph by its bundle's name, the default one first."""
    first = shipped_bundle(root)
    folders = sorted((path.parent for path in first.parent.glob("*/bundle.json")), key=lambda one: (one != first, one))
    return {folder.name: sha256_file(folder / "model.onnx") for folder in folders}


def external_page(external: External, shipped: dict[str, str]) -> str:
    """The shipped bundles, those not yet scored too, then every other scored one.

    Args:
        external: the tests.
        shipped: what `shipped_graphs` gave.
    """
    parts = []
    for name, sha256 in shipped.items():
        parts += [f"## The shipped bundle `{name}`", section(external, sha256)]
    for sha256 in (one.model_onnx_sha256 for one in external.bundles if one.model_onnx_sha256 not in shipped.values()):
        parts += ["## An earlier bundle", section(external, sha256)]
    return "\n" + "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Write the table and the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_root(parser)
    root = find_root(parser.parse_args(arguments).root)
    shown, readme = rows(root), root / "README.md"
    write_text(readme, replace_table(readme.read_text(encoding="utf-8"), table(shown)))
    write_text(root / CHART, chart(shown, load_report(root / "results" / "comparison" / "report.json")))
    page = external_page(read_external(root / EXTERNAL), shipped_graphs(root))
    replace_between(root / EXTERNAL_PAGE, "external tests", page)
    print(f"{readme}, {root / CHART} and {root / EXTERNAL_PAGE} written")


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
