"""Write the ledger of all students that were tried: results/student/README.md and its two drawings.

    python -m dermdistill.publish.ledger

Reads results/*/report.json and results/student/notes.toml, which says of each student what was learned from it and
whether it was kept: a table [recipe.model] with `kept` and `note`. A student without a note is an error, so that no
experiment goes missing.
"""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermdistill.classes import DISCLAIMER
from dermdistill.errors import DermdistillError, InputError
from dermdistill.evaluate.render.text import interval
from dermdistill.files import read_json, write_text
from dermdistill.publish.repository import add_root, find_root

if TYPE_CHECKING:
    import numpy as np

FORMAT = "dermdistill-report/1"
_WIDE, _HIGH = 13, 10
"""What a number of two digits takes, in points."""


def main(arguments: list[str] | None = None) -> None:
    """Write the page and the drawings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_root(parser)
    root = find_root(parser.parse_args(arguments).root)
    out = root / "results" / "student"
    notes = tomllib.loads((out / "notes.toml").read_text(encoding="utf-8"))
    rows = entries(root / "results", notes)
    write_text(out / "README.md", page(rows))
    for key, label in (("macs", "million multiply-accumulates an image"), ("parameters", "thousand parameters")):
        write_text(out / f"auroc-{key}.svg", drawing(rows, key, label))
    print(f"{len(rows)} experiments in {out}")


def entries(results: Path, notes: dict[str, Any]) -> list[dict[str, Any]]:
    """Every student of every report, and each teacher that has a note, such as one that ships.

    Raises:
        InputError: a student has no note, or a note no model.
    """
    rows = []
    for path in sorted(results.glob("*/report.json")):
        report = read_json(path)
        if report.get("format") != FORMAT:
            continue
        recipe = path.parent.name
        for name, entry in report["models"].items():
            note = notes.get(recipe, {}).pop(name, None)
            if note is None and entry["stage"] != "student":
                continue
            if note is None:
                raise InputError(f"results/student/notes.toml has no [{recipe}.{name}]; say `kept` and `note`")
            gap = report["differences"].get(name, {}).get("auroc")
            rows.append({"recipe": recipe, "name": name, "gap": gap, "of": report["data"], **entry, **note})
    left = [f"{recipe}.{name}" for recipe, names in notes.items() for name in names]
    if left:
        raise InputError(f"results/student/notes.toml tells of {', '.join(left)}, which no report under results/ has")
    return rows


def page(rows: list[dict[str, Any]]) -> str:
    """The ledger as Markdown."""
    lines = [
        "# Students that were tried", "", f"**{DISCLAIMER}**", "",
        "Every student of every recipe under `results/`, and every teacher that ships; the failures are included.",
        "AUROC is of melanoma, with its 95 % interval (lesion-clustered bootstrap), on images that neither the network",
        "nor its teacher saw; the gap is the paired difference to the recipe's teacher. Figures of one recipe are of",
        "the same images and can be compared; each folder's README has data hash, hardware and command.",
        "`python -m dermdistill.publish.ledger` makes this page.", "",
        "| # | recipe | student | model | seed | parameters | million MACs | images (melanomas) | AUROC "
        "| minus teacher | kept | what was learned |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for number, row in enumerate(rows, 1):
        recipe = f"[{row['recipe']}](../{row['recipe']}/README.md)"
        lines.append(
            f"| {number} | {recipe} | {row['name']} | `{row['model']}`, {row['image_size']} px "
            f"| {row['seed']} | {row['parameters']:,} | {row['macs'] / 1e6:.1f} "
            f"| {row['of']['n']:,} ({row['of']['positives']}) | {interval(row['metrics']['auroc'])} "
            f"| {'' if row['gap'] is None else interval(row['gap'], signed=True)} "
            f"| {'yes' if row['kept'] else 'no'} | {row['note']} |"
        )
    lines += ["", "In the drawings students of one cost stand side by side, a little to the right of it.", "",
              "![AUROC against multiply-accumulates](auroc-macs.svg)", "",
              "![AUROC against parameters](auroc-parameters.svg)", ""]  # fmt: skip
    return "\n".join(lines)


def drawing(rows: list[dict[str, Any]], key: str, label: str) -> str:
    """AUROC with its interval against a cost, as SVG; what was kept is filled."""
    import io

    import matplotlib
    from matplotlib.figure import Figure

    unit = 1e6 if key == "macs" else 1e3
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dermdistill"}):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        axes = figure.subplots()
        beside: dict[int, int] = {}
        tops = []
        for number, row in enumerate(rows, 1):
            found = row["metrics"]["auroc"]
            error = [[found["value"] - found["low"]], [found["high"] - found["value"]]]
            colour = "#0b5cad" if row["kept"] else "#64748b"
            place = row[key] / unit * 1.03 ** beside.setdefault(row[key], 0)  # students of one cost stand side by side
            beside[row[key]] += 1
            axes.errorbar(
                place, found["value"], error, fmt="o", ms=6, lw=1, color=colour, mfc=colour if row["kept"] else "white",
                label=f"{number}  {row['recipe']}: {row['name']}",
            )  # fmt: skip
            tops.append((place, found["high"], str(number), colour))
        axes.set(xlabel=label, ylabel="melanoma AUROC")
        axes.set_xscale("log")
        axes.margins(x=0.1, y=0.1)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.3 * (high - low))  # room for numbers that stand high
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
        axes.grid(color="#e2e8f0")
        figure.draw_without_rendering()  # places are known from here on
        spots = axes.transData.transform([top[:2] for top in tops]) * 72 / figure.dpi
        for (place, high, number, colour), up in zip(tops, raised(spots), strict=True):
            axes.annotate(number, (place, high), xytext=(0, up), ha="center",
                          textcoords="offset points", fontsize=9, color=colour)  # fmt: skip
        text = io.StringIO()
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()


def raised(spots: "np.ndarray") -> list[float]:
    """How far above its spot each number stands, so that none covers another.

    Args:
        spots: the upper ends of the intervals, in points [N, 2].
    """
    found: list[float] = []
    for x, y in spots:
        up = 3.0
        taken = [(left, below + other) for (left, below), other in zip(spots, found, strict=False)]
        while any(abs(left - x) < _WIDE and abs(below - y - up) < _HIGH for left, below in taken):
            up += 1
        found.append(up)
    return found


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
