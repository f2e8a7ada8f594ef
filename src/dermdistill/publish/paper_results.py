"""Put the evidence of a study of Khan et al. 2022 into the repository, finished or not.

    python -m dermdistill.publish.paper_results work/khan2022 --manifest work/first-release/manifest.parquet

Writes results/khan2022/ (recipe, report, log, drawings of the sweeps and a README on how they came about; no images, no
weights) and what stands between the marks `<!-- results:khan2022 -->` in docs/explanation/the-paper-audited.md and
README.md. Of the study it reads report.json and log.txt alone, which `dermdistill reproduce khan2022` writes after
every row: a study that still runs can be published too, and the page says what it still has to do.
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
from dermdistill.khan2022.drawing import standalone
from dermdistill.khan2022.grid import Grid, markdown_table
from dermdistill.khan2022.markdown import grids, is_begun, markdown, sweep_grid
from dermdistill.khan2022.recipe import TABLES, settings_of
from dermdistill.khan2022.report import TITLES, page, sweeps
from dermdistill.khan2022.systems import SYSTEMS
from dermdistill.khan2022.tables import FORMAT
from dermdistill.publish.paper_findings import findings, headline
from dermdistill.publish.repository import add_root, find_root, replace_between

NAME = "khan2022"
LARGEST = 2 * 10**6
"""Bytes; a larger file does not belong into the repository."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="the study folder, such as work/khan2022")
    parser.add_argument("--recipe", type=Path, help="the settings that the study was run with")
    parser.add_argument("--table", action="append", choices=TABLES, help="what was run, by default all that was begun")
    parser.add_argument("--manifest", type=Path, help="the manifest that was given as --data, to tell what it holds")
    parser.add_argument("--timing", type=Path, help="folder of a study with --clock-only, for the prediction times")
    parser.add_argument("--out", type=Path, help="by default results/khan2022")
    parser.add_argument("--page", type=Path, help="the page with the marks")
    parser.add_argument("--readme", type=Path, help="by default README.md")
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
    tables = given.table or [name for name in TABLES if is_begun(report, name)]
    publish(given.study, report, tables, recipe, given.manifest, out)
    replace_between(marked, f"results:{NAME}", block(report, tables, os.path.relpath(out, marked.parent)))
    replace_between(given.readme or root / "README.md", f"results:{NAME}", wrapped(headline(report)))
    undone = remaining(report, tables)
    print(f"{out} and {marked} written; {'to do: ' + '; '.join(undone) if undone else 'the study is finished'}")


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
    return {"beside": None, "leak": None} | report  # reports from before these were measured lack them


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
        **{f"{name}.svg": standalone(drawn) for name, drawn in sweeps(report).items()},
    }
    large = [f"{name} ({len(text.encode()):,} bytes)" for name, text in texts.items() if len(text.encode()) > LARGEST]
    if large:
        raise InputError(f"{', '.join(large)}: at most {LARGEST:,} bytes go into the repository")
    shutil.rmtree(out, ignore_errors=True)
    for name, text in texts.items():
        write_text(out / name, text)


def remaining(report: dict[str, Any], tables: list[str]) -> list[str]:
    """What is not done of some tables: for each table and protocol the rows, and how many seeds they lack."""
    found = []
    for table in tables:
        entries = report["tables"][table]
        for protocol in dict.fromkeys(entry["protocol"] for entry in entries):
            mine = [entry for entry in entries if entry["protocol"] == protocol]
            undone = [entry for entry in mine if entry["to_do"]]
            what = f"{TITLES[table]}{', ' + protocol if protocol else ''}"
            if undone and len(undone) == len(mine) and not any(entry["seeds"] for entry in mine):
                found.append(f"{what}: all rows")
            elif undone:
                rows = ", ".join(one["name"] + _missing(one) for one in undone)
                found.append(f"{what}: {rows}")
    return found


def _missing(entry: dict[str, Any]) -> str:
    """How many seeds a row lacks that has some."""
    return f" ({entry['to_do']} more seed{'s' if entry['to_do'] > 1 else ''})" if entry["seeds"] else ""


def unfinished(report: dict[str, Any], tables: list[str]) -> list[str]:
    """A paragraph on what is to do; none if nothing is."""
    undone = remaining(report, tables)
    return [f"**The study is not finished.** To do: {'; '.join(undone)}."] if undone else []


