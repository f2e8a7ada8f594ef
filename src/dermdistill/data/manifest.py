"""The manifest: one row an image, with a schema that is checked whenever it is read or written."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd

from dermdistill.classes import CLASSES, MELANOMA
from dermdistill.data.reading import read_table
from dermdistill.errors import InputError, did_you_mean
from dermdistill.files import atomic_path, sha256_json

COLUMNS: dict[str, str] = {
    "image_id": "string",
    "path": "string",
    "sha256": "string",
    "width": "int64",
    "height": "int64",
    "diagnosis": "string",
    "melanoma": "int8",
    "lesion_id": "string",
    "patient_id": "string",
    "source": "string",
    "collection": "string",
    "licence": "string",
    "age": "float64",
    "sex": "string",
    "site": "string",
    "duplicate_group": "string",
}
"""Column names in order, with their pandas types. `collection`: clinic or camera within a source; `age`: in years."""

REQUIRED = ("image_id", "path", "sha256", "width", "height", "melanoma", "source")
"""Columns that never miss a value."""

HASHED = ("image_id", "sha256", "diagnosis", "melanoma", "lesion_id", "patient_id", "source")
"""What a manifest's hash covers: the images and their labels and groups, not where they lie."""

_SHOWN = 20


def validate(manifest: pd.DataFrame, *, unique: bool = True) -> pd.DataFrame:
    """Check a manifest and bring its columns into order and type, sorted by image id.

    Args:
        manifest: a table with at least the required columns; missing optional ones are filled with NA.
        unique: refuse image ids that are used more than once.

    Returns:
        A new table.

    Raises:
        InputError: lists everything that does not fit.
    """
    missing = [name for name in REQUIRED if name not in manifest.columns]
    if missing:
        raise InputError(f"the manifest lacks the columns {', '.join(missing)}; it needs {', '.join(REQUIRED)}")
    unknown = [name for name in manifest.columns if name not in COLUMNS]
    if unknown:
        raise InputError(
            f"the manifest has unknown columns: {', '.join(unknown)}; known are {', '.join(COLUMNS)}"
            + did_you_mean(unknown[0], COLUMNS)
        )
    table = manifest.reindex(columns=list(COLUMNS)).reset_index(drop=True)
    problems = [f"{name}: {count} values missing" for name in REQUIRED if (count := int(table[name].isna().sum()))]
    if problems:
        raise InputError("the manifest does not fit:\n  " + "\n  ".join(problems))
    for name, kind in COLUMNS.items():
        if kind.startswith("int") and (problem := _not_whole(table, name, kind)):
            problems.append(problem)
            continue
        try:
            table[name] = table[name].astype(kind)  # type: ignore[call-overload]
        except (TypeError, ValueError, OverflowError) as error:
            problems.append(f"{name}: expected {kind} ({error})")
    if not problems:
        problems = _find_problems(table, unique)
    if problems:
        shown = problems[:_SHOWN] + (["…"] if len(problems) > _SHOWN else [])
        raise InputError("the manifest does not fit:\n  " + "\n  ".join(shown))
    return table.sort_values("image_id", kind="stable").reset_index(drop=True)


def _not_whole(table: pd.DataFrame, name: str, kind: str) -> str | None:
    """What does not fit in a column of whole numbers; a cast would cut fractions off and wrap large numbers."""
    values = pd.to_numeric(table[name], errors="coerce").astype(float)
    limits = np.iinfo(kind)
    wrong = values.isna() | (values != values.round()) | (values < limits.min) | (values > limits.max)
    if name == "melanoma":
        wrong |= ~values.isin([0, 1])
    if not wrong.any():
        return None
    expected = "0 or 1" if name == "melanoma" else "whole numbers"
    rows = table.loc[wrong, ["image_id", name]].head(5).astype({name: str}).itertuples(index=False)
    got = ", ".join(f"{value.removesuffix('.0')} ({image})" for image, value in rows)
    return f"{name} must be {expected}: {int(wrong.sum())} rows are not, e.g. {got}"


