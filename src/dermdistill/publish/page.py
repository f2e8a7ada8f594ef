"""The page of a recipe's results: what was run, on what, how to run it again, and the figures.

Made from what results/<name>/ holds alone, so that it can be written again without the work folder.
"""

from pathlib import Path
from typing import Any

from dermdistill.data.sources import source_name
from dermdistill.files import read_json
from dermdistill.publish.artifacts import INDEX, read_index
from dermdistill.recipe.parts import part_names
from dermdistill.recipe.spec import Recipe, load_recipe
from dermdistill.run import FinishedHeader, Run, TrainedHeader

NOTES = "notes.md"
HELD_OUT = (
    "The report alone looked at the test images, once; checkpoints, temperature and thresholds come from validation "
    "images."
)
CROSS_VALIDATED = (
    "A network that did not see an image in training predicted it; temperature and thresholds of each of five groups "
    "of lesions were chosen by the other four. If anything else was chosen on these images, the description above "
    "says what."
)
ONE_SEED = (
    "One seed for each model: the intervals show what other test lesions would change, not what another seed would."
)
SEEDS = (
    "Intervals show what other test lesions would change; the standard deviation over seeds, where there are several, "
    "what another initialisation and order of the images would."
)


def is_cross_validated(recipe: Recipe) -> bool:
    """Whether several networks of each model predicted the images, each those that it did not see."""
    return recipe.split.scheme != "hold-out"


def run_names(recipe: Recipe) -> dict[str, str]:
    """Each run's name under results/<name>/runs, and its folder beneath the work folder, in the order of training."""
    from dermdistill.recipe.work import Work

    work, names = Work(recipe, Path("work")), {}
    for part in part_names(recipe.split):
        one = work.of(part)
        folders = [one.teacher(spec.name) for spec in one.teachers]
        folders += [one.student(spec.name) for spec in one.students]
        for folder in folders:
            place = folder.relative_to(work.folder).as_posix()
            names[place if part else folder.name] = place
    return names


def page(folder: Path) -> str:
    """The page of results/<name>/ as Markdown."""
    recipe, report = load_recipe(folder / "recipe.toml"), read_json(folder / "report.json")
    headers = {name: Run(folder / "runs" / name).finished() for name in run_names(recipe)}
    paragraphs = [
        f"# {recipe.name}", f"**{report['disclaimer']}**", recipe.description,
        f"    dermdistill run recipes/{recipe.name}.toml --data DIR", facts(recipe, report, headers),
        *notes(folder), "## On the test images", (folder / "table.md").read_text(encoding="utf-8").strip(),
        "The whole report: [report.html](report.html), [report.json](report.json).",
        "## Training", training(headers), "![Training curves](curves.svg)", files(recipe), *artifacts(recipe, folder),
    ]  # fmt: skip
    return "\n\n".join(paragraphs) + "\n"


def facts(recipe: Recipe, report: dict[str, Any], headers: dict[str, FinishedHeader]) -> str:
    """Data, hashes, hardware, versions and what the figures rest on, as a list."""
    first = next(iter(headers.values()))
    inputs, versions = first.inputs, first.versions
    sources = ", ".join(f"{source_name(name)} ({count:,} images)" for name, count in report["data"]["sources"].items())
    return "\n".join([
        f"- Tested on: {sources}. All data:",
        f"  SHA-256 of the manifest `{inputs.manifest}`, of the splits `{inputs.splits}`.",
        f"- Hardware: {', '.join(sorted({str(header.hardware) for header in headers.values()}))}. "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}.",
        f"- {CROSS_VALIDATED if is_cross_validated(recipe) else HELD_OUT}",
        f"- {SEEDS if report.get('over_seeds') else ONE_SEED}",
    ])  # fmt: skip


def notes(folder: Path) -> list[str]:
    """The hand-written notes on what the figures mean, with a heading; none if there are none."""
    path = folder / NOTES
    return ["## What it shows", path.read_text(encoding="utf-8").strip()] if path.exists() else []


def training(headers: dict[str, FinishedHeader]) -> str:
    """Every training in a row; logits that came as a table were not trained here."""
    rows = [
        f"| {name} | {header.image_size} px | {header.recipe['train']['epochs']} | {header.seed} "
        f"| {header.best_epoch + 1} | {auroc(header.best_auroc)} | {header.training_seconds / 60:.0f} |"
        for name, header in headers.items()
        if isinstance(header, TrainedHeader)
    ]
    head = [
        "| model | image | epochs | seed | epoch kept | validation AUROC | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def auroc(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def files(recipe: Recipe) -> str:
    predicted = ", and its predictions" if is_cross_validated(recipe) else ""
    return (
        "Files: [recipe.toml](recipe.toml), [log.txt](log.txt), [splits.json](splits.json) (rule and hash), and "
        f"`runs/` (each run's header and its metrics of every epoch{predicted})."
    )


def artifacts(recipe: Recipe, folder: Path) -> list[str]:
    """How to bring the weights and the soft labels, if the index has any of this recipe."""
    index = folder.parent / INDEX
    own = [one for one in read_index(index).artifacts if one.recipe == recipe.name] if index.exists() else []
    if not own:
        return []
    rows = [f"| `{one.name}` | {one.bytes / 1e6:.1f} MB | {one.contents} | `{one.sha256[:16]}` |" for one in own]
    return [
        "## Weights and soft labels",
        "They are artefacts of the release that this version belongs to. With the images another student can learn "
        "from the soft labels without a teacher to train. URL is the release's download address; a folder serves too:",
        f"    dermdistill fetch-artifacts {' '.join(one.name for one in own)} --from URL",
        "\n".join(["| artefact | size | contents | SHA-256 |", "|---|---|---|---|", *rows]),
        f"`{own[0].command}` makes them from the finished work folder. They fit the version of dermdistill that "
        "is named above; a version that renders views in another way refuses them.",
    ]