def readme(report: dict[str, Any], tables: list[str], recipe: Path, manifest: Path | None) -> str:
    """What was run, on what, how to run it again, and the tables."""
    shown = f"recipes/{NAME}/{recipe.name}" if recipe.resolve().parent.name == NAME else recipe.name
    settings, data = report["settings"], report["data"]
    facts = [
        *manifest_facts(manifest),
        *data["notes"],
        f"SHA-256 of the images that were drawn, their labels and lesions: `{data['sha256']}`.",
        f"Hardware: {report['hardware']}, computed on {report['device']}. "
        f"{', '.join(f'{name} {version}' for name, version in report['versions'].items())}. "
        f"Commit `{report['git_commit'] or 'unknown'}`.",
        f"Images of {settings['image_size']} px. Epochs: teacher {settings['teaching']['epochs']}, other networks "
        f"alone {settings['backbone_alone']['epochs']}, students {settings['student']['epochs']}. "
        f"{seeds_told(report, tables)}",
        f"Initial weights: {report['weights']}.",
        "Checkpoints are chosen on validation images, except in `test-selection` (on the test images: that is the "
        "fault) and in the rows that keep the last epoch.",
    ]
    body = [f"- {fact}" for fact in facts]
    if data["synthetic"]:
        body.insert(0, "- **SYNTHETIC IMAGES: these figures test the path and say nothing about skin.**")
    more = [part for grid in ([seed_grid(report)] if is_begun(report, "ablation") else []) for part in section(grid)]
    parts = [
        "# Khan et al. 2022, made again", f"**{report['disclaimer']}**", *unfinished(report, tables),
        commands(report, tables, shown), "\n".join(body), "## What it shows",
        "\n".join(f"- {text}" for text in findings(report)) or "Nothing yet.", *tables_told(report, Path()), *more,
        "Every figure: [report.md](report.md), [report.html](report.html) (curves, classification reports, confusion "
        "matrices and ROC curves, of the first seed), [report.json](report.json) (all seeds). Also "
        "[recipe.toml](recipe.toml) and [log.txt](log.txt). What it means: "
        "[the paper, audited](../../docs/explanation/the-paper-audited.md).",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def commands(report: dict[str, Any], tables: list[str], recipe: str) -> str:
    """The commands that make the study again: each protocol with its tables, then the clock and our student."""
    start = f"    dermdistill reproduce khan2022 --recipe {recipe} --data MANIFEST"
    lines = [start + "".join(f" --table {table}" for table in tables)]
    again = [table for table in tables if any(entry["seeds"] for entry in report["tables"][table]
                                              if entry["protocol"] == "as-published")]  # fmt: skip
    if again:
        lines.append(f"{start} --protocol as-published" + "".join(f" --table {table}" for table in again))
    if report["beside"] and report["timing"]:
        lines.append(f"{start} --clock-only --beside BUNDLE --beside-splits SPLITS --beside-fold FOLD")
    elif report["timing"]:
        lines.append(f"{start} --clock-only")
    return "\n".join(lines)


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
    more = ", ".join(f"{SYSTEMS[name].title} {count}" for name, count in seeds.get("systems", {}).items())
    counts = [
        f"{TITLES[name]} {seeds['table_2' if name == '2' else name]}{f' ({more})' if more and name == '2' else ''}"
        for name in tables
    ]
    return (
        f"Seeds of each row: {', '.join(counts)}, from 0 on; a seed decides the division of the images, the initial "
        "weights and the order of training. After ± stands the standard deviation over seeds (n - 1)."
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
    return Grid("Ablation, seed by seed", head, rows, [])


def _pair(test: dict[str, Any] | None) -> str:
    if test is None:
        return "–"
    values = (test["accuracy"]["value"], test["auroc"]["value"])
    return " / ".join("undefined" if value is None else f"{value:.3f}" for value in values)


def tables_told(report: dict[str, Any], results: Path, level: str = "##") -> list[str]:
    """All tables but that of the parameters, as paragraphs, the sweeps with their drawings.

    Args:
        report: of the study.
        results: where the drawings are, seen from the page.
        level: of the headings.
    """
    drawn = {sweep_grid(report, name).title: name for name in sweeps(report)}
    parts = []
    for grid in grids(report)[1:]:
        title, *rest = section(grid, level)
        name = drawn.get(grid.title)
        picture = [f"![{grid.title}: both protocols]({(results / f'{name}.svg').as_posix()})"] if name else []
        parts += [title, *picture, *rest]
    return parts


def section(grid: Grid, level: str = "##") -> list[str]:
    """A table with its heading and notes, as paragraphs."""
    return [f"{level} {grid.title}", "\n".join(markdown_table(grid)), *grid.notes]


def block(report: dict[str, Any], tables: list[str], results: str) -> str:
    """What stands between the page's marks: what it shows, and all tables."""
    settings, data = report["settings"], report["data"]
    what = "SYNTHETIC images, which say nothing about skin" if data["synthetic"] else "real images"
    facts = [
        f"Run on {what}: {data['notes'][0]}",
        f"Images of {settings['image_size']} px; {report['hardware']}, {report['device']}.",
        seeds_told(report, tables),
        f"Initial weights: {report['weights']}.",
    ]
    more = f"The command, the hashes and every seed: [results/{NAME}]({Path(results).as_posix()}/README.md)."
    told = findings(report)
    shown = ["### What it shows", "\n".join(wrapped(f"- {text}", "  ") for text in told)] if told else []
    parts = [*unfinished(report, tables), "\n".join(wrapped(f"- {fact}", "  ") for fact in facts), more, *shown,
             *tables_told(report, Path(results), "###")]  # fmt: skip
    return "\n\n".join(part if part.startswith(("|", "#", "-", "!")) else wrapped(part) for part in parts)


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph in lines of at most 120 characters."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
