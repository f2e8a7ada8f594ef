"""Proof that two sets of images share nothing: no photograph, lesion, patient, copy or near-duplicate."""

from dataclasses import dataclass

import pandas as pd

from dermdistill.data.curate.duplicates import CORRELATION, DISTANCE, find_duplicates
from dermdistill.data.ids import keys, photographs
from dermdistill.data.splits import Splits


@dataclass(frozen=True)
class AuditReport:
    """What sets share.

    Each table has columns a and b, the image ids of an offending pair from two of the sets. An image that shares with
    many of an earlier set, as of one patient, is listed once: taking all of b out would leave nothing shared.
    """

    sizes: tuple[int, ...]
    shared: dict[str, pd.DataFrame]
    unreadable: dict[str, str]
    """Images that could not be compared, and why; an audit with any is not a proof."""

    @property
    def clean(self) -> bool:
        """Whether nothing is shared and everything could be compared."""
        return not self.unreadable and all(table.empty for table in self.shared.values())


def audit(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    images: bool = True,
    distance: int = DISTANCE,
    correlation: float = CORRELATION,
) -> AuditReport:
    """Compare two sets of images.

    Duplicate groups are compared where both manifests name the same one; that proves little when each was grouped
    alone, so that near-duplicates are looked for afresh.

    Args:
        first: a manifest.
        second: another, or another part of the same.
        images: look for near-duplicates too, which reads every image.
        distance: as in `find_duplicates`.
        correlation: as in `find_duplicates`.
    """
    both = pd.concat([first, second], ignore_index=True)
    sides = pd.Series([0] * len(first) + [1] * len(second))
    return _compare(both, sides, images, distance, correlation)


def audit_folds(
    manifest: pd.DataFrame,
    splits: Splits,
    *,
    images: bool = True,
    distance: int = DISTANCE,
    correlation: float = CORRELATION,
) -> AuditReport:
    """Compare the folds of frozen splits with each other; arguments as in `audit`."""
    table = manifest.reset_index(drop=True)
    return _compare(table, table["image_id"].map(splits.folds).astype(str), images, distance, correlation)


def _compare(
    table: pd.DataFrame, sides: pd.Series, images: bool, distance: int, correlation: float
) -> AuditReport:  # fmt: skip
    compared = {"image id": table["image_id"], **keys(table)}
    shared = {what: _straddling(table, sides, key) for what, key in compared.items()}
    unreadable: dict[str, str] = {}
    if images:
        # ids may be used on both sides, so that rows are numbered while they are compared
        rows = table.assign(image_id=[f"{row:012d}" for row in range(len(table))])
        found = find_duplicates(rows, distance, correlation)
        a, b = (found.pairs[name].astype(int).to_numpy() for name in ("a", "b"))
        photograph = (
            photographs(table["image_id"]).fillna("").to_numpy(str)
        )  # pairs of one photograph are listed already
        apart = (sides.to_numpy()[a] != sides.to_numpy()[b]) & ~(
            (photograph[a] != "") & (photograph[a] == photograph[b])
        )
        ids = table["image_id"].astype(str).to_numpy()
        shared["near-duplicate"] = pd.DataFrame({"a": ids[a[apart]], "b": ids[b[apart]]})
        unreadable = {str(ids[int(row)]): why for row, why in found.set_aside.items()}
    sizes = tuple(int(size) for size in sides.value_counts(sort=False))
    return AuditReport(sizes, shared, unreadable)


def _straddling(table: pd.DataFrame, sides: pd.Series, key: pd.Series) -> pd.DataFrame:
    """Each image whose key is in use on an earlier side too (b), with the first image that uses it there (a)."""
    rows = pd.DataFrame({"key": key, "id": table["image_id"].astype(str), "side": sides}).dropna(subset="key")
    if rows.empty:
        return pd.DataFrame({"a": [], "b": []}, dtype=str)
    by_key = rows.groupby("key", sort=False)
    first, side = by_key["id"].transform("first"), by_key["side"].transform("first")
    apart = rows["side"] != side
    return pd.DataFrame({"a": first[apart], "b": rows.loc[apart, "id"]}).reset_index(drop=True)
