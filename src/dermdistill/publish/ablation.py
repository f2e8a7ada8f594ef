"""What each parameter of the views gives on cameras that were not trained on: one row for each, against a base.

    python -m dermdistill.publish.ablation recipes/views.toml WORK --train --data DIR    trains the rows
    python scripts/gpu_release.py recipes/views.toml --ablation …                        the same on a GPU elsewhere
    python -m dermdistill.publish.ablation recipes/views.toml WORK    writes WORK/views.md, .json and .svg

WORK holds a work folder for each row, named as its recipe: NAME-base, NAME-sharpness, … A row trains the recipe's
students, which differ in their seeds alone, with the base's views and one change. Figures are melanoma AUROCs on the
sources or collections that each training left out, averaged over them and over the seeds, and within collections, where
the camera is no clue; and paired differences to the base. Intervals are of a bootstrap of lesions and of seeds.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dermdistill.classes import DISCLAIMER, MELANOMA
from dermdistill.data.manifest import manifest_hash, read_manifest
from dermdistill.errors import DermdistillError, InputError, no_such
from dermdistill.evaluate.analyses.sources import draw_within
from dermdistill.evaluate.intervals import Difference, Figure, clusters, difference, figure, in_blocks, resamples
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.evaluate.predictions import read_model
from dermdistill.files import write_json, write_text
from dermdistill.images.view_spec import ViewSpec
from dermdistill.publish.ablation_plot import forest
from dermdistill.recipe.parts import FINAL, part_names
from dermdistill.recipe.run import of_kind, run_recipe
from dermdistill.recipe.spec import Recipe, load_recipe
from dermdistill.recipe.work import Work
from dermdistill.run import Run

FORMAT = "dermdistill-ablation/1"
BASE = "base"
ROWS: dict[str, dict[str, Any]] = {
    BASE: {},
    "sharpness": {"sharpness": {"share": 0.7, "range": (-1, 1.5)}},
    "resample": {"resample": {"share": 0.5, "range": (48, 112)}},
    "jpeg": {"jpeg": {"share": 0.5, "range": (30, 95)}},
    "noise": {"noise": {"share": 0.5, "range": (0.005, 0.04)}},
    "gamma": {"gamma": {"share": 0.5, "range": (0.7, 1.4)}},
    "illumination": {"illumination": {"share": 0.5, "range": (0.02, 0.25)}},
    "vignette": {"vignette": {"share": 0.5, "range": (0.05, 0.5)}},
    "hair": {"hair": {"share": 0.3, "range": (2, 25)}},
    "ruler": {"ruler": {"share": 0.2, "range": (0.3, 0.9)}},
    "no-colour": {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "white_balance": 0},
    "narrow-colour": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.01, "white_balance": 0.04},
    "wide-colour": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.4, "hue": 0.04, "white_balance": 0.16},
    "narrow-zoom": {"zoom": (0.9, 1.1), "aspect": 1.05},
    "wide-zoom": {"zoom": (0.65, 1.5), "aspect": 1.2},
}
"""What each row changes in the base's views."""


def recipes(recipe: Recipe, rows: Sequence[str] | None = None) -> list[Recipe]:
    """The recipe of each row.

    Args:
        recipe: the base; its students differ in their seeds alone and learn no soft labels.
        rows: names in `ROWS`, by default all; the base always comes first.

    Raises:
        InputError: an unknown row, or a recipe that no ablation can be made of.
    """
    unknown = sorted(set(rows or ()) - set(ROWS))
    if unknown:
        raise no_such("row", unknown[0], ROWS)
    alike = {student.model_copy(update={"name": "", "seed": None}) for student in recipe.students}
    if len(alike) > 1 or any(student.labels != "none" for student in recipe.students):
        raise InputError("the students of an ablation must differ in their seeds alone and have labels = 'none'")
    if recipe.split.scheme not in ("collections", "sources"):
        raise InputError(f"an ablation leaves out collections or sources, got split.scheme = '{recipe.split.scheme}'")
    wanted = [BASE, *(name for name in rows or ROWS if name != BASE)]
    base = recipe.soften.spec.model_dump()
    made = []
    for name in wanted:
        views = ViewSpec.model_validate({**base, **ROWS[name]})
        soften = recipe.soften.model_copy(update={"spec": views})
        made.append(recipe.model_copy(update={"name": f"{recipe.name}-{name}", "soften": soften}))
    return made


@dataclass(frozen=True)
class Judged:
    """The images of all that was left out, and how they are drawn."""

    parts: tuple[str, ...]
    students: tuple[str, ...]
    table: pd.DataFrame
    """Columns image_id, melanoma, part."""
    weights: np.ndarray
    """Bootstrap weights of the images, [R, N]."""
    seeds: np.ndarray
    """Which students each replicate averages, [R, S]."""