def _find_problems(table: pd.DataFrame, unique: bool) -> list[str]:
    known = table["diagnosis"].isin(CLASSES)
    is_melanoma = table["melanoma"] == 1
    checks = {
        "image_id is used more than once": table["image_id"].duplicated(keep=False) & unique,
        "sha256 is not 64 lower-case hex digits": ~table["sha256"].str.fullmatch(r"[0-9a-f]{64}").astype(bool),
        "width and height must be positive": (table["width"] <= 0) | (table["height"] <= 0),
        f"diagnosis is none of {', '.join(CLASSES)}": ~known & table["diagnosis"].notna(),
        "melanoma disagrees with diagnosis": known & ((table["diagnosis"] == MELANOMA) != is_melanoma),
        "age is not within 0 to 120 years": table["age"].notna() & ~table["age"].between(0, 120),
        "sex is neither male nor female": table["sex"].notna() & ~table["sex"].isin(["male", "female"]),
    }
    problems = []
    for what, bad in checks.items():
        wrong = np.asarray(bad.fillna(False), bool)
        if wrong.any():
            names = ", ".join(table.loc[wrong, "image_id"].head(5))
            problems.append(f"{what}: {int(wrong.sum())} rows, e.g. {names}")
    return problems


def read_manifest(path: str | Path, *, unique: bool = True) -> pd.DataFrame:
    """Read a manifest from Parquet or CSV and check it; image paths come back absolute.

    Args:
        path: the file.
        unique: refuse image ids that are used more than once; `dermdistill.data.curate.check` looks for them itself.

    Raises:
        InputError: no such file, another format, no image, or everything that does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such manifest: {path}; make one with `dermdistill data import`")
    match path.suffix.lower():
        case ".parquet":
            try:
                table = pd.read_parquet(path)
            except Exception as error:  # damaged metadata raise nearly anything
                reason = " ".join(str(error).split()) or type(error).__name__
                raise InputError(f"{path} is not readable Parquet: {reason}; make it again") from None
        case ".csv":
            try:
                table = _typed(read_table(path))
            except InputError as error:
                raise InputError(f"{path} is not readable CSV: {error}") from None
        case other:
            raise InputError(f"a manifest is a .parquet or .csv file, got '{other}' in {path}")
    _require_images(table, path)
    table = validate(table, unique=unique)
    folder = path.resolve().parent
    table["path"] = [str(folder / name) for name in table["path"]]
    table["path"] = table["path"].astype("string")
    return table


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers as numbers, where all of their values are; others stay text, and `validate` lists them."""
    for name in table.columns:
        if COLUMNS.get(name, "string") != "string":
            words = table[name].replace({"True": "1", "False": "0"})
            with contextlib.suppress(ValueError):
                table[name] = pd.to_numeric(words).astype(float)
    return table


def write_manifest(manifest: pd.DataFrame, path: str | Path) -> None:
    """Check a manifest and write it as Parquet or CSV, whole or not at all.

    Paths of images beneath the manifest's folder are stored relative to it, so that the folder can be moved.
    """
    path = Path(path)
    _require_images(manifest, path)
    table = validate(manifest)
    folder = path.resolve().parent
    table["path"] = [_portable(Path(name), folder) for name in table["path"]]
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise InputError(f"a manifest is a .parquet or .csv file, got '{path.suffix}' in {path}")
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


def _require_images(manifest: pd.DataFrame, path: Path) -> None:
    if manifest.empty:
        raise InputError(f"{path}: a manifest without an image is of no use; look at what was set aside")


def _portable(path: Path, folder: Path) -> str:
    absolute = path if path.is_absolute() else Path.cwd() / path
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()


def manifest_hash(manifest: pd.DataFrame) -> str:
    """The SHA-256 of a manifest's images, labels and groups; paths and row order do not matter."""
    table = manifest.sort_values("image_id")[list(HASHED)].astype(object)
    table = table.where(table.notna(), None)
    rows = [[value.item() if isinstance(value, np.generic) else value for value in row] for row in table.to_numpy()]
    return sha256_json(rows)
