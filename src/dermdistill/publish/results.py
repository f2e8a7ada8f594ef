"""Put a finished run's evidence into the repository, and its bundle into the package.

    python -m dermdistill.publish.results recipes/release.toml --work work/release --ship lite0-cut-112 --default
    python -m dermdistill.publish.results --pages

The first writes results/<recipe's name>/: recipe, report, headers and metrics of every run, training curves, log and,
of a cross-validation, the predictions, so that it can be continued. Images and tensors stay out; weights and soft
labels are artefacts of a release (`dermdistill.publish.artifacts`). With --ship the student's bundle goes into
src/dermdistill/weights/, in place of one of its name, with the training checkpoint and its figures beside it; others
stay. With --default it is the one that `dermdistill predict` uses where none is named. The second writes the pages of
all results again.
A hand-written results/<name>/notes.md, if there is one, is kept and stands in the page.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dermdistill.distillation.bank import Bank
from dermdistill.errors import DermdistillError, InputError
from dermdistill.evaluate.document import load_report
from dermdistill.evaluate.intervals import Figure
from dermdistill.export.card import put_section
from dermdistill.export.gate.add import add_gate
from dermdistill.files import read_json, sha256_file, write_json, write_text
from dermdistill.predict.header import GATE, GRAPH
from dermdistill.publish.card import UNKNOWN_CAMERAS, amend_card, unknown_cameras
from dermdistill.publish.front import EXTERNAL
from dermdistill.publish.models import FIGURES, Area, OutOfFold
from dermdistill.publish.page import NOTES, is_cross_validated, page, run_names
from dermdistill.publish.repository import add_root, find_root
from dermdistill.recipe.run import intended
from dermdistill.recipe.spec import load_recipe
from dermdistill.recipe.stage import refuse
from dermdistill.recipe.work import Work
from dermdistill.run import Run


def main(arguments: list[str] | None = None) -> None:
    """Publish a recipe's results, or write the pages of all results again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?")
    parser.add_argument("--work", type=Path, help="the work folder, by default work/<recipe's name>")
    parser.add_argument("--ship", metavar="STUDENT", help="put this student's bundle into the package")
    parser.add_argument(
        "--unknown-cameras", type=Path, metavar="REPORT",
        help="with --ship: a report.json that compares `unknown` with `known`, for the card",
    )  # fmt: skip
    parser.add_argument("--default", action="store_true", help="with --ship: use it where no model is named")
    parser.add_argument("--pages", action="store_true", help="only write the pages of all results again")
    add_root(parser)
    given = parser.parse_args(arguments)
    root = find_root(given.root)
    if given.recipe:
        recipe = load_recipe(given.recipe)
        work = Work(recipe, given.work or Path("work") / recipe.name)
        require_finished(work)
        publish(work, given.recipe, root / "results" / recipe.name)
        if given.ship:
            ship(work, given.ship, root, default=given.default, cameras=given.unknown_cameras)
    elif not given.pages:
        parser.error("give a recipe, or --pages")
    for folder in result_folders(root):
        write_text(folder / "README.md", page(folder))
        print(folder / "README.md")


def require_finished(work: Work) -> None:
    """Raise InputError unless every stage is done."""
    standing = intended(work)
    refuse(standing)
    undone = [stage.name for stage, state in standing if state.standing != "done"]
    if undone:
        raise InputError(f"{work.folder} is not finished: {', '.join(undone)} to do; `dermdistill run` goes on with it")


def result_folders(root: Path) -> list[Path]:
    """The folders of results/ that hold the results of a recipe."""
    return sorted(path.parent for path in (root / "results").glob("*/table.md"))


def publish(work: Work, recipe_path: Path, out: Path) -> None:
    """Copy what is neither image nor tensor, and write the page."""
    notes = (out / NOTES).read_text(encoding="utf-8") if (out / NOTES).exists() else None
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if notes is not None:
        write_text(out / NOTES, notes)
    shutil.copyfile(recipe_path, out / "recipe.toml")
    for name in ("report.json", "report.html", "table.md"):
        shutil.copyfile(work.report / name, out / name)
    shutil.copyfile(work.folder / "log.txt", out / "log.txt")
    kept = ["run.json", "metrics.jsonl", *(["predictions.parquet"] if is_cross_validated(work.recipe) else [])]
    runs = {name: Run(work.folder / place) for name, place in run_names(work.recipe).items()}
    for name, run in runs.items():
        keep_only(run.folder, out / "runs" / name, kept)
    if (work.shipped.bank / "bank.json").exists():
        bank = Bank.open(work.shipped.bank)
        teachers = [
            {**teacher.model_dump(mode="json", exclude={"checksums"}), "views": teacher.views}
            for teacher in bank.teachers
        ]
        whole = {**bank.identity.model_dump(mode="json"), "images": len(bank.images), "teachers": teachers}
        write_json(out / "bank.json", whole)
    write_json(out / "splits.json", counted(read_json(work.splits), "folds"))
    write_text(out / "curves.svg", curves({name: run.read_metrics() for name, run in runs.items()}))
    write_text(out / "README.md", page(out))


