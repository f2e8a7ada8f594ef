"""Readers of data sets outside the ISIC challenges, each to the common form of `dermdistill.data.importing.tables`."""

import re
from pathlib import Path

import pandas as pd

from dermdistill.data.importing.tables import common, hierarchy, joined, one_hot, tables
from dermdistill.data.reading import read_table
from dermdistill.data.sources import OTHER, diagnosis
from dermdistill.errors import InputError


def milk10k(folder: Path) -> pd.DataFrame:
    """MILK10k: *_Metadata with a dermoscopic and a clinical image of each lesion, *_GroundTruth one-hot by lesion."""
    truths = []
    for path in tables(folder, "MILK10k*GroundTruth*"):
        table = read_table(path)
        truths.append(table[["lesion_id"]].assign(word=one_hot(table, path)))
    if not truths:
        raise InputError(f"{folder} has MILK10k's metadata, but not MILK10k_Training_GroundTruth.csv, its diagnoses")
    truth = pd.concat(truths).drop_duplicates("lesion_id")
    metas = [common(read_table(path), path) for path in tables(folder, "MILK10k*Metadata*")]
    return joined(metas, []).drop(columns="word", errors="ignore").merge(truth, on="lesion_id", how="inner")


def pad_ufes_20(folder: Path) -> pd.DataFrame:
    """PAD-UFES-20: metadata.csv with img_id and diagnostic; photographs by smartphone."""
    names = {"img_id": "image_id", "diagnostic": "word", "gender": "sex", "region": "site"}
    found = [(path, read_table(path)) for path in tables(folder, "metadata.csv")]
    return joined([common(table.rename(columns=names), path) for path, table in found if "img_id" in table.columns], [])


def derm7pt(folder: Path) -> pd.DataFrame:
    """Derm7pt: meta/meta.csv, a lesion a row; the dermoscopic image of each (`derm`), not the clinical one."""
    found = []
    for path in tables(folder, "meta.csv"):
        table = read_table(path).rename(columns={"derm": "image_id", "case_num": "lesion_id", "location": "site"})
        word = table["diagnosis"].mask(table["diagnosis"].str.lower() == "miscellaneous", OTHER)
        found.append(common(table.drop(columns="diagnosis").assign(word=word), path))
    return joined(found, [])


def ph2(folder: Path) -> pd.DataFrame:
    """PH2: PH2_dataset.xlsx, with crosses under Common Nevus, Atypical Nevus and Melanoma, or PH2_dataset.txt."""
    tabular = [path for path in tables(folder, "PH2_dataset.*") if path.suffix.lower() != ".txt"]
    found = [_ph2_crosses(path) for path in tabular] or [
        _ph2_text(path) for path in tables(folder, "PH2_dataset.txt")
    ]  # fmt: skip
    return joined(found, [])


def _ph2_crosses(path: Path) -> pd.DataFrame:
    kinds = ("Common Nevus", "Atypical Nevus", "Melanoma")
    table = read_table(path, header=False)
    heads = table.index[(table == "Image Name").any(axis=1)]
    if not len(heads):
        raise InputError(f"{path} has no row with 'Image Name', as PH2_dataset.xlsx has")
    names = table.loc[heads[0]].str.replace(r"\s+", " ", regex=True)
    places = {name: names.index[names == name] for name in ("Image Name", *kinds)}
    missing = [name for name, where in places.items() if len(where) != 1]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; it has {list(names.dropna())}")
    rows = table.loc[heads[0] + 1 :]
    rows = rows[rows[places["Image Name"][0]].str.fullmatch(r"IMD\d+").fillna(False).astype(bool)]
    crossed = pd.DataFrame({kind: rows[places[kind][0]].notna() for kind in kinds})
    if (crossed.sum(axis=1) != 1).any():
        raise InputError(f"{path}: {int((crossed.sum(axis=1) != 1).sum())} rows do not have one cross among {kinds}")
    words = crossed.idxmax(axis=1).astype("string")
    return pd.DataFrame({"image_id": rows[places["Image Name"][0]], "word": words}).reset_index(drop=True)


def _ph2_text(path: Path) -> pd.DataFrame:
    """Lines such as `|| IMD003 || … || 0 || …`; the clinical diagnosis is 0 common nevus, 1 atypical, 2 melanoma."""
    kinds = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("||")]
        if re.fullmatch(r"IMD\d+", cells[0]):
            if len(cells) < 3 or cells[2] not in kinds:
                raise InputError(f"{path}: expected a clinical diagnosis of 0, 1 or 2, got '{line.strip()}'")
            rows.append((cells[0], kinds[cells[2]]))
    return pd.DataFrame(rows, columns=["image_id", "word"], dtype="string")


def fitzpatrick17k(folder: Path) -> pd.DataFrame:
    """Fitzpatrick17k: fitzpatrick17k.csv; photographs from two atlases, named by their MD5."""
    found = []
    for path in tables(folder, "fitzpatrick17k*.csv"):
        table = read_table(path).rename(columns={"md5hash": "image_id"})
        melanoma = table["nine_partition_label"].str.lower() == "malignant melanoma"
        known = table["label"].map(diagnosis, na_action="ignore")
        # the nine partitions name melanoma; all other of the 114 diseases are none
        word = table["label"].mask(known.isna(), OTHER).mask(melanoma, "melanoma").mask(table["label"].isna())
        found.append(common(table.assign(word=word), path))
    return joined(found, [])


def ddi(folder: Path) -> pd.DataFrame:
    """Diverse Dermatology Images: ddi_metadata.csv; clinical photographs."""
    found = []
    for path in tables(folder, "ddi_metadata.csv"):
        table = read_table(path).rename(columns={"DDI_file": "image_id"})
        benign = table["malignant"].str.lower().isin(["false", "0", "0.0"])
        levels = pd.DataFrame({"fine": table["disease"], "coarse": benign.map({True: "benign", False: None})})
        found.append(common(table.assign(word=hierarchy(levels)), path))
    return joined(found, [])
