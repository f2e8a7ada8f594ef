"""Any table of probabilities and labels, of models that are not ours, as something that `evaluate` judges."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dermdistill.classes import BINARY_CLASSES, CLASSES, MELANOMA
from dermdistill.data.manifest import COLUMNS
from dermdistill.data.reading import TABLE_SUFFIXES, read_table
from dermdistill.errors import InputError, no_such
from dermdistill.evaluate.predictions import ROLES, ModelPredictions

_IDS = ("image_id", "id", "image", "isic_id", "img_id", "filename", "file", "path")
_LABELS = ("label", "melanoma", "target", "y_true", "truth", "ground_truth", "y", "diagnosis", "dx", "malignant")
_PROBABILITIES = ("probability", "p_melanoma", "prob", "proba", "p", "score", "y_prob", "y_score", "prediction")
_GROUPS = ("lesion_id", "lesion", "patient_id", "patient", "group")
_DIAGNOSES = ("diagnosis", "dx")
_SUBGROUPS = ("source", "collection", "sex", "site")
_YES = frozenset({"1", "1.0", "true", "yes", "mel", "melanoma", "malignant", "positive"})
_NO = frozenset({"0", "0.0", "false", "no", "benign", "other", "negative", "not melanoma"})


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns; None where a common name is looked for."""

    id: str | None = None
    label: str | None = None
    probabilities: tuple[str, ...] = field(default=())
    """One column a model."""
    group: str | None = None
    """Rows of one lesion or patient, which the bootstrap draws together; without any, each row stands alone."""
    positive: str | None = None
    """The label that means melanoma, where it is no common one."""


def read_predictions(
    path: str | Path, columns: Columns = Columns(), subgroups: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, ModelPredictions]]:
    """Read a CSV, TSV, Excel or Parquet table with an id, a label and a probability of melanoma in each row.

    Columns named source, collection, sex, age and site make subgroups; one named role ('validation' or 'test') says
    which rows choose the thresholds, and one named diagnosis or dx what the lesions are that are no melanoma.

    Args:
        path: the table.
        columns: how its columns are named.
        subgroups: further columns whose values make subgroups; the returned table has them too.

    Returns:
        A table with the columns of a manifest, and the models' predictions by the names of their columns (of one
        model, by the file's name). The probabilities are judged as they are.

    Raises:
        InputError: no such table, or everything in it that does not fit.
    """
    path = Path(path)
    table = _read(path)
    if table.empty:
        raise InputError(f"{path} has no rows")
    columns = columns or Columns()
    named, probabilities = _find(table, columns, path)
    rows = pd.DataFrame({name: table[column].astype("string").str.strip() for name, column in named.items()})
    problems, melanoma, diagnosis = _labels(rows["label"], columns.positive)
    values = table[probabilities].apply(pd.to_numeric, errors="coerce")
    problems += _find_problems(rows, values)
    if problems:
        raise InputError(f"{path} does not fit:\n  " + "\n  ".join(problems))
    roles = table["role"].astype("string") if _has_roles(table) else pd.Series("test", table.index)
    names = {name: path.stem if len(probabilities) == 1 else name for name in probabilities}
    models = {names[name]: _model(rows["id"], roles, values[name]) for name in probabilities}
    made = rows.assign(melanoma=melanoma, diagnosis=_diagnoses(table, named, diagnosis))
    manifest = _manifest(made, table, path.stem)
    if missing := [name for name in subgroups if name not in table]:
        raise InputError(f"subgroups by '{missing[0]}': {no_such('column', missing[0], map(str, table.columns))}")
    return manifest.assign(**{name: table[name].astype("string") for name in subgroups if name not in manifest}), models


def _manifest(rows: pd.DataFrame, table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Rows of id, melanoma, diagnosis and perhaps group, and the table's subgroups, with the columns of a manifest."""
    manifest = pd.DataFrame({
        "image_id": rows["id"], "path": rows["id"],
        "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in rows["id"]],
        "width": 0, "height": 0, "diagnosis": rows["diagnosis"], "melanoma": rows["melanoma"], "source": source,
    })  # fmt: skip
    manifest = manifest.reindex(columns=list(COLUMNS)).astype(COLUMNS)
    if "group" in rows:
        manifest["lesion_id"] = rows["group"]
    for name in _SUBGROUPS:
        if name in table:
            manifest[name] = table[name].astype("string")
    if "age" in table:
        manifest["age"] = pd.to_numeric(table["age"], errors="coerce")
    return manifest.assign(source=manifest["source"].fillna("not given"))


def _diagnoses(table: pd.DataFrame, named: dict[str, str], labels: np.ndarray) -> np.ndarray | pd.Series:
    """The label where it is a diagnosis, or else a column of its own, in the table's own words."""
    if pd.notna(labels).any():
        return labels
    own = next((name for name in _DIAGNOSES if name in table and name not in named.values()), None)
    return labels if own is None else table[own].astype("string").str.strip()


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"no such table: {path}")
    if path.suffix.lower() in TABLE_SUFFIXES:
        return read_table(path)
    if path.suffix.lower() != ".parquet":
        known = ", ".join(TABLE_SUFFIXES) + " or .parquet"
        raise InputError(f"a table of predictions is a {known} file, got '{path.suffix}' in {path}")
    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a readable Parquet file: {reason}; make it again") from None