def judge(recipe: Recipe, work: Path, replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The figures of all rows that are finished.

    Args:
        recipe: the base.
        work: the folder of the rows' work folders.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `manifest_sha256`, `images`, `melanomas`, `left_out`, `students`, `unfinished` rows, and `rows` with `views`,
        `auroc`, `sd` over the seeds, `difference` to the base, both for each left-out part, and both `within`
        collections.

    Raises:
        InputError: the base is not finished.
    """
    known = dict(zip(ROWS, recipes(recipe), strict=True))
    folders = {name: work / one.name for name, one in known.items()}
    wanted = [(part, student.name) for part in part_names(recipe.split) if part != FINAL for student in recipe.students]
    runs = {
        name: {key: Run(folder / key[0] / "students" / key[1]) for key in wanted} for name, folder in folders.items()
    }
    finished = [name for name in ROWS if all(run.is_complete() for run in runs[name].values())]
    if BASE not in finished:
        raise InputError(f"the row '{BASE}' is not finished: {folders[BASE]}; train it first, all others need it")
    manifest = read_manifest(folders[BASE] / "manifest.parquet")
    judged = _judged(recipe, manifest, runs[BASE], replicates, seed)
    values = {name: _values(judged, runs[name]) for name in finished}
    rows = {name: _row(judged, values[name], values[BASE], ROWS[name]) for name in finished}
    return {
        "format": FORMAT,
        "manifest_sha256": manifest_hash(manifest),
        "images": len(judged.table),
        "melanomas": int(judged.table["melanoma"].sum()),
        "left_out": list(judged.parts),
        "students": list(judged.students),
        "base": recipe.soften.spec.model_dump(mode="json"),
        "unfinished": [name for name in ROWS if name not in finished],
        "rows": rows,
    }


def _judged(
    recipe: Recipe, manifest: pd.DataFrame, runs: dict[tuple[str, str], Run], replicates: int, seed: int
) -> Judged:
    known = manifest.set_index("image_id", drop=False)
    students = tuple(student.name for student in recipe.students)
    parts = tuple(dict.fromkeys(part for part, _ in runs))
    tables = []
    for part in parts:
        tested = read_model(runs[part, students[0]].folder).ids("test")
        tables.append(known.loc[tested].assign(part=part))
    table = pd.concat(tables, ignore_index=True)
    weights = resamples(clusters(table.drop(columns="part")), replicates, seed)
    seeds = np.random.default_rng([seed, 1]).integers(len(students), size=(replicates + 1, len(students)))
    seeds[0] = np.arange(len(students))  # the first replicate is that of the data as they are
    return Judged(parts, students, table, weights, seeds)


@dataclass(frozen=True)
class Values:
    """A row's melanoma AUROCs in each replicate."""

    parts: np.ndarray
    """Of each left-out part and student, [parts, students, R]."""
    within: np.ndarray | None
    """Within collections, of each student, [students, R]; None if there is but one collection."""


def _values(judged: Judged, runs: dict[tuple[str, str], Run]) -> Values:
    images, truth = judged.table["image_id"], judged.table["melanoma"].to_numpy(float)
    of = {part: (judged.table["part"] == part).to_numpy() for part in judged.parts}
    scored = {}
    for student in judged.students:
        p = np.empty(len(judged.table))
        for part, rows in of.items():
            model = read_model(runs[part, student].folder)
            logits = model.logits(images[rows])
            p[rows] = np.exp(logits[:, model.classes.index(MELANOMA)] - np.logaddexp.reduce(logits, axis=1))
        scored[student] = Scored(p, truth, None, None)
    parts = np.empty((len(of), len(scored), len(judged.weights)))
    for row, rows in enumerate(of.values()):
        for column, one in enumerate(scored.values()):
            here = Scored(one.p[rows], one.y[rows], None, None)
            parts[row, column] = in_blocks(partial(auroc, here), judged.weights[:, rows])
    within = draw_within(judged.table, scored, judged.weights)
    return Values(parts, np.stack(list(within.values())) if within else None)


def _row(judged: Judged, values: Values, base: Values, views: dict[str, Any]) -> dict[str, Any]:
    ours, theirs = (_over_seeds(judged, one.parts) for one in (values, base))
    is_base = values is base
    once = values.parts[:, :, 0].mean(0)
    found = {
        "views": views,
        **_compared(ours.mean(0), theirs.mean(0), is_base),
        "sd": float(once.std(ddof=1)) if len(once) > 1 else None,
        "by_part": {part: _compared(ours[row], theirs[row], is_base) for row, part in enumerate(judged.parts)},
        "within": None,
    }
    if values.within is not None and base.within is not None:
        inside = [_over_seeds(judged, one[None])[0] for one in (values.within, base.within)]
        found["within"] = _compared(inside[0], inside[1], is_base)
    return found


def _over_seeds(judged: Judged, values: np.ndarray) -> np.ndarray:
    """The mean over the seeds that each replicate draws, [parts, R]."""
    drawn = np.take_along_axis(values, judged.seeds.T[None], axis=1)
    return drawn.mean(1)


def _compared(values: np.ndarray, base: np.ndarray, is_base: bool) -> dict[str, Any]:
    found: Figure = figure(values, "what was left out lacks melanomas or others")
    gap: Difference | None = None if is_base else difference(values, base)
    return {"auroc": asdict(found), "difference": None if gap is None else asdict(gap)}


def page(found: dict[str, Any], name: str) -> str:
    """The table as Markdown.

    Args:
        found: what `judge` gave.
        name: of the base recipe.
    """
    several = len(found["left_out"]) > 1
    head = ["row", "change of the views", "AUROC", "minus base", "AUROC within collections", "minus base"]
    head += found["left_out"] if several else []
    lines = [
        f"# What each view parameter gives on other cameras: {name}", "", f"**{DISCLAIMER}**", "",
        f"Melanoma AUROC on what was left out of training ({', '.join(found['left_out'])}: {found['images']:,} images, "
        f"{found['melanomas']:,} melanomas), the mean of {len(found['students'])} seeds, with 95 % intervals of a "
        "bootstrap of lesions and seeds. Differences are paired. Within collections a melanoma is compared only with "
        f"others of its clinic or camera. Manifest {found['manifest_sha256'][:12]}.", "",
        f"| {' | '.join(head)} |", f"|{'---|' * len(head)}",
    ]  # fmt: skip
    for row, entry in found["rows"].items():
        change = ", ".join(f"{key} {_range_text(value)}" for key, value in entry["views"].items()) or "none"
        within = entry["within"] or {"auroc": None, "difference": None}
        cells = [row, change]
        cells += [text for one in (entry, within) for text in (_shown(one["auroc"]), _shown(one["difference"], True))]
        cells += [_shown(part["difference"], True) for part in entry["by_part"].values()] if several else []
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"![Differences to the base with their intervals]({name}.svg)"]
    if found["unfinished"]:
        lines += ["", f"Not finished: {', '.join(found['unfinished'])}."]
    return "\n".join([*lines, ""])


