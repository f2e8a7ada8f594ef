"""What ids name: lesions and patients within a namespace, and photographs of the ISIC archive.

The data sets of the ISIC family (HAM10000, the ISIC challenges, the archive's downloads) share images, lesions and
patients, and name them alike. Elsewhere two sources may both have a lesion 17, and it is not the same one.
"""

import re

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ARCHIVE = "isic"
"""The namespace that all sources of the ISIC family share."""
FAMILY = frozenset(
    {"ham10000", "isic2016", "isic2017", "isic2018", "isic2019", "isic2020", "isic2024", "isic-archive"}
)  # fmt: skip
"""Sources, named as their layouts, whose ids are the archive's."""
_SHARED = re.compile(r"((HAM|BCN|MSK\d*|UDA\d*|ISIC)_\d+|(IL|IP)_\d{7})", re.IGNORECASE)
"""Lesion and patient ids in the archive's own form, as HAM_0000550, MSK4_0011169, IL_7252831, IP_1664139."""
_PHOTOGRAPH = r"(?i)(?<![a-z0-9])(ISIC_\d{7})(?!\d)"


def namespace(source: str, value: str) -> str:
    """The namespace of a lesion or patient id: the archive's shared one, or its own source's.

    Args:
        source: the name of the source, which the user chooses.
        value: the id. One in the archive's own form is the archive's in any source; any other one is only in a source
            of the ISIC family, unless it is a plain number.
    """
    if _SHARED.fullmatch(value) or (source in FAMILY and not value.isdecimal()):
        return ARCHIVE
    return f"source {source}"


def qualified(manifest: pd.DataFrame, column: str) -> pd.Series:
    """The ids of `lesion_id` or `patient_id` with their namespaces, so that equal ones mean the same; NA where none."""
    keys = [
        pd.NA if pd.isna(value) else _qualified(str(source), str(value))
        for source, value in zip(manifest["source"], manifest[column], strict=True)
    ]
    return pd.Series(keys, manifest.index, dtype="string")


def _qualified(source: str, value: str) -> str:
    where = namespace(source, value)
    return f"{where}/{value.upper() if where == ARCHIVE else value}"


def photographs(image_ids: pd.Series) -> pd.Series:
    """The archive's photograph that each image id names, as ISIC_0024306 for ISIC_0024306_downsampled; NA if none."""
    return image_ids.astype("string").str.extract(_PHOTOGRAPH, expand=False).str.upper()


def keys(manifest: pd.DataFrame) -> dict[str, pd.Series]:
    """What images may share, by kind: values that are equal where it is the same, NA where it is not known."""
    return {
        "photograph": photographs(manifest["image_id"]),
        "lesion": qualified(manifest, "lesion_id"),
        "patient": qualified(manifest, "patient_id"),
        "exact copy": manifest["sha256"],
        "duplicate group": manifest["duplicate_group"],
    }


def connected(links: list[pd.Series]) -> np.ndarray:
    """Number the connected groups of rows that share a value of any of the series, int64 [N]; NA links nothing."""
    count = len(links[0])
    if not count:
        return np.zeros(0, np.int64)
    edges: list[np.ndarray] = []
    for values in links:
        present = np.flatnonzero(values.notna().to_numpy())
        codes = pd.factorize(values.iloc[present].astype(str))[0]
        _, first = np.unique(codes, return_index=True)
        edges.append(np.stack([present, present[first[codes]]]))
    left, right = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)