def _find(table: pd.DataFrame, columns: Columns, path: Path) -> tuple[dict[str, str], list[str]]:
    """The columns that hold id, label, group and probabilities."""
    wanted = {"id": (columns.id, _IDS), "label": (columns.label, _LABELS), "group": (columns.group, _GROUPS)}
    lower = {str(name).strip().lower(): str(name) for name in table.columns}
    named, problems = {}, []
    for what, (given, common) in wanted.items():
        found = given if given is not None else next((lower[name] for name in common if name in lower), None)
        if found is None and what != "group":
            problems.append(f"no column of the {what}: name it with --{what}-column (looked for {', '.join(common)})")
        elif found is not None and found not in table:
            problems.append(f"no column '{found}', which is to hold the {what}")
        elif found is not None:
            named[what] = found
    probabilities = list(columns.probabilities)
    if not probabilities:
        free = [lower[name] for name in _PROBABILITIES if name in lower and lower[name] not in named.values()]
        probabilities = free[:1]
    if not probabilities:
        looked = ", ".join(_PROBABILITIES)
        problems.append(f"no column of the probability: name it with --probability-column (looked for {looked})")
    problems += [f"no column '{name}', which is to hold a probability" for name in probabilities if name not in table]
    if problems:
        raise InputError(
            f"{path} lacks columns of a table of probabilities (with a manifest, name models with --model); it has "
            f"{', '.join(map(str, table.columns))}:\n  " + "\n  ".join(problems)
        )
    return named, probabilities


def _labels(labels: pd.Series, positive: str | None) -> tuple[list[str], np.ndarray, np.ndarray]:
    """What does not fit, melanoma 0/1 [N], and the diagnoses [N] where all labels are diagnoses that we know."""
    if labels.isna().any():
        return [_rows("no label", labels.isna())], np.zeros(len(labels), int), np.full(len(labels), None)
    words = labels.str.lower()
    if positive is not None:
        melanoma = words == positive.lower()
        problems = [] if melanoma.any() else [f"no label is '{positive}', they are {_distinct(labels)}"]
        return problems, melanoma.to_numpy(int), np.full(len(labels), None)
    if words.isin(CLASSES).all():
        return [], (words == MELANOMA).to_numpy(int), words.to_numpy(object)
    known = words.isin(_YES | _NO)
    problems = []
    if not known.all():
        problems = [
            f"labels must be 0 or 1, or say what means melanoma with --positive; got {_distinct(labels[~known])}"
        ]
    return problems, words.isin(_YES).to_numpy(int), np.full(len(labels), None)


def _find_problems(rows: pd.DataFrame, values: pd.DataFrame) -> list[str]:
    checks = {"no id": rows["id"].isna(), "an id that is used more than once": rows["id"].duplicated(keep=False)}
    for name, column in values.items():
        outside = (column < 0) | (column > 1)
        checks[f"no number in '{name}'"] = column.isna()
        checks[f"'{name}' outside 0 to 1; scores and logits must be made probabilities"] = outside
    return [_rows(what, bad) for what, bad in checks.items() if bad.any()]


def _rows(what: str, bad: pd.Series) -> str:
    lines = ", ".join(str(index + 2) for index in np.flatnonzero(bad)[:5])
    return f"{what}: {int(bad.sum())} rows, e.g. line {lines}"


def _distinct(labels: pd.Series) -> str:
    found = sorted(labels.dropna().unique())
    return ", ".join(repr(str(label)) for label in found[:6]) + (", …" if len(found) > 6 else "")


def _has_roles(table: pd.DataFrame) -> bool:
    return "role" in table and bool(table["role"].isin(ROLES).all())


def _model(ids: pd.Series, roles: pd.Series, p: pd.Series) -> ModelPredictions:
    """Two classes whose softmax is the probability again; 0 and 1 become the nearest numbers that have a logit."""
    bounded = p.to_numpy(float).clip(np.finfo(float).tiny, 1 - np.finfo(float).epsneg)
    logits = pd.DataFrame({"image_id": ids, "role": roles, "logit_other": 0.0})
    logits[f"logit_{MELANOMA}"] = np.log(bounded) - np.log1p(-bounded)
    return ModelPredictions(BINARY_CLASSES, logits, temperature=1.0)
