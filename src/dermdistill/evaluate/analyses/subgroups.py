"""Melanoma AUROC by source, collection, sex, age, site, skin tone and what else a table tells."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd

from dermdistill.errors import InputError, no_such
from dermdistill.evaluate.intervals import Counted, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.evaluate.skin_tone import BANDS, TONE

SOURCE = "source: "
"""How the names of subgroups by source begin."""
FEWEST = 10
"""Melanomas, and other lesions, that a subgroup needs for a figure."""
MOST = 50
"""Values of a column that makes subgroups."""
AGES = ((0, 30), (30, 50), (50, 70), (70, 121))
"""Age bands in years, upper end excluded."""


@dataclass(frozen=True)
class Drawn:
    """One model's AUROC on a subgroup in every bootstrap replicate."""

    n: int
    positives: int
    values: np.ndarray
    """[R], the first of the images as they are."""
    why: str
    """Why it is undefined, if it is."""


@dataclass(frozen=True)
class Group:
    """Some of the judged images."""

    column: str
    """What divides the images: 'sex', 'age', …"""
    mask: np.ndarray
    """Which they are, bool [N]."""


def draw(groups: dict[str, Group], scored: Scored, weights: np.ndarray) -> dict[str, Drawn]:
    """One model's AUROC on each subgroup, by the subgroup's name.

    Args:
        groups: what `groups_of` gave.
        scored: the model on the images [N].
        weights: bootstrap weights [R, N].
    """
    return {name: _draw(scored, group.mask, weights) for name, group in groups.items()}


def subgroups(drawn: dict[str, Drawn]) -> dict[str, Counted]:
    """AUROC with interval, n and positives of each subgroup; None with a reason where too few."""
    return {
        name: Counted(**asdict(figure(part.values, part.why)), n=part.n, positives=part.positives)
        for name, part in drawn.items()
    }


def _draw(scored: Scored, mask: np.ndarray, weights: np.ndarray) -> Drawn:
    positives, n = int(scored.y[mask].sum()), int(mask.sum())
    if min(positives, n - positives) < FEWEST:
        why = f"needs {FEWEST} melanomas and {FEWEST} others, has {positives} and {n - positives}"
        return Drawn(n, positives, np.full(len(weights), np.nan), why)
    part = Scored(scored.p[mask], scored.y[mask], None, None)
    return Drawn(n, positives, in_blocks(partial(auroc, part), weights[:, mask]), "undefined")


def groups_of(table: pd.DataFrame, more: Sequence[str] = ()) -> dict[str, Group]:
    """The subgroups by their names, 'sex: female' and so on; images without a value are in none.

    Args:
        table: the images [N], columns of the manifest, and perhaps others.
        more: further columns that make subgroups, one for each value.

    Raises:
        InputError: the table has no such column, or it has more than 50 values.
    """
    found = {}
    for column in dict.fromkeys(("source", "collection", "sex", "site", *more)):
        if column not in table:
            raise InputError(f"subgroups by '{column}': {no_such('column', column, [str(name) for name in table])}")
        words = table[column].astype("string")
        values = sorted(words.dropna().unique())
        if column in more and len(values) > MOST:
            raise InputError(f"'{column}' has {len(values)} values, a column of subgroups at most {MOST}")
        for value in values:
            found[f"{column}: {value}"] = Group(column, (words == value).fillna(False).to_numpy(bool))
    for low, high in AGES:
        name = f"age: {low}-{high - 1}" if high < 121 else f"age: {low} and over"
        found[name] = Group("age", table["age"].between(low, high, inclusive="left").to_numpy(bool))
    for band in BANDS if TONE in table else ():
        found[f"{TONE}: {band}"] = Group(TONE, (table[TONE] == band).fillna(False).to_numpy(bool))
    return found
