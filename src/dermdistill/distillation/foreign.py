"""A teacher that was run elsewhere: its table of logits, checked and kept as a finished run."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from dermdistill.classes import MELANOMA
from dermdistill.distillation.bank_files import read_stored, to_half, write_teacher_views
from dermdistill.distillation.bank_format import BankIdentity, BankTeacher
from dermdistill.distillation.bank_table import read_parquet, read_table, view_of
from dermdistill.distillation.identity import Origin, in_todays_form, teacher_identity
from dermdistill.distillation.spec import LogitsSpec, SoftenSpec, TeacherSpec
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import atomic_path, sha256_json
from dermdistill.images.preprocess import SOURCE_VERSION
from dermdistill.images.view_spec import RENDER_VERSION
from dermdistill.run import TABLE, Run, open_run
from dermdistill.training.cohort import Cohort

LOGITS: Final = "logits.parquet"
"""In the run folder: the table with the classes of the recipe, of the images of its manifest."""
VIEWS_ID: Final = "views_id"
"""The column that says which views a table was computed for."""


def views_id(asked: SoftenSpec) -> str:
    """What decides how the views of an image look, as 16 hex digits: seed, ranges and the version of rendering.

    Args:
        asked: of the recipe.
    """
    ranges = asked.spec.model_dump(mode="json", exclude_defaults=True)
    return sha256_json([asked.seed, ranges, RENDER_VERSION, SOURCE_VERSION])[:16]


def import_logits(
    spec: TeacherSpec, cohort: Cohort, folder: str | Path, asked: SoftenSpec, *, seed: int = 0,
    tell: Callable[[str], None] = print,
) -> Run:  # fmt: skip
    """Take over the logits of a teacher that was run elsewhere, or return the run if it is complete.

    The table must hold every view of every training image, and the plain image (view 0) of the validation and test
    images, whose predictions the report judges.

    Args:
        spec: the teacher, with `logits`.
        cohort: the images.
        folder: the run folder.
        asked: the views that students will be shown.
        seed: of the recipe; it decides nothing here.
        tell: gets a line about what is left out.

    Raises:
        InputError: the table lacks images, views or classes, has others, is of other views, or the folder holds
            another run.
    """
    if spec.logits is None:
        raise InputError(f"the teacher '{spec.name}' has no logits; train it with teach")
    identity = teacher_identity(spec, Origin(cohort.manifest_sha256, cohort.splits.sha256, cohort.split), seed)
    if cohort.fabric.is_global_zero:
        facts = {
            "model": TABLE,
            "classes": list(spec.class_names),
            "inputs": {**identity["inputs"], "bank": None},
            "split": cohort.split,
            "roles": {role: len(ids) for role, ids in cohort.roles.items()},
            "data_sources": sorted(cohort.manifest["source"].unique()),
            "data_licences": spec.logits.licences,
        }
        run = open_run(folder, identity, facts, older=in_todays_form)
        if not run.is_complete():
            rows = _read(spec.logits, spec.class_names, cohort.manifest, asked, tell)
            _require(rows, cohort, asked.views, spec.logits.file)
            _keep(run, rows, cohort, spec.class_names, asked)
    cohort.fabric.barrier()
    return Run(Path(folder))


def _read(
    spec: LogitsSpec, classes: tuple[str, ...], manifest: pd.DataFrame, asked: SoftenSpec, tell: Callable[[str], None]
) -> pd.DataFrame:
    """The rows of the manifest's images, of the views that are asked for."""
    table = read_parquet(spec.file)
    _refuse_other_views(table, asked, spec.file)
    known = dict(zip(manifest["image_id"], manifest["sha256"], strict=True))
    key, names = ("sha256", set(known.values())) if "sha256" in table.columns else ("image_id", set(known))
    if key in table.columns:
        foreign = ~table[key].isin(list(names))
        if foreign.all() and len(table):
            raise InputError(
                f"{spec.file} names none of the {len(known)} images of the manifest in its column {key}, "
                f"e.g. {table[key].iloc[0]!r}; the manifest has e.g. {next(iter(sorted(names)))!r}"
            )
        if foreign.any():
            tell(f"{spec.file}: {table.loc[foreign, key].nunique()} images are not in the manifest and left out")
        table = table[~foreign]
    rows = read_table(table, classes, known, spec.fold)
    return rows[rows["view"] == 0] if asked.views == 1 else rows  # then it does not matter which the others are


def _refuse_other_views(table: pd.DataFrame, asked: SoftenSpec, file: str) -> None:
    if asked.views == 1 or "view" not in table.columns:
        return
    mend = "`dermdistill views` writes the views and, in views.csv, their views_id"
    if VIEWS_ID not in table.columns:
        raise InputError(f"{file} does not say in a column {VIEWS_ID} for which views its logits are; {mend}")
    beside = table.loc[table["view"] != 0, VIEWS_ID]
    wrong = [str(found) for found in beside.unique() if found != views_id(asked)]
    if wrong:
        raise InputError(
            f"{file} holds the logits of other views: {VIEWS_ID} is {wrong[0]}, and that of the recipe's soften is "
            f"{views_id(asked)}; compute them for the views of this recipe: {mend}"
        )


