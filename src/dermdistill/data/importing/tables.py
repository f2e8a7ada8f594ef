"""Readers of the tables that the ISIC family's data sets come with, each to one common form.

The common form is a table with `image_id` (what the source calls the image, maybe with folder and extension) and, as
far as the source knows them, `word` (the diagnosis in the source's word), `melanoma` (0/1), `lesion_id`, `patient_id`,
`collection`, `age`, `sex`, `site`, `licence`, `image_type` and `file`.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from dermdistill.classes import MELANOMA
from dermdistill.data.importing.matching import without_suffix
from dermdistill.data.reading import TABLE_SUFFIXES, numbers, read_table
from dermdistill.data.sources import diagnosis
from dermdistill.errors import InputError
from dermdistill.images.walk import is_litter

RENAMED = {
    "image": "image_id",
    "image_name": "image_id",
    "isic_id": "image_id",
    "dx": "word",
    "diagnosis": "word",
    "age_approx": "age",
    "age_approximate": "age",
    "dataset": "collection",
    "attribution": "collection",
    "localization": "site",
    "anatom_site_general": "site",
    "anatom_site_general_challenge": "site",
    "copyright_license": "licence",
}
KEPT = (
    "image_id",
    "word",
    "melanoma",
    "lesion_id",
    "patient_id",
    "collection",
    "age",
    "sex",
    "site",
    "licence",
    "image_type",
    "file",
)


def tables(folder: Path, *patterns: str) -> list[Path]:
    """The tables that fit, in the folder or one below it, where publishers' archives put them when unpacked."""
    deep = [pattern for name in patterns for pattern in (name, f"*/{name}")]
    found = {path for pattern in deep for path in folder.glob(pattern) if path.suffix.lower() in TABLE_SUFFIXES}
    return sorted(
        path for path in found if path.is_file() and not any(map(is_litter, path.relative_to(folder).parts))
    )  # fmt: skip


