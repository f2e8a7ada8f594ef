"""Frozen folds: no lesion, patient or duplicate group is ever on two sides."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from dermdistill.data.manifest import manifest_hash
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import read_json, sha256_json, write_json

FORMAT = "dermdistill-splits/1"
GROUPED_BY = ("sha256", "duplicate_group", "lesion_id", "patient_id")
TEST = "test"


@dataclass(frozen=True)
class Splits:
    """The fold of each image, and the rule that made them."""

    manifest_sha256: str
    rule: dict[str, Any]
    folds: dict[str, int | Literal["test"]]

    def content(self) -> dict[str, Any]:
        """Everything but the hash, as it stands in the file."""
        return {
            "format": FORMAT,
            "manifest_sha256": self.manifest_sha256,
            "rule": self.rule,
            "folds": dict(sorted(self.folds.items())),
        }

    @property
    def sha256(self) -> str:
        """The SHA-256 of the folds, the rule and the manifest's hash."""
        return sha256_json(self.content())

    def ids(self, fold: int | str) -> list[str]:
        """The image ids of one fold, sorted."""
        return sorted(name for name, where in self.folds.items() if where == fold)


def groups(manifest: pd.DataFrame) -> np.ndarray:
    """Number the connected groups of images that must stay together, int64 [N].

    Images are linked that share their bytes, near-duplicate group, lesion or patient; lesion and patient ids
    are compared within one source only.
    """
    count = len(manifest)
    edges: list[np.ndarray] = []
    for column in GROUPED_BY:
        present = np.flatnonzero(manifest[column].notna().to_numpy())
        values = manifest[column].iloc[present].astype(str)
        if column in ("lesion_id", "patient_id"):
            values = manifest["source"].iloc[present].astype(str) + "\n" + values
        codes = pd.factorize(values)[0]
        _, first = np.unique(codes, return_index=True)
        edges.append(np.stack([present, present[first[codes]]]))
    left, right = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def make_splits(manifest: pd.DataFrame, folds: int = 5, seed: int = 0, holdout: float = 0.0) -> Splits:
    """Divide a manifest into k folds and, if asked for, a held-out test part.

    Grouped by lesion, patient and duplicates (`groups`); stratified by source and diagnosis. The row order of
    the manifest does not matter.

    Args:
        manifest: all images.
        folds: number of folds, at least 2.
        seed: decides which groups fall where.
        holdout: share of the images to hold out as 'test', 0 to 0.5.

    Raises:
        InputError: fewer groups than folds, or values out of range.
    """
    if folds < 2:
        raise InputError(f"folds must be at least 2, got {folds}")
    if not 0 <= holdout <= 0.5:
        raise InputError(f"holdout must be a share from 0 to 0.5, got {holdout}")
    table = manifest.sort_values("image_id").reset_index(drop=True)
    group = groups(table)
    if len(np.unique(group)) < folds:
        raise InputError(f"{len(np.unique(group))} independent groups of images cannot fill {folds} folds")
    strata = _strata(table)
    where: np.ndarray = np.full(len(table), -1)
    rest = np.arange(len(table))
    if holdout > 0:
        parts = max(2, round(1 / holdout))
        held = next(_divide(strata, group, parts, seed))
        where[held] = -2
        rest = np.setdiff1d(rest, held)
    for fold, chosen in enumerate(_divide(strata[rest], group[rest], folds, seed)):
        where[rest[chosen]] = fold
    placed: dict[str, int | Literal["test"]] = {
        name: "test" if fold == -2 else int(fold) for name, fold in zip(table["image_id"], where, strict=True)
    }
    rule = {
        "folds": folds,
        "seed": seed,
        "holdout": holdout,
        "group_by": list(GROUPED_BY),
        "stratify_by": ["source", "diagnosis"],
    }
    return Splits(manifest_hash(manifest), rule, placed)


def _strata(table: pd.DataFrame) -> np.ndarray:
    diagnosis = table["diagnosis"].fillna("melanoma:" + table["melanoma"].astype(str))
    return pd.factorize(table["source"].astype(str) + "|" + diagnosis.astype(str), sort=True)[0]


def _divide(strata: np.ndarray, group: np.ndarray, parts: int, seed: int):  # type: ignore[no-untyped-def]
    import warnings

    divider = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for _, chosen in divider.split(np.zeros(len(strata)), strata, group):
            yield chosen


def write_splits(splits: Splits, path: str | Path, *, force: bool = False) -> None:
    """Freeze splits to a JSON file.

    Raises:
        InputError: the file holds other splits and `force` is not given.
    """
    path = Path(path)
    if path.exists() and not force:
        there = read_splits(path)
        if there.sha256 != splits.sha256:
            raise InputError(
                f"{path} holds other splits ({there.sha256[:12]}, new ones {splits.sha256[:12]}); results that rest "
                "on them could no longer be compared. Choose another file, or --force to replace them"
            )
        return
    write_json(path, {**splits.content(), "sha256": splits.sha256})


def read_splits(path: str | Path, manifest: pd.DataFrame | None = None) -> Splits:
    """Read frozen splits and check them.

    Args:
        path: the JSON file.
        manifest: if given, the manifest that the splits must belong to.

    Raises:
        IntegrityError: the file was changed after it was frozen, or belongs to another manifest.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise IntegrityError(f"{path} is not a {FORMAT} file")
    try:
        splits = Splits(content["manifest_sha256"], content["rule"], content["folds"])
        frozen = content["sha256"]
    except KeyError as error:
        raise IntegrityError(f"{path} lacks the key {error}") from None
    if splits.sha256 != frozen:
        raise IntegrityError(f"{path} was changed after it was frozen: its hash is {splits.sha256}, not {frozen}")
    if manifest is not None and (found := manifest_hash(manifest)) != splits.manifest_sha256:
        raise IntegrityError(
            f"{path} belongs to a manifest with the hash {splits.manifest_sha256[:12]}, this one has {found[:12]}: "
            "its images, labels or groups changed; use the manifest that was split, or split anew into another file"
        )
    return splits


def roles(splits: Splits, held_out: int | str, validation: int | None) -> dict[str, list[str]]:
    """Which images train, validate and test.

    Args:
        splits: the folds.
        held_out: the fold (or 'test') that is tested on.
        validation: the fold that chooses; None for none.

    Returns:
        Sorted image ids for 'train', 'validation' and 'test'. A held-out 'test' part never trains.

    Raises:
        InputError: a fold that does not exist, or the same one twice.
    """
    known = set(splits.folds.values())
    for fold in (held_out, validation):
        if fold is not None and fold not in known:
            raise InputError(f"there is no fold {fold!r}; the splits have {sorted(map(str, known))}")
    if held_out == validation:
        raise InputError(f"fold {held_out!r} cannot both validate and test")
    training = [fold for fold in known if fold not in (held_out, validation, TEST)]
    return {
        "train": sorted(name for fold in training for name in splits.ids(fold)),
        "validation": splits.ids(validation) if validation is not None else [],
        "test": splits.ids(held_out),
    }
