"""Frozen folds: no lesion, patient, photograph or duplicate group is ever on two sides."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from dermdistill.data.ids import connected, keys, photographs
from dermdistill.data.manifest import manifest_hash
from dermdistill.data.spec import Fold, SplitsFile
from dermdistill.errors import InputError, IntegrityError, no_such
from dermdistill.files import sha256_json, write_json
from dermdistill.specs import load_header

GROUPED_BY = ("sha256", "duplicate_group", "lesion_id", "patient_id")
TEST = "test"

FORMAT: str = SplitsFile.model_fields["format"].default


@dataclass(frozen=True)
class Splits:
    """The fold of each image, and the rule that made them."""

    manifest_sha256: str
    rule: dict[str, Any]
    folds: dict[str, Fold]

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

    Images are linked that share their bytes, near-duplicate group, photograph of the ISIC archive, lesion or patient;
    what a lesion or patient id means across sources, `dermdistill.data.ids` tells.
    """
    return connected(list(keys(manifest).values()))


def make_splits(manifest: pd.DataFrame, folds: int = 5, seed: int = 0, holdout: float = 0.0) -> Splits:
    """Divide a manifest into k folds and, if asked for, a held-out test part.

    Grouped by lesion, patient and duplicates (`groups`); stratified by source and diagnosis (`balance` tells how well
    that went), or by melanoma alone where each such stratum is smaller than the number of folds. The row order of the
    manifest does not matter.

    Args:
        manifest: all images.
        folds: number of folds, at least 2.
        seed: decides which groups fall where.
        holdout: share of the images to hold out as 'test', 0 to 0.5, met to a few hundredths.

    Raises:
        InputError: too few groups to fill every fold, or values out of range.
    """
    if folds < 2:
        raise InputError(f"folds must be at least 2, got {folds}")
    if not 0 <= holdout <= 0.5:
        raise InputError(f"holdout must be a share from 0 to 0.5, got {holdout}")
    table = manifest.sort_values("image_id").reset_index(drop=True)
    group, strata = groups(table), _strata(table)
    where: np.ndarray = np.full(len(table), -1)
    if holdout > 0:
        taken, parts = _fraction(holdout)
        for part, chosen in zip(range(taken), _divide(strata, group, parts, seed), strict=False):
            where[chosen] = -2 - part
    rest = np.flatnonzero(where == -1)
    for fold, chosen in enumerate(_divide(strata[:, rest], group[rest], folds, seed)):
        where[rest[chosen]] = fold
    placed: dict[str, Fold] = {
        name: "test" if fold < 0 else int(fold) for name, fold in zip(table["image_id"], where, strict=True)
    }
    rule = {
        "folds": folds,
        "seed": seed,
        "holdout": holdout,
        "group_by": [
            *GROUPED_BY,
            *(["photograph"] if photographs(table["image_id"]).dropna().duplicated().any() else []),
        ],
        "stratify_by": ["source", "diagnosis"],
    }
    return Splits(manifest_hash(manifest), rule, placed)


def _fraction(share: float) -> tuple[int, int]:
    """How many of how many equal parts come nearest to a share, at most 20 parts unless it is below a 20th."""
    nearest = Fraction(share).limit_denominator(20)
    return (nearest.numerator, nearest.denominator) if nearest else (1, round(1 / share))


def _strata(table: pd.DataFrame) -> np.ndarray:
    """Numbered strata of each image, from the finest to none, int64 [3, N]."""
    melanoma = "melanoma:" + table["melanoma"].astype(str)
    fine = table["source"].astype(str) + "|" + table["diagnosis"].fillna(melanoma).astype(str)
    return np.stack([pd.factorize(fine, sort=True)[0], table["melanoma"].to_numpy(int), np.zeros(len(table), int)])