def counted(header: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A header with the lengths of some long lists in place of the lists."""
    return {**header, **{key: len(header[key]) for key in keys if isinstance(header.get(key), list | dict)}}


def keep_only(folder: Path, out: Path, names: Iterable[str]) -> None:
    """Copy the files of some names that a folder has; tables are packed."""
    out.mkdir(parents=True)
    for name in names:
        if (folder / name).exists():
            copy = pack_table if name.endswith(".parquet") else shutil.copyfile
            copy(folder / name, out / name)


def pack_table(source: Path, out: Path) -> None:
    """Write a Parquet table of predictions again, the same values in about half the bytes."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(source)
    if not len(table):  # its columns have no types to encode
        shutil.copyfile(source, out)
        return
    encodings = {name: "BYTE_STREAM_SPLIT" for name in table.column_names if name.startswith("logit")}
    parquet.write_table(
        table, out, compression="zstd", compression_level=19, use_dictionary=["role"],
        column_encoding={"image_id": "DELTA_BYTE_ARRAY", **encodings},
    )  # fmt: skip


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


def ship(work: Work, name: str, root: Path, *, default: bool = False, cameras: Path | None = None) -> None:
    """Put a bundle into the package, in place of one of its name, whose gate it keeps.

    Args:
        work: a finished recipe.
        name: of the student, or of the teacher that is exported.
        root: the repository.
        default: use it where no model is named; the first that ships is the default in any case.
        cameras: a report.json on cameras that its recipe has never seen, for the card.
    """
    weights = root / "src" / "dermdistill" / "weights"
    with tempfile.TemporaryDirectory() as aside:
        gate = Path(aside) / GATE
        if (weights / name / GATE).is_file():
            shutil.copyfile(weights / name / GATE, gate)
        shutil.rmtree(weights / name, ignore_errors=True)
        shutil.copytree(work.bundle(name), weights / name)
        if gate.is_file():
            add_gate(weights / name, gate, weights / name, force=True)
    shutil.copyfile(Run(work.shipped.run(name)).weights(), weights / name / "model.safetensors")
    if cameras is not None:
        put_section(weights / name, UNKNOWN_CAMERAS, unknown_cameras(cameras))
    amend_card(weights / name, root / EXTERNAL)
    write_figures(weights / name, work.report / "report.json", work.recipe.name)
    if default or not (weights / "DEFAULT").exists():
        write_text(weights / "DEFAULT", name + "\n")


def write_figures(bundle: Path, report: Path, recipe: str) -> None:
    """Write what a report says of a bundle beside it, for `dermdistill models`; nothing where it says nothing.

    Args:
        bundle: the bundle's folder, named as the student is in the report.
        report: the report.json of its recipe.
        recipe: the recipe's name.
    """
    found = load_report(report)
    own = found.models.get(bundle.name)
    auroc = None if own is None else Area.of(own.metrics["auroc"])
    if own is not None and auroc is not None:
        of, inside = found.data, found.within
        figures = OutOfFold(
            model_onnx_sha256=sha256_file(bundle / GRAPH), recipe=recipe, images=of.n, melanomas=of.positives,
            auroc=auroc, within=None if inside is None else Area.of(inside.models[bundle.name].auroc),
            metrics=_areas({key: value for key, value in own.metrics.items() if key != "auroc"}),
            points={point: _areas(rates) for point, rates in own.realised.items()},
        )  # fmt: skip
        write_json(bundle / FIGURES, figures.model_dump(mode="json"))


def _areas(figures: Mapping[str, Figure]) -> dict[str, Area]:
    """Those of a report's figures that are defined."""
    found = {key: Area.of(figure) for key, figure in figures.items()}
    return {key: area for key, area in found.items() if area is not None}


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
