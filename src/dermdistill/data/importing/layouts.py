"""The layouts that are known: which files give them away, and who reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dermdistill.data.importing import named, tables
from dermdistill.data.importing.intake import Intake
from dermdistill.data.reading import read_table
from dermdistill.errors import InputError
from dermdistill.images.walk import is_litter


@dataclass(frozen=True)
class Layout:
    """A data set that comes with a table."""

    read: Callable[[Path], pd.DataFrame]
    signs: tuple[str, ...]
    """Patterns of the tables that give it away."""
    columns: tuple[str, ...] = ()
    """Columns that such a table must have, where its name alone tells too little."""
    mixed: bool = False
    """Whether it mixes images of several types, which `image_type` names; the others are all of one type."""
    kind: str | None = None
    """What its images are, if they are not dermoscopic."""


TABLES: dict[str, Layout] = {
    "ham10000": Layout(tables.ham10000, ("HAM10000_metadata*",)),
    "isic2016": Layout(tables.isic2016, ("ISBI2016*Part3*GroundTruth.csv",)),
    "isic2017": Layout(tables.isic2017, ("ISIC-2017*Part3*GroundTruth.csv",)),
    "isic2018": Layout(tables.isic2018, ("ISIC2018_Task3*GroundTruth.*",)),
    "isic2019": Layout(tables.isic2019, ("ISIC_2019*GroundTruth.csv",)),
    "isic2020": Layout(tables.isic2020, ("ISIC_2020*GroundTruth*.csv", "train.csv"), ("image_name", "target")),
    "isic2024": Layout(
        tables.isic2024,
        ("train-metadata.csv", "ISIC_2024*Supplement.csv", "ISIC_2024*etadata.csv", "ISIC_2024*GroundTruth.csv"),
        kind="crops of total body photographs",
    ),
    "isic-archive": Layout(tables.isic_archive, ("metadata.csv",), ("isic_id",), mixed=True),
    "milk10k": Layout(named.milk10k, ("MILK10k*Metadata*",), mixed=True),
    "pad-ufes-20": Layout(named.pad_ufes_20, ("metadata.csv",), ("img_id", "diagnostic"), kind="clinical photographs"),
    "derm7pt": Layout(named.derm7pt, ("meta.csv",), ("derm", "diagnosis")),
    "ph2": Layout(named.ph2, ("PH2_dataset.*",)),
    "fitzpatrick17k": Layout(named.fitzpatrick17k, ("fitzpatrick17k*.csv",), kind="clinical photographs"),
    "ddi": Layout(named.ddi, ("ddi_metadata.csv",), kind="clinical photographs"),
}
"""Layouts that come with a table."""
LAYOUTS = (*TABLES, "npy", "dermamnist", "folders", "table")


def detect(source: Intake, has_table: Callable[[], bool]) -> str:
    """The layout of a folder, recognised by its files, or by tables one folder below if it holds none.

    Args:
        source: the data set.
        has_table: asked whether the folder holds a table of images and labels, if nothing else tells.

    Raises:
        InputError: none of the known layouts, or several.
    """
    folder = source.folder
    found = [name for name, layout in TABLES.items() if _fitting(layout, folder, deep=False)]
    found += array_layouts(folder)
    if not found:
        found = [name for name, layout in TABLES.items() if _fitting(layout, folder, deep=True)]
    if not found and source.has_class_folders():
        found.append("folders")
    if not found and has_table():
        found.append("table")
    if len(found) > 1 and "ham10000" in found and "isic2018" in found and _is_dataverse_record(folder):
        found.remove("isic2018")
    if len(found) == 1:
        return found[0]
    if found:
        what = f"looks like {' and '.join(found)} at once"
    else:
        what = f"has none of the known layouts, but {source.found.describe()}"
    raise InputError(f"{folder} {what}; name the layout with --layout: {', '.join(LAYOUTS)}")


def array_layouts(folder: Path) -> list[str]:
    """The layouts of arrays that a folder has."""
    found = []
    for name, pattern in (("dermamnist", "*dermamnist*.npz"), ("npy", "*benign*.npy")):
        if any(not is_litter(path.name) for path in folder.glob(pattern)):
            found.append(name)
    return found


def require_signs(name: str, folder: Path) -> None:
    """Refuse a layout that is named, but whose tables are not there."""
    if not _fitting(TABLES[name], folder, deep=True):
        layout = TABLES[name]
        columns = f" (with the columns {', '.join(layout.columns)})" if layout.columns else ""
        raise InputError(f"{folder} has none of the files of '{name}': {', '.join(layout.signs)}{columns}")


def _fitting(layout: Layout, folder: Path, *, deep: bool) -> list[Path]:
    """The tables of a layout in a folder, or also one below it."""
    found = [path for path in tables.tables(folder, *layout.signs) if deep or path.parent == folder]
    if layout.columns:
        found = [path for path in found if set(layout.columns) <= set(read_table(path, nrows=1).columns)]
    return found


def _is_dataverse_record(folder: Path) -> bool:
    """Whether the tables named like ISIC 2018's are the test part of HAM10000's record, in HAM10000's columns."""
    found = _fitting(TABLES["isic2018"], folder, deep=True)
    return all("dx" in read_table(path, nrows=1).columns for path in found)