def _require(rows: pd.DataFrame, cohort: Cohort, views: int, file: str) -> None:
    """Refuse a table that lacks rows, and say how many of what."""
    sha256_of = cohort.manifest.set_index("image_id")["sha256"]
    lacking = []
    for role, ids in cohort.roles.items():
        wanted = set(sha256_of.loc[ids])
        for view in range(views if role == "train" else 1):
            missing = wanted - set(rows.loc[rows["view"] == view, "sha256"])
            if missing:
                example = next(name for name in ids if sha256_of[name] in missing)
                lacking.append(f"view {view} of {len(missing)} of {len(wanted)} {role} images, e.g. {example}")
    if lacking:
        raise InputError(
            f"{file} lacks\n  " + "\n  ".join(lacking) + "\nstudents learn every view of every training image "
            "(soften.views), and the report judges the plain image (view 0) of the others"
        )


def _keep(run: Run, rows: pd.DataFrame, cohort: Cohort, classes: tuple[str, ...], asked: SoftenSpec) -> None:
    """Write the table and the predictions into the run folder, and end the run."""
    columns = [f"logit_{name}" for name in classes]
    rows = rows.astype(dict.fromkeys(columns, np.float32))
    with atomic_path(run.folder / LOGITS) as temporary:
        rows.to_parquet(temporary, index=False)
    manifest = cohort.manifest.set_index("image_id")
    parts = [pd.DataFrame(columns=["image_id", "role", *columns])]
    aurocs = {}
    for role in ("validation", "test"):
        ids = cohort.roles.get(role, [])
        if not len(ids):
            continue
        logits = view_of(rows, list(manifest.loc[ids, "sha256"]), classes, 0)
        aurocs[role] = _auroc(logits, manifest.loc[ids, "melanoma"].to_numpy(int), classes)
        part = pd.DataFrame(logits, columns=columns)
        part.insert(0, "image_id", list(ids))
        part.insert(1, "role", role)
        parts.append(part)
    with atomic_path(run.predictions) as temporary:
        pd.concat(parts[1:] or parts, ignore_index=True).to_parquet(temporary, index=False)
    run.finish(best_auroc=aurocs.get("validation"), model_sha256=_hash(rows, columns), views_id=views_id(asked))


def _auroc(logits: np.ndarray, melanoma: np.ndarray, classes: tuple[str, ...]) -> float | None:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probability = shifted[:, classes.index(MELANOMA)] / shifted.sum(1)
    return float(roc_auc_score(melanoma, probability)) if 0 < melanoma.sum() < len(melanoma) else None


def _hash(rows: pd.DataFrame, columns: list[str]) -> str:
    """Of the logits and of what they belong to; it stands for the hash of a network's weights."""
    names = "".join(f"{sha256}:{view}\n" for sha256, view in zip(rows["sha256"], rows["view"], strict=True))
    content = np.ascontiguousarray(rows[columns].to_numpy("<f4")).tobytes()
    return hashlib.sha256(" ".join(columns).encode() + b"\n" + names.encode() + content).hexdigest()


def write_table(folder: Path, identity: BankIdentity, run: Run, cohort: Cohort, asked: SoftenSpec) -> None:
    """Write the logits of an imported teacher into a bank, those that are not there yet.

    Args:
        folder: the bank; a new one gets all training images.
        identity: what the bank is for.
        run: the teacher, of `import_logits`.
        cohort: the images.
        asked: the views.

    Raises:
        InputError: the table is of other views, or lacks some, or the folder holds another bank.
        IntegrityError: the table was changed after it had been imported.
    """
    header, path = run.finished(), run.folder / LOGITS
    columns = [f"logit_{name}" for name in header.classes]
    rows = read_parquet(path)
    if not {"sha256", "view", *columns} <= set(rows.columns) or _hash(rows, columns) != header.model_sha256:
        raise IntegrityError(f"{path} is missing, or was changed after it was imported; import it again")
    if asked.views > 1 and header.plain().get(VIEWS_ID) != views_id(asked):
        raise InputError(
            f"the logits of the teacher '{header.name}' are of other views ({header.plain().get(VIEWS_ID)}) than the "
            f"recipe's ({views_id(asked)}); compute them for these views"
        )
    if (folder / "bank.json").exists():
        images = read_stored(folder).images
    else:
        trained_on = cohort.manifest["image_id"].isin(cohort.roles["train"])
        images = tuple(sorted(set(cohort.manifest.loc[trained_on, "sha256"])))
    found = [view_of(rows, images, header.classes, view) for view in range(asked.views)]
    halves = [to_half(logits, header.name) for logits in found]
    write_teacher_views(folder, identity, BankTeacher.of_run(header.plain()), images, halves)
