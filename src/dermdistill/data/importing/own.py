"""Own data: a table of any columns, or class folders with a table beside them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dermdistill.data.importing.survey import Survey
from dermdistill.data.importing.tables import KEPT, one_hot
from dermdistill.data.reading import TABLE_SUFFIXES, read_table
from dermdistill.data.sources import diagnosis
from dermdistill.errors import InputError
from dermdistill.images.walk import is_litter

GUESSES: dict[str, tuple[str, ...]] = {
    "image_id": (
        "image", "imageid", "imagename", "imagefile", "imagepath", "filename", "filepath", "file", "path", "img",
        "imgid", "imgname", "imgpath", "isicid", "picture", "photo", "photoid", "name", "id",
    ),
    "word": (
        "diagnosis", "dx", "diagnostic", "label", "labels", "class", "classname", "category", "target", "groundtruth",
        "melanoma", "ismelanoma", "lesiontype", "disease", "histology", "pathology", "type", "benignmalignant",
    ),
    "patient_id": ("patientid", "patient", "pid", "patientcode", "patientnumber", "patientno", "subjectid", "subject"),
    "lesion_id": ("lesionid", "lesion", "lesioncode", "lesionnumber", "lesionno"),
    "age": ("age", "ageapprox", "ageapproximate", "ageyears"),
    "sex": ("sex", "gender"),
    "site": ("site", "localization", "localisation", "location", "anatomsitegeneral", "bodysite", "region"),
    "collection": ("collection", "dataset", "attribution", "clinic", "camera", "device"),
    "licence": ("licence", "license", "copyrightlicense"),
    "image_type": ("imagetype", "modality"),
}  # fmt: skip
"""Column names that are common for what a manifest holds, lower case, letters and digits only; the first is taken."""

_YES = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "y": 1, "0": 0, "0.0": 0, "false": 0, "no": 0, "n": 0}
LEVELS = ("class", "patient", "lesion", "-")
"""What a level of folders may name; '-' is left out."""


@dataclass(frozen=True)
class Own:
    """How to read data that are in no publisher's layout; what is not given is guessed by common names."""

    image: str | None = None
    """The column that names the image: a file name or path, with or without extension."""
    label: str | None = None
    patient: str | None = None
    lesion: str | None = None
    images: Path | None = None
    """Where the images lie, by default beside the table."""
    melanoma_labels: tuple[str, ...] = ()
    """Labels that mean melanoma; those that the table of diagnoses does not know are then none."""
    drop_labels: tuple[str, ...] = ()
    """Labels whose images are left out."""
    levels: tuple[str, ...] = ("class",)
    """Class folders: what the folders above an image name, outermost first (`LEVELS`)."""

    def __post_init__(self) -> None:
        if not set(self.levels) <= set(LEVELS) or self.levels.count("class") != 1:
            raise InputError(
                f"levels of folders name one class, and patient and lesion if they do, as class/patient; got "
                f"{'/'.join(self.levels)}"
            )

    @property
    def columns(self) -> dict[str, str | None]:
        """The given column of each that can be given."""
        return {"image_id": self.image, "word": self.label, "patient_id": self.patient, "lesion_id": self.lesion}


def find_table(folder: Path) -> Path | None:
    """The one table in a folder whose columns name images and labels, or None.

    Raises:
        InputError: several do.
    """
    found = [path for path in beside(folder) if _is_own(read_table(path, nrows=100))]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder} holds several tables of images and labels: {names}; give one of them")
    return found[0] if found else None


def _is_own(table: pd.DataFrame) -> bool:
    taken = _guessed(table)
    return "image_id" in taken and ("word" in taken or bool(_one_hot_columns(table, taken)))


