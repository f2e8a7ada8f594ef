"""Readers of the tables that dermoscopic data sets come with, each to one common form.

The common form is a table with `image_id` and, as far as the source knows them, `word` (the diagnosis in the
source's word), `melanoma` (0/1), `lesion_id`, `patient_id`, `collection`, `age`, `sex`, `site`, `licence` and `file`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from dermdistill.errors import InputError

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
    "file",
)


def _csv(folder: Path, *patterns: str) -> list[Path]:
    """The files that fit, in the folder or one below it, where publishers' archives put them when unpacked."""
    deep = [pattern for name in patterns for pattern in (name, f"*/{name}")]
    return sorted({path for pattern in deep for path in folder.glob(pattern) if path.is_file()})


def _read(path: Path, **options: object) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tab" else ",", dtype="string", **options)  # type: ignore[call-overload]
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable table: {error}") from None
    table.columns = [str(name).strip() for name in table.columns]
    return table


def _common(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    for old, new in RENAMED.items():
        if old in table.columns and new not in table.columns:
            table = table.rename(columns={old: new})
    if "image_id" not in table.columns:
        raise InputError(f"{path} has no column image_id, image, image_name or isic_id; it has {list(table.columns)}")
    kept = table[[name for name in KEPT if name in table.columns]].copy()
    kept["image_id"] = kept["image_id"].str.strip().str.removesuffix(".jpg")
    return kept


def _joined(tables: Iterable[pd.DataFrame], extra: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All rows, each once, with the columns that only the extra tables have."""
    table = pd.concat(list(tables), ignore_index=True).drop_duplicates(ignore_index=True)
    others = list(extra)
    if others:
        more = pd.concat(others, ignore_index=True).drop_duplicates("image_id")
        more = more[["image_id", *[name for name in more.columns if name not in table.columns]]]
        table = table.merge(more, on="image_id", how="left", validate="many_to_one")
    return table


def _one_hot(table: pd.DataFrame, path: Path) -> pd.Series:
    """The name of the column that is 1 in each row."""
    columns = [name for name in table.columns if name not in ("image", "image_id", "score_weight", "validation_weight")]
    values = table[columns].astype(float)
    wrong = (values == 1).sum(axis=1) != 1
    if wrong.any():
        raise InputError(f"{path}: {int(wrong.sum())} rows do not have exactly one 1 among {columns}")
    return values.idxmax(axis=1).astype("string")


def ham10000(folder: Path) -> pd.DataFrame:
    """HAM10000_metadata.csv (or .tab, as Dataverse serves it)."""
    return _joined([_common(_read(path), path) for path in _csv(folder, "HAM10000_metadata*")], [])


def isic2016(folder: Path) -> pd.DataFrame:
    """ISBI2016_ISIC_Part3*_GroundTruth.csv: no header; benign or malignant, where malignant means melanoma."""
    tables = []
    for path in _csv(folder, "ISBI2016*Part3*GroundTruth.csv"):
        table = _read(path, header=None, names=["image_id", "label"])
        label = table["label"].str.strip().str.lower()
        known = {"benign": 0, "malignant": 1, "0": 0, "0.0": 0, "1": 1, "1.0": 1}
        if not label.isin(known).all():
            raise InputError(f"{path}: labels must be benign or malignant, got {sorted(set(label) - set(known))[:5]}")
        tables.append(_common(table.assign(melanoma=label.map(known)), path))
    return _joined(tables, [])


def isic2017(folder: Path) -> pd.DataFrame:
    """ISIC-2017*Part3*GroundTruth.csv: melanoma, seborrhoeic keratosis, or else nevus; and *_Data_metadata.csv."""
    tables = []
    for path in _csv(folder, "ISIC-2017*Part3*GroundTruth.csv"):
        table = _read(path)
        melanoma, keratosis = (table[name].astype(float) == 1 for name in ("melanoma", "seborrheic_keratosis"))
        if (melanoma & keratosis).any():
            raise InputError(f"{path}: {int((melanoma & keratosis).sum())} rows are melanoma and keratosis at once")
        word = melanoma.map({True: "melanoma", False: "nevus"}).mask(keratosis, "seborrheic keratosis")
        tables.append(_common(table.drop(columns=["melanoma"]).assign(word=word), path))
    return _joined(tables, [_common(_read(path), path) for path in _csv(folder, "ISIC-2017*etadata*.csv")])


def isic2018(folder: Path) -> pd.DataFrame:
    """ISIC2018_Task3*GroundTruth.csv, one-hot in seven columns, and the lesion groupings."""
    tables = []
    for path in _csv(folder, "ISIC2018_Task3*GroundTruth.csv"):
        table = _read(path)
        tables.append(_common(table.assign(word=_one_hot(table, path)), path))
    return _joined(tables, [_common(_read(path), path) for path in _csv(folder, "ISIC2018_Task3*LesionGroupings.csv")])


def isic2019(folder: Path) -> pd.DataFrame:
    """ISIC_2019*GroundTruth.csv, one-hot in nine columns, and *Metadata.csv."""
    tables = []
    for path in _csv(folder, "ISIC_2019*GroundTruth.csv"):
        table = _read(path)
        tables.append(_common(table.assign(word=_one_hot(table, path)), path))
    return _joined(tables, [_common(_read(path), path) for path in _csv(folder, "ISIC_2019*Metadata.csv")])


def isic2020(folder: Path) -> pd.DataFrame:
    """ISIC_2020*GroundTruth*.csv or Kaggle's train.csv; target 1 is melanoma, 'unknown' diagnoses are benign."""
    tables = []
    versions = ("ISIC_2020*GroundTruth_v2.csv", "ISIC_2020*GroundTruth*.csv", "train.csv")
    for path in next(filter(None, (_csv(folder, pattern) for pattern in versions)), []):
        table = _read(path)
        word = table["diagnosis"].str.strip() if "diagnosis" in table.columns else pd.Series(pd.NA, table.index)
        unknown = word.isna() | (word.str.lower() == "unknown") | word.str.startswith("atypical")
        malignant = table["target"].astype(float) == 1
        word = word.mask(unknown, malignant.map({True: "melanoma", False: "benign"}))
        tables.append(_common(table.drop(columns=["diagnosis"], errors="ignore").assign(word=word), path))
    return _joined(tables, [])


def isic2024(folder: Path) -> pd.DataFrame:
    """SLICE-3D: Kaggle's train-metadata.csv, or ISIC_2024*Supplement.csv with metadata.csv beside the images.

    `target` and `malignant` mean malignant, not melanoma, so that the diagnosis (iddx_*) is needed.
    """
    tables = []
    kinds = ("train-metadata.csv", "ISIC_2024*Supplement.csv", "ISIC_2024*etadata.csv", "ISIC_2024*GroundTruth.csv")
    for path in next(filter(None, (_csv(folder, pattern) for pattern in kinds)), []):
        table = _read(path)
        finest = [name for name in ("iddx_full", "iddx_4", "iddx_3", "iddx_2", "iddx_1") if name in table.columns]
        if not finest:
            raise InputError(
                f"{path} has no iddx_* columns: its target means malignant, which need not be melanoma. Put the table "
                "with the diagnoses beside it: ISIC_2024_Training_Supplement.csv, or Kaggle's train-metadata.csv"
            )
        words = table[finest].apply(lambda column: column.str.split("::").str[-1])
        tables.append(_common(table.assign(word=_first_known(words)), path))
    return _joined(tables, [_common(_read(path), path) for path in _csv(folder, "metadata.csv")])


def isic_archive(folder: Path) -> pd.DataFrame:
    """metadata.csv as `isic image download` writes it; its columns vary with the client and the collection."""
    tables = []
    for path in _csv(folder, "metadata.csv"):
        table = _read(path)
        finest = [f"diagnosis_{level}" for level in (5, 4, 3, 2, 1)] + ["diagnosis", "benign_malignant"]
        present = [name for name in finest if name in table.columns]
        if not present:
            raise InputError(f"{path} has no diagnosis column; it has {list(table.columns)}")
        tables.append(_common(table.drop(columns=["diagnosis"], errors="ignore").assign(
            word=_first_known(table[present])), path))  # fmt: skip
    return _joined(tables, [])


def _first_known(words: pd.DataFrame) -> pd.Series:
    """For each row the first word that the diagnosis table knows, else the first that is there."""
    from dermdistill.data.sources import diagnosis

    def pick(row: pd.Series) -> str | None:
        there = [word for word in row if pd.notna(word) and str(word).strip()]
        return next((word for word in there if diagnosis(word)), there[0] if there else None)

    return pd.Series([pick(row) for _, row in words.iterrows()], words.index, dtype="string")


def class_folders(folder: Path) -> pd.DataFrame:
    """One folder for each class, named by the diagnosis; partitions (train/, test/, …) above it are walked through."""
    rows = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and path.parent != folder:
            rows.append(("_".join(path.relative_to(folder).with_suffix("").parts), path.parent.name, str(path)))
    return pd.DataFrame(rows, columns=["image_id", "word", "file"], dtype="string")


IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

READERS: dict[str, tuple[Callable[[Path], pd.DataFrame], tuple[str, ...]]] = {
    "ham10000": (ham10000, ("HAM10000_metadata*",)),
    "isic2016": (isic2016, ("ISBI2016*Part3*GroundTruth.csv",)),
    "isic2017": (isic2017, ("ISIC-2017*Part3*GroundTruth.csv",)),
    "isic2018": (isic2018, ("ISIC2018_Task3*GroundTruth.csv",)),
    "isic2019": (isic2019, ("ISIC_2019*GroundTruth.csv",)),
    "isic2020": (isic2020, ("ISIC_2020*GroundTruth*.csv", "train.csv")),
    "isic2024": (
        isic2024,
        ("train-metadata.csv", "ISIC_2024*Supplement.csv", "ISIC_2024*etadata.csv", "ISIC_2024*GroundTruth.csv"),
    ),
    "isic-archive": (isic_archive, ("metadata.csv",)),
}
"""Layouts that come with a table: their reader, and the files that give them away."""
