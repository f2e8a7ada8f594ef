"""Licences of images and of weights: what they are called, and which one binds what was learned from several."""

import re
from collections.abc import Iterable
from typing import Final, Literal, get_args

Kind = Literal["CC0", "CC BY", "CC BY-SA", "unknown", "CC BY-NC"]
"""Kinds of licences, from the freest to the most restrictive. `unknown` is no permission at all; it stands before
CC BY-NC, because where both are mixed the weights are non-commercial in any case, and their licence has to say so."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
UNKNOWN: Final = "unknown"


def kind_of(licence: str) -> Kind:
    """The kind of a licence, or of the most restrictive of several that commas separate.

    Spelling does not matter: 'CC-0', 'CC0-1.0' and 'CC0 1.0' are one. A licence that allows no derivatives, or is none
    of Creative Commons, is `unknown`.
    """
    return max((_kind(part) for part in licence.split(",")), key=KINDS.index)


def _kind(licence: str) -> Kind:
    words = set(re.findall(r"[A-Z]+", licence.upper()))
    zero = re.search(r"\bCC[ -]?0\b", licence.upper())
    if zero or words == {"PUBLIC", "DOMAIN"}:
        return "CC0"
    if not {"CC", "BY"} <= words or "ND" in words:
        return "unknown"
    return "CC BY-NC" if "NC" in words else "CC BY-SA" if "SA" in words else "CC BY"


def binding(licences: Iterable[str]) -> str:
    """The licence of what was learned from images under some licences: the most restrictive of them.

    Args:
        licences: of the images, as their sources call them.

    Returns:
        It as its source calls it, several of the same kind with commas between; 'unknown' where there is none.
    """
    known = sorted(set(licences)) or [UNKNOWN]
    most = max(map(kind_of, known), key=KINDS.index)
    return UNKNOWN if most == "unknown" else ", ".join(one for one in known if kind_of(one) == most)
