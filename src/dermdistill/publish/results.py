"""Put a finished run's evidence into the repository, and its bundle into the package.

    python -m dermdistill.publish.results recipes/ham10000.toml --work work/ham10000 --ship lite0-cut-kd

Writes results/<recipe's name>/ (recipe, report, headers and metrics of every run, training curves, log; no images; of
a cross-validation also the predictions, so that it can be gone on with; with --bank the soft labels of that part, with
--weights the weights of all networks within the budget), the table between the marks `<!-- results:NAME -->` in
README.md, and, with --ship, src/dermdistill/weights/ with the training checkpoint beside it.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dermdistill.distillation.bank import Bank
from dermdistill.errors import DermdistillError, InputError
from dermdistill.files import read_json, write_json, write_text
from dermdistill.networks.registry import BUDGET
from dermdistill.recipe.parts import part_names
from dermdistill.recipe.spec import Recipe, load_recipe
from dermdistill.recipe.stages import stages
from dermdistill.recipe.work import Work
from dermdistill.run import Run

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = ROOT / "src" / "dermdistill" / "weights"
HELD_OUT = (
    "Test images were looked at once, by the report; checkpoints, temperature and thresholds come from validation "
    "images."
)
CROSSED = (
    "Every image was predicted by a network that did not see it in training; temperature and thresholds of each of "
    "five groups of lesions were chosen by the other four. What else was chosen on these images, if anything, the "
    "first lines say."
)
ONE_SEED = (
    "One seed for each model: the intervals show what other test lesions would change, not what another seed would."
)
SEEDS = (
    "Intervals show what other test lesions would change; the standard deviation over seeds, where there are several, "
    "what another initialisation and order of the images would."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--work", type=Path, help="the work folder, by default work/<recipe's name>")
    parser.add_argument("--ship", metavar="STUDENT", help="make this student's bundle the package's own")
    parser.add_argument("--bank", metavar="PART", action="append", default=[], help="publish this part's soft labels")
    parser.add_argument("--weights", action="store_true", help="publish the weights of networks within the budget")
    given = parser.parse_args()
    recipe = load_recipe(given.recipe)
    work = Work(recipe, given.work or Path("work") / recipe.name)
    undone = [stage for stage, state in stages(work) if state != "done"]
    if undone:
        raise InputError(f"{work.folder} is not finished: {', '.join(undone)} to do; `dermdistill run` goes on with it")
    out = ROOT / "results" / recipe.name
    publish(work, given.recipe, out, given.bank, given.weights)
    table = (out / "table.md").read_text(encoding="utf-8")
    replace_between(ROOT / "README.md", recipe.name, table + f"\nMore: [results/{recipe.name}](results/{recipe.name}).")
    if given.ship:
        ship(work, given.ship)
    print(f"{out} written" + (f", {given.ship} shipped" if given.ship else ""))


def publish(work: Work, recipe_path: Path, out: Path, banks: Sequence[str] = (), weights: bool = False) -> None:
    """Copy what can be told without the images; soft labels of the parts in `banks` and weights if asked for."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copyfile(recipe_path, out / "recipe.toml")
    for name in ("report.json", "report.html", "table.md"):
        shutil.copyfile(work.report / name, out / name)
    shutil.copyfile(work.folder / "log.txt", out / "log.txt")
    runs = run_folders(work)
    kept = {"run.json", "metrics.jsonl"} | ({"predictions.parquet"} if crossed(work.recipe) else set())
    for name, run in runs.items():
        small = {"model.safetensors"} if weights and run.header()["parameters"] <= BUDGET else set()
        keep_only(run.folder, out / "runs" / name, kept | small)
    if (work.shipped.bank / "bank.json").exists():
        bank = Bank.open(work.shipped.bank)
        teachers = [
            {**teacher.model_dump(mode="json", exclude={"checksums"}), "views": teacher.views}
            for teacher in bank.teachers
        ]
        whole = {**bank.identity.model_dump(mode="json"), "images": len(bank.images), "teachers": teachers}
        write_json(out / "bank.json", whole)
    for name in banks:
        shutil.copytree(work.of(name).bank, out / "banks" / name)
    splits = read_json(work.splits)
    write_json(out / "splits.json", {**splits, "folds": len(splits["folds"])})
    write_text(out / "curves.svg", curves({name: run.read_metrics() for name, run in runs.items()}))
    write_text(out / "README.md", readme(work.recipe, recipe_path, read_json(out / "report.json"), runs, out))


