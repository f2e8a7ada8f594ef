"""From a data set in its publisher's own layout to a manifest."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from dermdistill.classes import MELANOMA
from dermdistill.data import sources
from dermdistill.data.ids import photographs
from dermdistill.data.importing.arrays import read_medmnist, read_quadruple
from dermdistill.data.importing.tables import IMAGE_SUFFIXES, READERS, class_folders
from dermdistill.data.manifest import COLUMNS, validate
from dermdistill.errors import InputError
from dermdistill.files import sha256_file
from dermdistill.images.preprocess import ImageError, load_rgb

LAYOUTS = (*READERS, "npy", "dermamnist", "folders")


@dataclass
class ImportResult:
    """A manifest, and what did not get into it."""

    manifest: pd.DataFrame
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    """Image id or path, and the reason, of each image that is missing or unreadable."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out on request, by reason."""


def detect(folder: str | Path) -> str:
    """The layout of a folder, told by its files, or by tables one folder below if it holds none.

    Raises:
        InputError: no such folder, or none of the known layouts, or several.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    found = [name for name, (_, signs) in READERS.items() if any(any(folder.glob(sign)) for sign in signs)]
    if list(folder.glob("*dermamnist*.npz")):
        found.append("dermamnist")
    if list(folder.glob("*benign*.npy")):
        found.append("npy")
    if not found:
        found = [name for name, (_, signs) in READERS.items() if _has(folder, signs)]
    if not found and any(sources.diagnosis(path.name) for path in folder.rglob("*") if path.is_dir()):
        found.append("folders")
    if len(found) == 1:
        return found[0]
    what = f"looks like {' and '.join(found)} at once" if found else "has none of the known layouts"
    raise InputError(f"{folder} {what}; name it with --layout: {', '.join(LAYOUTS)}")


def import_dataset(
    folder: str | Path,
    layout: str = "auto",
    *,
    source: str | None = None,
    drop_unknown: bool = False,
    extracted: str | Path | None = None,
) -> ImportResult:
    """Import one data set.

    Args:
        folder: the data set in its publisher's layout; images may lie anywhere beneath it.
        layout: one of `LAYOUTS`, or 'auto'.
        source: the name of the source in the manifest, by default the layout's.
        drop_unknown: leave out, and count, rows whose diagnosis the table does not know.
        extracted: where images out of arrays (.npy, .npz) are written, by default `images` beside them.

    Raises:
        InputError: the layout is not recognised, or diagnoses are unknown; they are listed with their counts.
    """
    folder = Path(folder)
    layout = detect(folder) if layout == "auto" else layout
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout '{layout}', expected auto, {', '.join(LAYOUTS)}")
    table = _read(folder, layout, Path(extracted) if extracted else folder / "images")
    if table.empty:
        raise InputError(f"{folder} holds no images in the layout '{layout}'")
    _require_unique(table, folder)
    table = table.assign(source=source or layout)
    dropped: dict[str, int] = {}
    table = _diagnosed(table, folder, drop_unknown, dropped)
    table, set_aside = _with_files(table, folder)
    licence = sources.SOURCES[layout].licence
    if "licence" not in table.columns:
        table["licence"] = licence
    table["licence"] = table["licence"].fillna(licence) if licence else table["licence"]
    table, unreadable = _measured(table)
    return ImportResult(validate(_tidied(table)), set_aside + unreadable, dropped)


def _read(folder: Path, layout: str, extracted: Path) -> pd.DataFrame:
    if layout == "npy":
        return read_quadruple(folder, extracted)
    if layout == "dermamnist":
        return read_medmnist(folder, extracted)
    if layout == "folders":
        return class_folders(folder)
    reader, signs = READERS[layout]
    if not _has(folder, signs):
        raise InputError(f"{folder} has none of the files of '{layout}': {', '.join(signs)}")
    try:
        return reader(folder)
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{folder}: a table of the layout '{layout}' lacks the column {error}") from None
    except ValueError as error:
        raise InputError(f"{folder}: a table does not fit the layout '{layout}': {error}") from None


def _has(folder: Path, signs: tuple[str, ...]) -> bool:
    """Whether any of the files lies in the folder, or one below it."""
    return any(any(folder.glob(deep)) for sign in signs for deep in (sign, f"*/{sign}"))


def _require_unique(table: pd.DataFrame, folder: Path) -> None:
    twice = table.loc[table["image_id"].duplicated(), "image_id"].unique()
    if len(twice):
        raise InputError(
            f"{folder}: {len(twice)} image ids stand in more than one row, with different contents, e.g. "
            f"{', '.join(map(str, twice[:5]))}; keep one table, or one row, of each"
        )


def _diagnosed(table: pd.DataFrame, folder: Path, drop: bool, dropped: dict[str, int]) -> pd.DataFrame:
    if "word" not in table.columns:
        return table.assign(diagnosis=None)
    found = table["word"].map(lambda word: sources.diagnosis(word) if pd.notna(word) else None)
    unknown = found.isna()
    if unknown.any():
        words = Counter(table.loc[unknown, "word"].fillna("(empty)"))
        listed = ", ".join(f"'{word}' ({count})" for word, count in words.most_common(20))
        if not drop:
            raise InputError(
                f"{folder}: diagnoses that the table does not know: {listed}; drop them with --drop-unknown"
            )
        dropped |= {f"unknown diagnosis '{word}'": count for word, count in words.items()}
    table, found = table[~unknown].copy(), found[~unknown]
    table["melanoma"] = (found == MELANOMA).astype("int8")
    table["diagnosis"] = found.mask(found == sources.OTHER, pd.NA).astype("string")
    return table


def _with_files(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    if "file" in table.columns:
        return table, []
    there: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.stem not in there:
            there[path.stem] = path
    files = table["image_id"].map(lambda name: str(there[name]) if name in there else None)
    missing = files.isna()
    set_aside = [(str(name), "no image file") for name in table.loc[missing, "image_id"]]
    return table[~missing].assign(file=files[~missing]), set_aside


def _measured(table: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Add hash, width and height; images that cannot be read are set aside."""

    def measure(name: str) -> tuple[str, int, int] | str:
        try:
            image = load_rgb(name)
            return sha256_file(name), image.width, image.height
        except ImageError as error:
            return str(error)

    measured = []
    with Progress(transient=True) as bars, ThreadPoolExecutor() as pool:
        bar = bars.add_task("read images", total=len(table))
        for result in pool.map(measure, table["file"]):
            measured.append(result)
            bars.advance(bar)
    good = np.array([not isinstance(result, str) for result in measured], bool)
    pairs = zip(table["image_id"], measured, strict=True)
    set_aside = [(str(name), result) for name, result in pairs if isinstance(result, str)]
    values = [result for result in measured if not isinstance(result, str)]
    table = table[good].copy()
    for place, column in enumerate(("sha256", "width", "height")):
        table[column] = [value[place] for value in values]
    return table, set_aside