def beside(folder: Path) -> list[Path]:
    """The tables in a folder."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in TABLE_SUFFIXES and not is_litter(path.name) and path.is_file()
    )


def own_table(path: Path, own: Own) -> tuple[pd.DataFrame, list[str]]:
    """A table with a row an image, in the common form, and what should be known about it.

    Raises:
        InputError: a given column is not there, or none was given and none of the common names is.
    """
    table = read_table(path)
    taken = _guessed(table) | _given(table, own, path)
    if "word" not in taken and (kinds := _one_hot_columns(table, taken)):
        table["one of " + ", ".join(kinds)] = one_hot(table[kinds], path)
        taken["word"] = table.columns[-1]
    for name, option in (("image_id", "image"), ("word", "label")):
        if name not in taken:
            raise InputError(
                f"{path} has no column that is known to hold the {option}; name it with --{option}-column, "
                f"one of: {', '.join(table.columns)}"
            )
    notes = [f"{path.name}: columns {', '.join(f'{old} as {_NAMES.get(new, new)}' for new, old in taken.items())}"]
    if not {"patient_id", "lesion_id"} & taken.keys():
        notes.append(
            f"{path.name} has no column of patients or lesions: images of one patient may part in folds; "
            "name it with --patient-column or --lesion-column if there is one"
        )
    rows = pd.DataFrame({new: table[old] for new, old in taken.items()}).drop_duplicates(ignore_index=True)
    return _yes_or_no(rows, taken["word"], path), notes


_NAMES = {"image_id": "image", "word": "label", "patient_id": "patient", "lesion_id": "lesion", "image_type": "type"}


def _yes_or_no(rows: pd.DataFrame, label: str, path: Path) -> pd.DataFrame:
    """A column named melanoma answers yes or no; in any other one such words say nothing."""
    if _plain(label) not in ("melanoma", "ismelanoma"):
        return rows
    words = rows["word"].str.lower()
    wrong = words.notna() & ~words.isin(list(_YES))
    if wrong.any():
        if not wrong.all():
            raise InputError(
                f"{path}: column '{label}' must be 0 or 1, got {rows['word'][wrong].unique()[:5].tolist()}"
            )
        return rows
    return rows.assign(word=words.map({word: "melanoma" if is_one else "other" for word, is_one in _YES.items()}))


def _one_hot_columns(table: pd.DataFrame, taken: dict[str, str]) -> list[str]:
    """The columns of zeros and ones, if at least two of them are named by diagnoses."""
    free = [name for name in table.columns if name not in taken.values()]
    binary = [name for name in free if table[name].isin(["0", "1", "0.0", "1.0"]).all()]
    return binary if sum(diagnosis(name) is not None for name in binary) >= 2 else []


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _guessed(table: pd.DataFrame) -> dict[str, str]:
    plain = {_plain(name): name for name in reversed(table.columns)}
    guesses = {
        new: next((plain[name] for name in names if name in plain), None) for new, names in GUESSES.items()
    }  # fmt: skip
    return {new: old for new, old in guesses.items() if old is not None}


def _given(table: pd.DataFrame, own: Own, path: Path) -> dict[str, str]:
    given = {new: old for new, old in own.columns.items() if old is not None}
    missing = [old for old in given.values() if old not in table.columns]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; it has {', '.join(table.columns)}")
    return given


def class_folders(found: Survey, own: Own) -> pd.DataFrame:
    """One folder for each class, named by the diagnosis; partitions (train/, test/, …) above it are walked through.

    Patients and lesions come from the levels of folders that are said to name them, and from tables in the root
    folder whose columns name images and patients or lesions.
    """
    rows = []
    for path in found.images:
        parts = path.relative_to(found.root).with_suffix("").parts
        if len(parts) <= len(own.levels):
            continue
        levels = dict(zip(own.levels, parts[-1 - len(own.levels) : -1], strict=True))
        rows.append(("_".join(parts), levels["class"], levels.get("patient"), levels.get("lesion"), str(path)))
    table = pd.DataFrame(rows, columns=["image_id", "word", "patient_id", "lesion_id", "file"], dtype="string")
    if "lesion" in own.levels and "patient" in own.levels:  # a lesion's folder is its patient's first, second, …
        table["lesion_id"] = table["patient_id"] + "/" + table["lesion_id"]
    return _with_tables(table, found.root)


def _with_tables(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Patients and lesions of tables in the root folder, by the images' names, where these are unique."""
    stems = table["file"].map(lambda name: Path(name).stem).astype("string")
    for path in beside(root):
        rows = read_table(path)
        taken = {new: old for new, old in _guessed(rows).items() if new in KEPT and new != "word"}
        if "image_id" not in taken or not {"patient_id", "lesion_id"} & taken.keys():
            continue
        names = rows[taken.pop("image_id")].str.replace("\\", "/").map(lambda name: Path(name).stem, na_action="ignore")
        wrong = names[names.notna() & names.duplicated(keep=False) & names.isin(stems)].astype("string")
        if len(wrong):
            raise InputError(f"{path} names images twice, e.g. {', '.join(wrong.unique()[:3])}; keep one row of each")
        for new, old in taken.items():
            values = stems.map(dict(zip(names, rows[old], strict=True))).astype("string")
            table[new] = table[new].fillna(values) if new in table.columns else values
    return table


def levels_hint(table: pd.DataFrame, root: Path) -> str:
    """What to do if the folders just above the images are no classes, but higher ones are."""
    above = {part for name in table["file"].dropna() for part in Path(name).relative_to(root).parts[:-2]}
    if not any(map(diagnosis, above)):
        return ""
    return "; if folders further up name the classes, say what the levels are, as --levels class/patient"