def common(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A table in the common form; columns that the form does not know are left out.

    Raises:
        InputError: no column names the images.
    """
    for old, new in RENAMED.items():
        if old in table.columns and new not in table.columns:
            table = table.rename(columns={old: new})
    if "image_id" not in table.columns:
        raise InputError(f"{path} has no column image_id, image, image_name or isic_id; it has {list(table.columns)}")
    kept = table[[name for name in KEPT if name in table.columns]].copy()
    kept["image_id"] = kept["image_id"].map(without_suffix, na_action="ignore").astype("string")
    return kept


def joined(rows: Iterable[pd.DataFrame], extra: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All rows, each once, with the columns that only the extra tables have."""
    table = pd.concat(list(rows), ignore_index=True).drop_duplicates(ignore_index=True)
    others = list(extra)
    if others:
        more = pd.concat(others, ignore_index=True).dropna(subset="image_id").drop_duplicates("image_id")
        more = more[["image_id", *[name for name in more.columns if name not in table.columns]]]
        table = table.merge(more, on="image_id", how="left", validate="many_to_one")
    return table


_NO_CLASS = ("image", "image_id", "lesion_id", "score_weight", "validation_weight")


def one_hot(table: pd.DataFrame, path: Path) -> pd.Series:
    """The name of the column that is 1 in each row."""
    columns = [name for name in table.columns if name not in _NO_CLASS]
    values = table[columns].apply(lambda column: numbers(column, path))
    wrong = (values == 1).sum(axis=1) != 1
    if wrong.any():
        raise InputError(f"{path}: {int(wrong.sum())} rows do not have exactly one 1 among {columns}")
    return values.idxmax(axis=1).astype("string")


def ham10000(folder: Path) -> pd.DataFrame:
    """HAM10000_metadata.csv (or .tab, as Dataverse serves it)."""
    return joined([common(read_table(path), path) for path in tables(folder, "HAM10000_metadata*")], [])


def isic2016(folder: Path) -> pd.DataFrame:
    """ISBI2016_ISIC_Part3*_GroundTruth.csv: no header; benign or malignant, where malignant means melanoma."""
    found = []
    for path in tables(folder, "ISBI2016*Part3*GroundTruth.csv"):
        table = read_table(path, header=False)
        if table.shape[1] != 2:
            raise InputError(f"{path}: expected two columns without a header, image and label, got {table.shape[1]}")
        table.columns = pd.Index(["image_id", "label"])
        label = table["label"].str.strip().str.lower()
        known = {"benign": 0, "malignant": 1, "0": 0, "0.0": 0, "1": 1, "1.0": 1}
        if not label.isin(known).all():
            raise InputError(f"{path}: labels must be benign or malignant, got {sorted(set(label) - set(known))[:5]}")
        found.append(common(table.assign(melanoma=label.map(known)), path))
    return joined(found, [])


def isic2017(folder: Path) -> pd.DataFrame:
    """ISIC-2017*Part3*GroundTruth.csv: melanoma, seborrhoeic keratosis, or else nevus; and *_Data_metadata.csv."""
    found = []
    for path in tables(folder, "ISIC-2017*Part3*GroundTruth.csv"):
        table = read_table(path)
        melanoma, keratosis = (numbers(table[name], path) == 1 for name in ("melanoma", "seborrheic_keratosis"))
        if (melanoma & keratosis).any():
            raise InputError(f"{path}: {int((melanoma & keratosis).sum())} rows are melanoma and keratosis at once")
        word = melanoma.map({True: "melanoma", False: "nevus"}).mask(keratosis, "seborrheic keratosis")
        found.append(common(table.drop(columns=["melanoma"]).assign(word=word), path))
    return joined(found, [common(read_table(path), path) for path in tables(folder, "ISIC-2017*etadata*.csv")])


def isic2018(folder: Path) -> pd.DataFrame:
    """ISIC2018_Task3*GroundTruth, one-hot in seven columns or, as Dataverse serves it, like HAM10000's; groupings."""
    found = []
    for path in tables(folder, "ISIC2018_Task3*GroundTruth.*"):
        table = read_table(path)
        table = table if "dx" in table.columns else table.assign(word=one_hot(table, path))
        found.append(common(table, path))
    return joined(
        found, [common(read_table(path), path) for path in tables(folder, "ISIC2018_Task3*LesionGroupings.*")]
    )


def isic2019(folder: Path) -> pd.DataFrame:
    """ISIC_2019*GroundTruth.csv, one-hot in nine columns, and *Metadata.csv."""
    found = []
    for path in tables(folder, "ISIC_2019*GroundTruth.csv"):
        table = read_table(path)
        found.append(common(table.assign(word=one_hot(table, path)), path))
    return joined(found, [common(read_table(path), path) for path in tables(folder, "ISIC_2019*Metadata.csv")])


def isic2020(folder: Path) -> pd.DataFrame:
    """ISIC_2020*GroundTruth*.csv or Kaggle's train.csv; target 1 is melanoma, 'unknown' diagnoses are benign."""
    found = []
    versions = ("ISIC_2020*GroundTruth_v2.csv", "ISIC_2020*GroundTruth*.csv", "train.csv")
    for path in next(filter(None, (tables(folder, pattern) for pattern in versions)), []):
        table = read_table(path)
        word = table["diagnosis"].str.strip() if "diagnosis" in table.columns else pd.Series(pd.NA, table.index)
        unknown = word.isna() | (word.str.lower() == "unknown") | word.str.startswith("atypical")
        malignant = numbers(table["target"], path) == 1
        word = word.mask(unknown, malignant.map({True: "melanoma", False: "benign"}))
        found.append(common(table.drop(columns=["diagnosis"], errors="ignore").assign(word=word), path))
    return joined(found, [])


def isic2024(folder: Path) -> pd.DataFrame:
    """SLICE-3D: Kaggle's train-metadata.csv, or ISIC_2024*Supplement.csv with metadata.csv beside the images.

    `target` and `malignant` mean malignant, not melanoma, so that the diagnosis (iddx_*) is needed.
    """
    found = []
    kinds = ("train-metadata.csv", "ISIC_2024*Supplement.csv", "ISIC_2024*etadata.csv", "ISIC_2024*GroundTruth.csv")
    for path in next(filter(None, (tables(folder, pattern) for pattern in kinds)), []):
        table = read_table(path)
        finest = [name for name in ("iddx_4", "iddx_3", "iddx_2", "iddx_1", "iddx_full") if name in table.columns]
        if not finest:
            raise InputError(
                f"{path} has no iddx_* columns: its target means malignant, which need not be melanoma. Put the table "
                "with the diagnoses beside it: ISIC_2024_Training_Supplement.csv, or Kaggle's train-metadata.csv"
            )
        levels = table[finest].apply(lambda column: column.str.split("::"))
        words = pd.concat([levels[name].str[place] for place in (-1, -2, -3, -4, -5) for name in finest], axis=1)
        found.append(common(table.assign(word=hierarchy(words)), path))
    return joined(found, [common(read_table(path), path) for path in tables(folder, "metadata.csv")])


def isic_archive(folder: Path) -> pd.DataFrame:
    """metadata.csv as `isic image download` writes it; its columns vary with the client and the collection."""
    found = []
    for path in tables(folder, "metadata.csv"):
        table = read_table(path)
        finest = [f"diagnosis_{level}" for level in (5, 4, 3, 2, 1)] + ["diagnosis", "benign_malignant"]
        present = [name for name in finest if name in table.columns]
        if not present:
            raise InputError(f"{path} has no diagnosis column; it has {list(table.columns)}")
        found.append(common(table.drop(columns=["diagnosis"], errors="ignore").assign(
            word=hierarchy(table[present])), path))  # fmt: skip
    return joined(found, [])


def hierarchy(words: pd.DataFrame) -> pd.Series:
    """For each row the word of a hierarchy that tells most.

    Args:
        words: levels of diagnosis, the finest first.

    Returns:
        A melanoma that any level names, unless another level says that it is benign or indeterminate; else the finest
        word that the diagnosis table knows; else the finest word.
    """

    def pick(row: tuple[str | None, ...]) -> str | None:
        there = [word for word in row if word is not None]
        meant = [(word, diagnosis(word)) for word in there]
        melanoma = next((word for word, meaning in meant if meaning == MELANOMA), None)
        if melanoma:
            against = [word for word in there if word.lower().startswith(("benign", "indeterminate"))]
            return f"{melanoma}, but {against[0]}" if against else melanoma
        return next((word for word, meaning in meant if meaning), there[0] if there else None)

    rows = list(words.astype(object).where(words.notna(), None).itertuples(index=False, name=None))
    picked = {row: pick(row) for row in set(rows)}
    return pd.Series([picked[row] for row in rows], words.index, dtype="string")