def _tidied(table: pd.DataFrame) -> pd.DataFrame:
    table = table.rename(columns={"file": "path"}).reindex(columns=list(COLUMNS))
    table["age"] = pd.to_numeric(table["age"], errors="coerce")
    table.loc[~table["age"].between(0, 120), "age"] = np.nan
    sex = table["sex"].astype("string").str.strip().str.lower()
    table["sex"] = sex.where(sex.isin(["male", "female"]))
    table["site"] = table["site"].map(lambda word: sources.site(word) if pd.notna(word) else None)
    for name in ("lesion_id", "patient_id", "collection"):
        text = table[name].astype("string").str.strip()
        table[name] = text.mask(text.isin(["", "unknown", "nan"]))
    table["path"] = [str(Path(name).resolve()) for name in table["path"]]
    return table


def combine(results: Sequence[ImportResult]) -> ImportResult:
    """One manifest out of several.

    An image that several sources hold (same id, same bytes) is kept once, counted; with a source that knows its
    diagnosis if one does, and with a lesion or patient that only another knows. Other renderings of a photograph of
    the ISIC archive (same id, other bytes: another size or framing) are kept too, the later one as `ID@SOURCE`. If
    sources disagree on whether an image or photograph is a melanoma, it is set aside.

    Raises:
        InputError: an id that is not the archive's stands for different images, or renderings of one photograph come
            from sources of one name.
    """
    table = pd.concat([result.manifest for result in results], ignore_index=True)
    set_aside = [line for result in results for line in result.set_aside]
    dropped: Counter[str] = Counter()
    for result in results:
        dropped.update(result.dropped)
    image = ["image_id", "sha256"]
    same_image = table["image_id"] + "/" + table["sha256"]
    disputed = table.groupby(photographs(table["image_id"]).fillna(same_image))["melanoma"].transform("nunique") > 1
    set_aside += [
        (str(name), f"melanoma in one source, not in another: {', '.join(where)}")
        for name, where in table[disputed].groupby("image_id")["source"].unique().items()
    ]
    table = table[~disputed].copy()
    for column in ("lesion_id", "patient_id"):
        table[column] = table[column].fillna(table.groupby(image)[column].transform("first"))
    table = table.sort_values("diagnosis", key=lambda words: words.isna(), kind="stable")
    same = table.duplicated(image)
    if same.any():
        dropped["in two sources"] = int(same.sum())
        table = table[~same]
    return ImportResult(validate(_renderings_named(table.sort_index())), set_aside, dict(dropped))


def _renderings_named(table: pd.DataFrame) -> pd.DataFrame:
    """Name the second and further renderings of a photograph of the archive by their sources, `ID@SOURCE`."""
    clashing = table["image_id"].duplicated(keep=False)
    foreign = table[clashing & photographs(table["image_id"]).isna()]
    if len(foreign):
        raise InputError(
            f"{foreign['image_id'].nunique()} image ids stand for different images in different sources, and are not "
            f"the ISIC archive's; rename one of each: {_places(foreign)}"
        )
    alike = table[clashing & table.duplicated(["image_id", "source"], keep=False)]
    if len(alike):
        raise InputError(
            f"{alike['image_id'].nunique()} photographs have several renderings from sources of one name; give each "
            'source its own, as name = "ham10000-whole" in the recipe\'s [data] sources, or --source once for each '
            f"folder: {_places(alike)}"
        )
    later = table["image_id"].duplicated()
    named = table.assign(image_id=table["image_id"].mask(later, table["image_id"] + "@" + table["source"]))
    again = named[named["image_id"].duplicated(keep=False)]
    if len(again):
        raise InputError(f"image ids are used for different images: {_places(again)}; rename one of each")
    return named


def _places(rows: pd.DataFrame) -> str:
    """The first three ids, each with the files that it stands for."""
    files = rows.groupby("image_id")["path"].agg(" and ".join)
    listed = "; ".join(f"{name} ({where})" for name, where in files.head(3).items())
    return listed + ("; …" if len(files) > 3 else "")