def _range_text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{_range_text(value['range'])} in {value['share']:.0%} of the views"
    return f"{value[0]:g} to {value[1]:g}" if isinstance(value, tuple) else f"{value:g}"


def _shown(entry: dict[str, Any] | None, signed: bool = False) -> str:
    if entry is None:
        return ""
    if entry["value"] is None:
        return str(entry["reason"])
    form = "{:+.3f}" if signed else "{:.3f}"
    bounds = "" if entry["low"] is None else f" [{form.format(entry['low'])}, {form.format(entry['high'])}]"
    return form.format(entry["value"]) + bounds


def train_rows(recipe: Recipe, folder: Work, rows: Sequence[str] | None, tell: Callable[[str], None]) -> None:
    """Train the students of each row, or go on with them; all rows share one manifest and its splits.

    Args:
        recipe: the base.
        folder: where the rows' work folders lie, and the data and the cache.
        rows: names in `ROWS`, by default all.
        tell: called with a line about each stage.
    """
    from dermdistill.training.loop import make_fabric

    fabric = make_fabric("cpu", 1, recipe.precision)
    fabric.launch()
    works = [replace(folder, recipe=one, folder=folder.folder / one.name) for one in recipes(recipe, rows)]
    for work in works:
        tell(f"row {work.recipe.name}")
        if work.folder != works[0].folder:
            _share(works[0].folder, work.folder)
        run_recipe(work, fabric, tell, only=of_kind("distill"))


def _share(made: Path, other: Path) -> None:
    """The stages of data and splits, which do not depend on the views, from one row for another."""
    for name in ("manifest.parquet", "splits.json", "set_aside.csv", "stages/data.json"):
        if (made / name).exists() and not (other / name).exists():
            (other / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(made / name, other / name)


def write_table(recipe: Recipe, work: Path, out: Path, replicates: int = 1000) -> Path:
    """Write the figures of the finished rows as NAME.json, NAME.svg and NAME.md into `out`; returns the last."""
    found = judge(recipe, work, replicates)
    write_text(out / f"{recipe.name}.svg", forest(found["rows"]))
    write_json(out / f"{recipe.name}.json", found)
    write_text(out / f"{recipe.name}.md", page(found, recipe.name))
    return out / f"{recipe.name}.md"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="the base")
    parser.add_argument("work", type=Path, help="folder of the rows' work folders")
    parser.add_argument("--out", type=Path, help="by default the same folder")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--train", action="store_true", help="train the rows first; what is done is skipped")
    parser.add_argument("--rows", nargs="*", help="to train, by default all")
    parser.add_argument("--data", type=Path, help="folder of the recipe's sources")
    parser.add_argument("--cache", type=Path, help="folder of decoded images")
    asked = parser.parse_args(arguments)
    recipe = load_recipe(asked.recipe)
    if asked.train:
        train_rows(recipe, Work(recipe, asked.work, asked.data, asked.cache), asked.rows, partial(print, flush=True))
    print(write_table(recipe, asked.work, asked.out or asked.work, asked.replicates))


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
