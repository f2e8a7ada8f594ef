"""Under what licences images are."""

import pandas as pd

from dermdistill.data.sources import SOURCES
from dermdistill.errors import InputError
from dermdistill.licences import UNKNOWN, kind_of


def licences(manifest: pd.DataFrame) -> pd.Series:
    """The licence of each image: its own, else that of its source, else 'unknown'."""
    of_source = manifest["source"].map({name: source.licence for name, source in SOURCES.items()})
    return manifest["licence"].fillna(of_source).fillna(UNKNOWN)


def known_licences(manifest: pd.DataFrame) -> list[str]:
    """The different licences of the images, sorted."""
    return sorted(licences(manifest).unique())


def under(manifest: pd.DataFrame, kinds: tuple[str, ...]) -> tuple[pd.DataFrame, dict[str, int]]:
    """The images under licences of some kinds alone.

    Args:
        manifest: images.
        kinds: of `dermdistill.licences.KINDS`.

    Returns:
        These images, and how many of the others are under each licence.

    Raises:
        InputError: none is left.
    """
    named = licences(manifest)
    kept = named.map(kind_of).isin(kinds).to_numpy(bool)
    dropped = {str(name): int(count) for name, count in named[~kept].value_counts().items()}
    if not kept.any():
        found = ", ".join(f"{name} ({count:,})" for name, count in dropped.items())
        raise InputError(
            f"data.licences keeps only images under {', '.join(kinds)}, and no image is; the images are under {found}; "
            "allow one of these, or take sources with other licences"
        )
    return manifest[kept].reset_index(drop=True), dropped