def _divide(strata: np.ndarray, group: np.ndarray, parts: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the rows of each part, by the finest strata of which one at least has enough images for all parts."""
    found = len(np.unique(group))
    if found < parts:
        raise InputError(f"{found} independent groups of images cannot fill {parts} parts; ask for fewer, larger ones")
    usable = next(row for row in strata if np.bincount(row).max() >= parts)
    divider = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        divided = [chosen for _, chosen in divider.split(np.zeros(len(group)), usable, group)]
    empty = sum(len(chosen) == 0 for chosen in divided)
    if empty:
        raise InputError(
            f"{empty} of {parts} parts would be empty: {len(group)} images in {found} groups are too few, or one group "
            "is too large; ask for fewer parts"
        )
    yield from divided


def balance(manifest: pd.DataFrame, splits: Splits) -> pd.DataFrame:
    """What fell where: a row for each fold, with columns images, groups, melanomas, and one for each diagnosis."""
    where = manifest["image_id"].map(splits.folds).astype(str).to_numpy()
    table = pd.DataFrame({
        "images": manifest["image_id"].groupby(where).size(),
        "groups": pd.Series(groups(manifest)).groupby(where).nunique(),
        "melanomas": manifest["melanoma"].astype(int).groupby(where).sum(),
    })  # fmt: skip
    diagnoses = manifest["diagnosis"].fillna("unknown").astype(str).to_numpy()
    table = table.join(pd.crosstab(where, diagnoses))
    return table.rename_axis(index="fold")


def write_splits(splits: Splits, path: str | Path, *, force: bool = False) -> None:
    """Freeze splits to a JSON file.

    Raises:
        InputError: the file holds other splits, or damaged ones, and `force` is not given.
    """
    path = Path(path)
    if path.exists() and not force:
        try:
            there = read_splits(path)
        except IntegrityError as error:
            raise InputError(f"{error}. Choose another file, or --force to replace it") from None
        if there.sha256 != splits.sha256:
            raise InputError(
                f"{path} holds other splits ({there.sha256[:12]}, new ones {splits.sha256[:12]}); results that rest "
                "on them could no longer be compared. Choose another file, or --force to replace them"
            )
        return
    write_json(path, {**splits.content(), "sha256": splits.sha256})


def read_splits(path: str | Path, manifest: pd.DataFrame | None = None, *, straddling: bool = False) -> Splits:
    """Read frozen splits and check them.

    Args:
        path: the JSON file.
        manifest: if given, the manifest that the splits must belong to.
        straddling: allow groups that lie in several folds, for those who look for them.

    Raises:
        InputError: no such file.
        IntegrityError: it is no file of splits, was changed after it was frozen, or belongs to another manifest, or to
            one whose near duplicates were not yet known.
    """
    header = load_header(path, SplitsFile)
    splits, frozen = Splits(header.manifest_sha256, header.rule, header.folds), header.sha256
    if splits.sha256 != frozen:
        raise IntegrityError(f"{path} was changed after it was frozen: its hash is {splits.sha256}, not {frozen}")
    if manifest is not None and (found := manifest_hash(manifest)) != splits.manifest_sha256:
        raise IntegrityError(
            f"{path} belongs to a manifest with the hash {splits.manifest_sha256[:12]}, this one has {found[:12]}: "
            "its images, labels or groups changed; use the manifest that was split, or split anew into another file"
        )
    if manifest is not None and not straddling:
        _require_whole_groups(manifest, splits, path)
    return splits


def _require_whole_groups(manifest: pd.DataFrame, splits: Splits, path: str | Path) -> None:
    """Duplicate groups are not in the manifest's hash: those found since the split may straddle folds."""
    folds = manifest["image_id"].map(splits.folds).astype(str).groupby(groups(manifest)).nunique()
    if (folds > 1).any():
        raise IntegrityError(
            f"{path}: {int((folds > 1).sum())} groups of copies, lesions or patients lie in more than one fold, since "
            "near duplicates were found after the split; run `dermdistill data split` anew into another file"
        )


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
            raise no_such("fold", fold, sorted(map(str, known)))
    if held_out == validation:
        raise InputError(f"fold {held_out!r} cannot both validate and test")
    training = [fold for fold in known if fold not in (held_out, validation, TEST)]
    return {
        "train": sorted(name for fold in training for name in splits.ids(fold)),
        "validation": splits.ids(validation) if validation is not None else [],
        "test": splits.ids(held_out),
    }
