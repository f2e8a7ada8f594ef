"""Proof that two sets of images share nothing: no lesion, patient, copy or near-duplicate."""

from dataclasses import dataclass

import pandas as pd

from dermdistill.data.duplicates import find_duplicates


@dataclass(frozen=True)
class AuditReport:
    """What two sets share; each table has columns a and b, the image ids of the offending pairs."""

    sizes: tuple[int, int]
    shared: dict[str, pd.DataFrame]
    unreadable: dict[str, str]
    """Images that could not be compared, and why; an audit with any is not a proof."""

    @property
    def clean(self) -> bool:
        """Whether nothing is shared and everything could be compared."""
        return not self.unreadable and all(table.empty for table in self.shared.values())


def audit(first: pd.DataFrame, second: pd.DataFrame, *, images: bool = True) -> AuditReport:
    """Compare two sets of images.

    Args:
        first: a manifest.
        second: another, or another part of the same.
        images: look for near-duplicates too, which reads every image.
    """
    shared = {
        "image_id": _joined(first, second, ["image_id"]),
        "exact copy": _joined(first, second, ["sha256"]),
        "lesion": _joined(first, second, ["source", "lesion_id"]),
        "patient": _joined(first, second, ["source", "patient_id"]),
        "duplicate group": _joined(first, second, ["duplicate_group"]),
    }
    unreadable: dict[str, str] = {}
    if images:
        shared["near-duplicate"], unreadable = _near(first, second)
    return AuditReport((len(first), len(second)), shared, unreadable)


def _joined(first: pd.DataFrame, second: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    left, right = (table.dropna(subset=keys) for table in (first, second))
    named = [table[keys].assign(name=table["image_id"].to_numpy()) for table in (left, right)]
    found = named[0].merge(named[1], on=keys, suffixes=("_a", "_b"))
    return pd.DataFrame({"a": found["name_a"], "b": found["name_b"]})


def _near(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    # ids may clash between two manifests, so that each side gets a prefix while they are compared
    parts = [table.assign(image_id=side + table["image_id"]) for side, table in (("a:", first), ("b:", second))]
    found = find_duplicates(pd.concat(parts, ignore_index=True))
    pairs = found.pairs[found.pairs["a"].str[0] != found.pairs["b"].str[0]]
    table = pd.DataFrame({"a": pairs["a"].str[2:], "b": pairs["b"].str[2:]}).reset_index(drop=True)
    return table, {name[2:]: why for name, why in found.set_aside.items()}
