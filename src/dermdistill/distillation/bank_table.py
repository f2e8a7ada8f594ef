"""Tables of logits from elsewhere, checked. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dermdistill.errors import InputError


def read_table(
    table: str | Path | pd.DataFrame, classes: Sequence[str], image_ids: Mapping[str, str] | None
) -> pd.DataFrame:
    """The table with the columns `sha256`, `view` and one for each class, sorted by view and image."""
    rows = table if isinstance(table, pd.DataFrame) else _parquet(Path(table))
    columns = [f"logit_{name}" for name in classes]
    absent = [name for name in ("view", *columns) if name not in rows.columns]
    if absent:
        raise InputError(f"the table of logits lacks the columns {absent}, it has {list(rows.columns)}")
    found = rows[["view", *columns]].assign(sha256=_sha256s(rows, image_ids))
    numbers = found[["view", *columns]].apply(pd.to_numeric, errors="coerce")
    if not np.isfinite(numbers.to_numpy(float)).all() or (numbers["view"] % 1 != 0).any():
        raise InputError("the table of logits has empty cells, or values that are no finite numbers or whole views")
    found[["view", *columns]] = numbers
    repeated = int(found.duplicated(["sha256", "view"]).sum())
    if repeated:
        raise InputError(f"the table of logits has {repeated} rows of an image and view that it has already")
    return found.sort_values(["view", "sha256"], ignore_index=True)


def views_of(rows: pd.DataFrame, images: Sequence[str], classes: Sequence[str]) -> list[np.ndarray]:
    """The logits of each view in the order of `images`, float64 [N, C]."""
    numbers = sorted(int(view) for view in rows["view"].unique())
    if numbers != list(range(len(numbers))) or not numbers:
        raise InputError(f"the views of the table must be 0, 1, 2, …, got {numbers[:8]}")
    columns, found = [f"logit_{name}" for name in classes], []
    for view, part in rows.groupby("view"):
        indexed = part.set_index("sha256")
        lacking = [sha256 for sha256 in images if sha256 not in indexed.index]
        if lacking:
            raise InputError(
                f"the table lacks {len(lacking)} of the {len(images)} images in view {view}, e.g. {lacking[0][:12]}"
            )
        found.append(indexed.loc[list(images), columns].to_numpy(float))
    return found


def _parquet(path: Path) -> pd.DataFrame:
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
