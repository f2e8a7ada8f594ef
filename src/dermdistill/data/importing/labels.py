"""What a data set's words for image types and diagnoses mean, and which rows they leave out."""

import re
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from dermdistill.classes import MELANOMA
from dermdistill.data import sources
from dermdistill.data.importing import layouts
from dermdistill.data.importing.intake import Intake
from dermdistill.data.importing.own import Own, levels_hint
from dermdistill.errors import InputError

DERMOSCOPIC = "dermoscopic"


def of_types(table: pd.DataFrame, layout: str, wanted: Sequence[str], source: Intake) -> pd.DataFrame:
    """The images of the wanted types; rows that say none are taken to be dermoscopic."""
    mixed = layout == "table" or (layout in layouts.TABLES and layouts.TABLES[layout].mixed)
    if not mixed or "image_type" not in table.columns or "all" in wanted:
        return table
    kinds = table["image_type"].astype("string").str.lower().fillna(DERMOSCOPIC)
    kinds = kinds.str.replace(r"^dermat?oscop\w*", DERMOSCOPIC, regex=True)
    asked = tuple(re.sub(r"^dermat?oscop\w*", DERMOSCOPIC, word.strip().lower()) for word in wanted)
    taken = kinds.str.startswith(asked).to_numpy(bool)
    counts = table.loc[~taken, "image_type"].value_counts()
    if not taken.any():
        there = ", ".join(f"'{kind}' ({count})" for kind, count in counts.items())
        raise InputError(
            f"{source.folder}: no image is of the type {' or '.join(wanted)}; there are {there}. Choose with "
            "--image-type; a model of dermoscopy learns nothing good from other photographs"
        )
    source.dropped |= {f"image type '{kind}'": int(count) for kind, count in counts.items()}
    return table[taken]


def diagnosed(table: pd.DataFrame, drop: bool, source: Intake) -> pd.DataFrame:
    """Give each row its class (`diagnosis`, NA if none of the seven) and whether it is a melanoma.

    Args:
        table: rows with the source's `word` each; without that column they know melanoma already.
        drop: leave out rows whose word is not known.
        source: the data set, which says which words are its own and counts what is left out.

    Raises:
        InputError: words are not known, or may not be dropped, or no row is left.
    """
    if "word" not in table.columns:
        return table.assign(diagnosis=None)
    if source.own.drop_labels:
        left_out = table["word"].fillna("").map(lambda word: _is_among(word, source.own.drop_labels)).astype(bool)
        source.dropped |= {f"label '{word}'": int(n) for word, n in table.loc[left_out, "word"].value_counts().items()}
        table = table[~left_out]
    meant = {word: _meaning(word, source.own) for word in table["word"].dropna().unique()}
    found = table["word"].map(meant)
    if source.own.melanoma_labels:
        none = [f"'{word}'" for word, meaning in meant.items() if meaning == sources.OTHER != sources.diagnosis(word)]
        if none:
            source.notes.append(f"labels taken for no melanoma: {', '.join(none)}")
    unknown = found.isna()
    if unknown.any():
        words = Counter(table.loc[unknown, "word"].fillna("(empty)"))
        _require_harmless(words, bool((found == MELANOMA).any()), drop, table, source)
        source.dropped |= {f"unknown diagnosis '{word}'": count for word, count in words.items()}
    if unknown.all():
        raise InputError(f"{source.folder}: no image is left; left out were: {', '.join(source.dropped) or 'none'}")
    table, found = table[~unknown].copy(), found[~unknown]
    table["melanoma"] = (found == MELANOMA).astype("int8")
    table["diagnosis"] = found.mask(found == sources.OTHER, pd.NA).astype("string")
    return table


def _is_among(word: str, labels: Sequence[str]) -> bool:
    """Whether a word is one of the labels, whatever its case; 1.0 is 1."""
    return word.lower().removesuffix(".0") in [label.strip().lower().removesuffix(".0") for label in labels]


def _meaning(word: str, own: Own) -> str | None:
    """The class of a label; where labels are said to mean melanoma, those that no table knows are none."""
    if _is_among(word, own.melanoma_labels):
        return MELANOMA
    meaning = sources.diagnosis(word)
    if meaning or not own.melanoma_labels or sources.is_undecided(word):
        return meaning
    return sources.OTHER


def _require_harmless(
    words: Counter[str], melanoma: bool, drop: bool, table: pd.DataFrame, source: Intake
) -> None:  # fmt: skip
    """Refuse unknown diagnoses, unless they are to be dropped and no melanoma seems to be among them.

    Args:
        words: the unknown words and their counts.
        melanoma: whether the known ones hold a melanoma.
        drop: whether unknown ones are to be dropped.
        table: all rows, for a hint.
        source: the data set.
    """
    listed = ", ".join(f"'{word}' ({count})" for word, count in words.most_common(20))
    problem = f"{source.folder}: diagnoses that the table does not know: {listed}"
    suspects = [word for word in words if sources.may_be_melanoma(word)]
    named = not all(word == "(empty)" or sources.is_undecided(word) for word in words)
    mend = "--melanoma-label WORD says which mean melanoma, --drop-label WORD leaves one out"
    hint = levels_hint(table, source.found.root) if "file" in table.columns else ""
    if suspects:
        raise InputError(
            f"{problem}. {', '.join(map(repr, suspects))} may be melanomas, which --drop-unknown would leave out: "
            f"{mend}{hint}"
        )
    if named and not melanoma:
        raise InputError(
            f"{problem}. No other one is a melanoma, so that --drop-unknown would leave none: {mend}{hint}"
        )
    if not drop:
        raise InputError(f"{problem}; drop them with --drop-unknown, or: {mend}{hint}")
