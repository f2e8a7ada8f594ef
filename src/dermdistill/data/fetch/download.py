"""Public data sets from where they are published: the one door to the ISIC archive and to DermaMNIST."""

import re
from pathlib import Path

from dermdistill.data.fetch.publisher import COLLECTIONS, ISIC_API, ISIC_PREFIX, NAMES, RETRIES, Fetched, FetchError
from dermdistill.errors import InputError, no_such

__all__ = ["COLLECTIONS", "ISIC_API", "ISIC_PREFIX", "NAMES", "FetchError", "Fetched", "fetch"]


def fetch(
    name: str,
    folder: str | Path,
    *,
    api_url: str = ISIC_API,
    limit: int | None = None,
    size: int = 224,
    retries: int = RETRIES,
) -> Fetched:
    """Download a data set, or what of it is not there yet.

    Beside the images lie metadata.csv (with a licence column), attribution.txt, licenses/ and fetch.json; and
    failures.csv if anything failed. `dermdistill data import` reads the folder.

    Args:
        name: one of `NAMES`, or 'isic-collection:NUMBER'.
        folder: where to; one data set a folder.
        api_url: the ISIC archive's address.
        limit: at most so many images (ISIC only).
        size: side in pixels of DermaMNIST's images: 28, 64, 128 or 224.
        retries: how often a request is tried again after an error of the server.

    Raises:
        InputError: no such name, collection or size.
        FetchError: the publisher cannot be reached, or the disk is too small. Single images that fail are not
            an error here; they are in `Fetched.failures`.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    folder = Path(folder)
    if name == "dermamnist":
        from dermdistill.data.fetch.medmnist import fetch_dermamnist

        return fetch_dermamnist(folder, size)
    if name not in COLLECTIONS and not re.fullmatch(re.escape(ISIC_PREFIX) + r"\d+", name):
        raise no_such("data set", name, [*NAMES, f"{ISIC_PREFIX}NUMBER"])
    from dermdistill.data.fetch.isic import Archive

    return Archive(api_url, retries).fetch(name, folder, limit)
