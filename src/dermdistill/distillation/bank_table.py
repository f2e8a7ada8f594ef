"""Tables of logits from elsewhere, checked. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dermdistill.errors import InputError

_PREFIX = "logit_"


def read_table(
    table: str | Path | pd.DataFrame, classes: Sequence[str], image_ids: Mapping[str, str] | None,
    fold: Mapping[str, str] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """A table of logits, checked.

    Args:
        table: Parquet or a data frame, a row for each image and view.
        classes: the classes that are wanted.
        image_ids: the SHA-256 of each `image_id`, for tables without `sha256`.
        fold: classes that only the table has, and the class to whose probability each is added.

    Returns:
        The columns `sha256`, `view` and `logit_<class>` for each wanted class, sorted by view and image; float64.

    Raises:
        InputError: columns are missing or superfluous, values are not finite, rows repeat one another.
    """
    rows = table if isinstance(table, pd.DataFrame) else read_parquet(table)
    sources = _sources(rows, classes, fold or {})
    used = [f"{_PREFIX}{name}" for names in sources.values() for name in names]
    found = rows[["view", *used]].assign(sha256=_sha256s(rows, image_ids))
    numbers = found[["view", *used]].apply(pd.to_numeric, errors="coerce")
    if not np.isfinite(numbers.to_numpy(float)).all() or (numbers["view"] % 1 != 0).any():
        raise InputError("the table of logits has empty cells, or values that are no finite numbers or whole views")
    by_id = "image_id" in rows.columns  # two ids can have the same image
    named = rows[["image_id"]].assign(view=numbers["view"]) if by_id else found[["sha256", "view"]]
    repeated = int(named.duplicated().sum())
    if repeated:
        raise InputError(f"the table of logits has {repeated} rows of an image and view that it has already")
    read = pd.DataFrame({"sha256": found["sha256"], "view": numbers["view"].astype(int)})
    for name, names in sources.items():
        read[f"{_PREFIX}{name}"] = _added(numbers[[f"{_PREFIX}{one}" for one in names]].to_numpy(float))
    return read.drop_duplicates(["sha256", "view"]).sort_values(["view", "sha256"], ignore_index=True)


def _sources(rows: pd.DataFrame, classes: Sequence[str], fold: Mapping[str, str]) -> dict[str, list[str]]:
    """For each wanted class those of the table whose probabilities make it up."""
    there = [str(name).removeprefix(_PREFIX) for name in rows.columns if str(name).startswith(_PREFIX)]
    wrong = {name: target for name, target in fold.items() if name not in there or target not in classes}
    if wrong:
        raise InputError(f"fold names {wrong}, but the table has the classes {there}, and wanted are {list(classes)}")
    sources = {name: [one for one in there if fold.get(one, one) == name] for name in classes}
    absent = [] if "view" in rows.columns else ["view"]
    absent += [f"{_PREFIX}{name}" for name, names in sources.items() if not names]
    if absent:
        raise InputError(f"the table of logits lacks the columns {absent}, it has {list(rows.columns)}")
    foreign = [name for name in there if name not in classes and name not in fold]
    if foreign:
        raise InputError(
            f"the table of logits has the classes {foreign}, which are none of {list(classes)}; say with fold into "
            f"which each goes, as fold = {{ {foreign[0]} = '{classes[0]}' }}, or leave the columns out"
        )
    return sources


def _added(logits: np.ndarray) -> np.ndarray:
    """The logit whose exponential is the sum of those of some classes, [N] of [N, K]."""
    largest = logits.max(1)
    return largest + np.log(np.exp(logits - largest[:, None]).sum(1))


def views_of(rows: pd.DataFrame, images: Sequence[str], classes: Sequence[str]) -> list[np.ndarray]:
    """The logits of each view in the order of `images`, float64 [N, C]."""
    numbers = sorted(int(view) for view in rows["view"].unique())
    if numbers != list(range(len(numbers))) or not numbers:
        raise InputError(f"the views of the table must be 0, 1, 2, …, got {numbers[:8]}")
    return [view_of(rows, images, classes, view) for view in numbers]


def view_of(rows: pd.DataFrame, images: Sequence[str], classes: Sequence[str], view: int) -> np.ndarray:
    """The logits of one view in the order of `images`, float64 [N, C].

    Raises:
        InputError: some of the images are not there, with their number.
    """
    indexed = rows[rows["view"] == view].set_index("sha256")
    lacking = [sha256 for sha256 in images if sha256 not in indexed.index]
    if lacking:
        raise InputError(
            f"the table lacks {len(lacking)} of the {len(images)} images in view {view}, e.g. {lacking[0][:12]}"
        )
    return indexed.loc[list(images), [f"{_PREFIX}{name}" for name in classes]].to_numpy(float)


def read_parquet(path: str | Path) -> pd.DataFrame:
    """A Parquet table.

    Raises:
        InputError: it is none.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from None


def _sha256s(rows: pd.DataFrame, image_ids: Mapping[str, str] | None) -> pd.Series:
    if "sha256" in rows.columns:
        return rows["sha256"].astype(str)
    if "image_id" not in rows.columns or image_ids is None:
        raise InputError("the table of logits needs a column 'sha256', or 'image_id' and a mapping of ids to hashes")
    unknown = rows.loc[~rows["image_id"].isin(list(image_ids)), "image_id"]
    if len(unknown):
        raise InputError(f"{unknown.nunique()} images of the table are not known, e.g. {unknown.iloc[0]!r}")
    return rows["image_id"].map(image_ids)