def keep_only(folder: Path, out: Path, names: set[str]) -> None:
    out.mkdir(parents=True)
    for name in names:
        if (folder / name).exists():
            shutil.copyfile(folder / name, out / name)


def crossed(recipe: Recipe) -> bool:
    return recipe.split.scheme != "hold-out"


def run_folders(work: Work) -> dict[str, Run]:
    """Every run by its name, with its part's where there are several."""
    found: dict[str, Run] = {}
    for name in part_names(work.recipe.split):
        part = work.of(name)
        folders = [part.teacher(spec.name) for spec in part.teachers]
        folders += [part.student(spec.name) for spec in part.students]
        found |= {str(folder.relative_to(work.folder)) if name else folder.name: Run(folder) for folder in folders}
    return found


def curves(metrics: dict[str, list[dict[str, Any]]]) -> str:
    """Validation melanoma AUROC, or without validation images the loss, against training time, as SVG."""
    import io

    import matplotlib
    from matplotlib.figure import Figure

    validated = all(line["auroc"] is not None for lines in metrics.values() for line in lines)
    key, label = ("auroc", "melanoma AUROC on validation") if validated else ("loss", "training loss")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dermdistill"}):
        figure = Figure(figsize=(7, 4.2))
        axes = figure.subplots()
        for name, lines in metrics.items():
            axes.plot([line["seconds"] / 60 for line in lines], [line[key] for line in lines], "o-", ms=3, label=name)
        axes.set(xlabel="training time in minutes", ylabel=label)
        if not validated:
            axes.set_yscale("log")
        axes.grid(color="#e2e8f0")
        axes.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()


def auroc(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


BANKS = """

## Soft labels

`banks/` holds what the teachers said of eight sampled views of each training image. With the images, and `runs/` copied
into the work folder, another student can learn from them without a teacher to train:

    cp -r results/{name}/runs/. work/{name}
    cp -r results/{name}/banks/{part} work/{name}/{part}/bank"""


def readme(recipe: Recipe, recipe_path: Path, report: dict[str, Any], runs: dict[str, Run], out: Path) -> str:
    """What was run, on what, how to run it again, and the table."""
    parts = sorted(path.name for path in (out / "banks").glob("*"))
    banks = BANKS.format(name=recipe.name, part=parts[0]) if parts else ""
    headers = {name: run.header() for name, run in runs.items()}
    rows = "\n".join(
        f"| {name} | {header['image_size']} px | {header['recipe']['train']['epochs']} | {header['seed']} "
        f"| {header['best_epoch'] + 1} | {auroc(header['best_auroc'])} | {header['training_seconds'] / 60:.0f} |"
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
- {CROSSED if crossed(recipe) else HELD_OUT}
- {SEEDS if report["over_seeds"] else ONE_SEED}

## On the test images

{(out / "table.md").read_text(encoding="utf-8")}
The whole report: [report.html](report.html), [report.json](report.json).

## Training

| model | image | epochs | seed | epoch kept | validation AUROC | minutes |
|---|---|---|---|---|---|---|
{rows}

![Training curves](curves.svg)

Files: [recipe.toml](recipe.toml), [log.txt](log.txt), [splits.json](splits.json) (rule and hash), `runs/` (each run's
header and its metrics of every epoch{", and what it predicted" if crossed(recipe) else ""}; of small networks the
weights, if they are there).{banks}
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


def ship(work: Work, name: str) -> None:
    """Make a student's bundle the one that `dermdistill predict` uses by default."""
    shutil.rmtree(WEIGHTS / name, ignore_errors=True)
    shutil.copytree(work.bundle(name), WEIGHTS / name)
    shutil.copyfile(Run(work.shipped.student(name)).weights(), WEIGHTS / name / "model.safetensors")
    write_text(WEIGHTS / "DEFAULT", name + "\n")


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
