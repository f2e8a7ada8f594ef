"""From a data set in its publisher's own layout, or from one's own table, to a manifest."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dermdistill import talk
from dermdistill.data import sources
from dermdistill.data.ids import photographs
from dermdistill.data.importing import layouts
from dermdistill.data.importing.arrays import extract_hdf5, read_medmnist, read_quadruple
from dermdistill.data.importing.intake import Intake
from dermdistill.data.importing.labels import DERMOSCOPIC, diagnosed, of_types
from dermdistill.data.importing.layouts import LAYOUTS
from dermdistill.data.importing.matching import image_ids, match, only_one, without_file, without_sized_copies
from dermdistill.data.importing.own import Own, class_folders, find_table, own_table
from dermdistill.data.importing.survey import MASKS, is_mask
from dermdistill.data.manifest import COLUMNS, validate
from dermdistill.data.reading import TABLE_SUFFIXES
from dermdistill.errors import InputError, no_such
from dermdistill.files import sha256_file
from dermdistill.images.preprocess import ImageError, load_rgb


@dataclass
class ImportResult:
    """A manifest, and what did not get into it."""

    manifest: pd.DataFrame
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    """Image id or path, and the reason, of each image that is missing or unreadable."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by reason."""
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    """Files that are not taken for images, by what they are."""
    notes: list[str] = field(default_factory=list)
    """What should be known about the set, as that its photographs are clinical."""

    def told(self) -> list[str]:
        """A line for each kind of row that was dropped, each kind of file that was passed over, and each note."""
        dropped = [f"dropped {count}: {reason}" for reason, count in self.dropped.items()]
        passed_over = [f"passed over {len(paths)} {what}, e.g. {paths[0]}" for what, paths in self.passed_over.items()]
        return [*dropped, *passed_over, *(f"note: {note}" for note in self.notes)]


def detect(folder: str | Path) -> str:
    """The layout of a folder, recognised by its files, or by tables one folder below if it holds none.

    Raises:
        InputError: no such folder, or none of the known layouts, or several.
    """
    folder = _require_folder(Path(folder))
    return _detect(Intake(folder, None, Own(), folder / "images"))


def _require_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"no such folder or table: {folder}")
    return folder


def _require_table(path: Path) -> Path:
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise InputError(f"{path} is a file; expected a folder, or a table ({', '.join(TABLE_SUFFIXES)})")
    return path


def _detect(source: Intake) -> str:
    if source.table_file:
        return "table"
    return layouts.detect(source, lambda: find_table(source.folder) is not None)


def import_dataset(
    folder: str | Path,
    layout: str = "auto",
    *,
    source: str | None = None,
    drop_unknown: bool = False,
    extracted: str | Path | None = None,
    image_types: Sequence[str] = (DERMOSCOPIC,),
    own: Own | None = None,
) -> ImportResult:
    """Import one data set.

    Args:
        folder: the data set in its publisher's layout; images may lie anywhere beneath it. Or a table of one's own.
        layout: one of `LAYOUTS`, or 'auto'.
        source: the name of the source in the manifest, by default the layout's.
        drop_unknown: leave out, and count, rows whose diagnosis the table does not know.
        extracted: where images out of arrays (.npy, .npz, .hdf5) are written, by default `images` beside them.
        image_types: where a set mixes types of images (the ISIC archive's `image_type`), those that are taken, each
            by its beginning, as 'clinical' for 'clinical: close-up'; 'all' takes all.
        own: how to read one's own table or class folders.

    Raises:
        InputError: the layout is not recognised, diagnoses are unknown (they are listed with their counts), an image
            has several different files, or there is no image that can be used.
    """
    path = Path(folder)
    table_file = _require_table(path) if path.is_file() else None
    root = path.parent if table_file else _require_folder(path)
    here = Intake(root, table_file, own or Own(), Path(extracted) if extracted else root / "images")
    if own and own.images:
        _require_folder(own.images)
    layout = _detect(here) if layout == "auto" else layout
    if layout not in LAYOUTS:
        raise no_such("layout", layout, ["auto", *LAYOUTS])
    table = _read(here, layout)
    if table.empty:
        raise InputError(f"{path} holds no images in the layout '{layout}'; found were {here.found.describe()}")
    table = _named(table, here)
    _require_unique(table, path)
    table = of_types(table, layout, image_types, here)
    table = diagnosed(table.assign(source=source or layout), drop_unknown, here)
    table, set_aside = _with_files(table, here)
    licence = sources.SOURCES[layout].licence
    if "licence" not in table.columns:
        table["licence"] = licence
    table["licence"] = table["licence"].fillna(licence) if licence else table["licence"]
    table, unreadable = _measured(table)
    if table.empty:
        raise InputError(
            f"{path}: none of {len(unreadable)} images can be read; the first: {unreadable[0][1]}. Convert them to "
            "JPEG or PNG"
        )
    _note_what_it_is(table, layout, here)
    passed_over = here.found.passed_over if "found" in vars(here) else {}
    return ImportResult(validate(_tidied(table)), set_aside + unreadable, here.dropped, passed_over, here.notes)


