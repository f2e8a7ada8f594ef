"""Put a finished run's evidence into the repository, and its bundle into the package.

    python scripts/publish.py recipes/ham10000.toml --work work/ham10000 --ship lite0-cut-kd

Writes results/<recipe's name>/ (recipe, report, headers and metrics of every run, training curves, log; no images),
the table between the marks `<!-- results:NAME -->` in README.md, and, with --ship, src/dermdistill/weights/.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from dermdistill.config import Recipe, load_recipe
from dermdistill.errors import DermdistillError, InputError
from dermdistill.files import read_json, write_json, write_text
from dermdistill.pipeline import Work, stages
from dermdistill.run import Run

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "src" / "dermdistill" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--work", type=Path, help="the work folder, by default work/<recipe's name>")
    parser.add_argument("--ship", metavar="STUDENT", help="make this student's bundle the package's own")
    given = parser.parse_args()
    recipe = load_recipe(given.recipe)
    work = Work(recipe, given.work or Path("work") / recipe.name)
    undone = [stage for stage, done in stages(work) if not done]
    if undone:
        raise InputError(f"{work.folder} is not finished: {', '.join(undone)} to do; `dermdistill run` goes on with it")
    out = ROOT / "results" / recipe.name
    publish(work, given.recipe, out)
    table = (out / "table.md").read_text(encoding="utf-8")
    replace_between(ROOT / "README.md", recipe.name, table + f"\nMore: [results/{recipe.name}](results/{recipe.name}).")
    if given.ship:
        ship(work.bundle(given.ship), given.ship)
    print(f"{out} written" + (f", {given.ship} shipped" if given.ship else ""))


def publish(work: Work, recipe_path: Path, out: Path) -> None:
    """Copy what can be told without the images."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copyfile(recipe_path, out / "recipe.toml")
    for name in ("report.json", "report.html", "table.md"):
        shutil.copyfile(work.report / name, out / name)
    shutil.copyfile(work.folder / "log.txt", out / "log.txt")
    runs = {name: Run(folder) for name, folder in run_folders(work).items()}
    for name, run in runs.items():
        shutil.copytree(
            run.folder, out / "runs" / name, ignore=lambda _, names: set(names) - {"run.json", "metrics.jsonl"}
        )
    if (work.bank / "bank.json").exists():
        bank = read_json(work.bank / "bank.json")
        write_json(out / "bank.json", {**bank, "images": len(bank["images"]), "shards": len(bank["shards"])})
    splits = read_json(work.splits)
    write_json(out / "splits.json", {**splits, "folds": len(splits["folds"])})
    write_text(out / "curves.svg", curves({name: run.read_metrics() for name, run in runs.items()}))
    write_text(out / "README.md", readme(work.recipe, recipe_path, read_json(out / "report.json"), runs))


def run_folders(work: Work) -> dict[str, Path]:
    teachers = {spec.name: work.teacher(spec.name) for spec in work.recipe.teachers}
    return teachers | {spec.name: work.student(spec.name) for spec in work.recipe.students}


def curves(metrics: dict[str, list[dict[str, Any]]]) -> str:
    """Validation melanoma AUROC against training time, as SVG."""
    import io

    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dermdistill"}):
        figure = Figure(figsize=(7, 4.2))
        axes = figure.subplots()
        for name, lines in metrics.items():
            axes.plot(
                [line["seconds"] / 60 for line in lines], [line["auroc"] for line in lines], "o-", ms=3, label=name
            )
        axes.set(xlabel="training time in minutes", ylabel="melanoma AUROC on validation")
        axes.grid(color="#e2e8f0")
        axes.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()


def readme(recipe: Recipe, recipe_path: Path, report: dict[str, Any], runs: dict[str, Run]) -> str:
    """What was run, on what, how to run it again, and the table."""
    headers = {name: run.header() for name, run in runs.items()}
    rows = "\n".join(
        f"| {name} | {header['image_size']} px | {header['recipe']['train']['epochs']} | {header['seed']} "
        f"| {header['best_epoch'] + 1} | {header['best_auroc']:.4f} | {header['training_seconds'] / 60:.0f} |"
        for name, header in headers.items()
    )
    inputs = next(iter(headers.values()))["inputs"]
    hardware = ", ".join(sorted({header["hardware"] for header in headers.values()}))
    versions = next(iter(headers.values()))["versions"]
    sources = ", ".join(f"{name} ({count} images)" for name, count in report["data"]["sources"].items())
    path = recipe_path.resolve()
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    return f"""# {recipe.name}

**{report["disclaimer"]}**

{recipe.description}

    dermdistill run {shown} --data DIR

- Tested on: {sources}. All data:
  SHA-256 of the manifest `{inputs["manifest"]}`, of the splits `{inputs["splits"]}`.
- Hardware: {hardware}. {", ".join(f"{name} {version}" for name, version in versions.items())}.
- Test images were looked at once, by the report; checkpoints, temperature and thresholds come from validation images.
- One seed for each model: the intervals show what other test lesions would change, not what another seed would.

## On the test images

{(ROOT / "results" / recipe.name / "table.md").read_text(encoding="utf-8")}
The whole report: [report.html](report.html), [report.json](report.json).

## Training

| model | image | epochs | seed | best epoch | validation AUROC | minutes |
|---|---|---|---|---|---|---|
{rows}

![Validation AUROC against training time](curves.svg)

Files: [recipe.toml](recipe.toml), [log.txt](log.txt), [splits.json](splits.json) (rule and hash), `runs/` (each run's
header and its metrics of every epoch).
"""


def replace_between(path: Path, name: str, text: str) -> None:
    """Put `text` between the two marks of `name`."""
    start, end = f"<!-- results:{name} -->\n", "<!-- /results -->"
    content = path.read_text(encoding="utf-8")
    if start not in content:
        print(f"{path.name} has no mark {start.strip()}; left as it is", file=sys.stderr)
        return
    before, rest = content.split(start, 1)
    write_text(path, before + start + text + "\n" + end + rest.split(end, 1)[1])


def ship(bundle: Path, name: str) -> None:
    """Make a bundle the one that `dermdistill predict` uses by default."""
    shutil.rmtree(WEIGHTS / name, ignore_errors=True)
    shutil.copytree(bundle, WEIGHTS / name)
    write_text(WEIGHTS / "DEFAULT", name + "\n")


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