def _read(source: Intake, layout: str) -> pd.DataFrame:
    folder = source.folder
    try:
        match layout:
            case "npy":
                return read_quadruple(folder, source.extracted)
            case "dermamnist":
                return read_medmnist(folder, source.extracted)
            case "folders":
                return _class_folders(source)
            case "table":
                path = source.table_file or find_table(folder)
                if path is None:
                    raise InputError(f"{folder} holds no table of images and labels; give the table's own path")
                table, notes = own_table(path, source.own)
                source.notes += notes
                return table
        layouts.require_signs(layout, folder)
        return layouts.TABLES[layout].read(folder)
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{folder}: a table of the layout '{layout}' lacks the column {error}") from None
    except ValueError as error:
        raise InputError(f"{folder}: a table does not fit the layout '{layout}': {error}") from None


def _class_folders(source: Intake) -> pd.DataFrame:
    """Class folders, without masks and thumbnails, and with one file for each id."""
    found = source.found
    masks = {path for path in found.images if is_mask(path)}
    for path in sorted(masks):
        found.pass_over(MASKS, path)
    found.images = without_sized_copies([path for path in found.images if path not in masks], found)
    table = class_folders(found, source.own)
    groups: dict[str, list[Path]] = {}
    for name, file in zip(table["image_id"], table["file"], strict=True):
        groups.setdefault(name, []).append(Path(file))
    return table[table["file"].isin(list(map(str, only_one(groups, found))))]


def _named(table: pd.DataFrame, source: Intake) -> pd.DataFrame:
    """The rows that name an image, with what they call it (`called`) and its id."""
    nameless = table["image_id"].isna()
    if nameless.any():
        source.dropped["rows that name no image"] = int(nameless.sum())
    table = table[~nameless]
    if "file" in table.columns:
        return table
    return table.assign(called=table["image_id"], image_id=image_ids(table["image_id"]))


def _require_unique(table: pd.DataFrame, folder: Path) -> None:
    twice = table.loc[table["image_id"].duplicated(), "image_id"].unique()
    if len(twice):
        raise InputError(
            f"{folder}: {len(twice)} image ids stand in more than one row, with different contents, e.g. "
            f"{', '.join(map(str, twice[:5]))}; keep one table, or one row, of each"
        )


def _with_files(table: pd.DataFrame, source: Intake) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    if "file" in table.columns:
        return table, []
    found = source.found
    if found.hdf5 and (wanted := without_file(table["called"], found)):
        ids = table.loc[table["called"].isin(wanted), "image_id"]
        inside = extract_hdf5(found.hdf5, ids, source.extracted)
        found.images = sorted({*found.images, *inside})
    files = match(table["called"], found)
    missing = files.isna()
    if missing.all():
        asked = ", ".join(table["called"].head(3))
        raise InputError(
            f"{source.folder}: none of the {len(table)} images that the table names has a file (it names {asked}, …); "
            f"found beneath {found.root}: {found.describe()}. Put the images there as JPEG, PNG, BMP, TIFF or WebP, "
            "named as in the table"
        )
    set_aside = [(str(name), "no image file") for name in table.loc[missing, "image_id"]]
    return table[~missing].assign(file=files[~missing]), set_aside


def _note_what_it_is(table: pd.DataFrame, layout: str, source: Intake) -> None:
    kind = layouts.TABLES[layout].kind if layout in layouts.TABLES else None
    if kind:
        source.notes.append(f"{source.folder}: the images of {layout} are {kind}, not dermoscopic")
    if not (table["melanoma"] == 1).any():
        source.notes.append(f"{source.folder} holds no melanoma: nothing can be trained or tested on it alone")


def _measured(table: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Add hash, width and height; images that cannot be read are set aside."""

    def measure(name: str) -> tuple[str, int, int] | str:
        try:
            image = load_rgb(name)
            return sha256_file(name), image.width, image.height
        except ImageError as error:
            return str(error)

    measured = []
    with talk.bars() as bars, ThreadPoolExecutor() as pool:
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
    sex = table["sex"].astype("string").str.strip().str.lower().replace({"m": "male", "f": "female"})
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
    passed_over: dict[str, list[str]] = {}
    for result in results:
        for what, paths in result.passed_over.items():
            passed_over.setdefault(what, []).extend(paths)
    notes = [note for result in results for note in result.notes]
    named = validate(_renderings_named(table.sort_index()))
    return ImportResult(named, set_aside, dict(dropped), passed_over, notes)


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
