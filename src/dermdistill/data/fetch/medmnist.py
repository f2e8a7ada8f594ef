"""DermaMNIST, from the address and with the checksum that the package `medmnist` gives.

The package's own downloader is not used: it writes to the final name before it checks, cannot go on where it
stopped (the largest file has about a gigabyte), and hides why it failed.
"""

import hashlib
from pathlib import Path
from typing import Any

from dermdistill import talk
from dermdistill.data.fetch.publisher import Fetched, FetchError, as_fetch_errors
from dermdistill.data.sources import SOURCES
from dermdistill.errors import InputError
from dermdistill.files import write_json, write_text

SIZES = (28, 64, 128, 224)
_CHUNK = 2**16
_TIMEOUT = (5, 30)


def fetch_dermamnist(folder: Path, size: int) -> Fetched:
    """Download dermamnist.npz (28 px) or dermamnist_SIZE.npz, with attribution.txt and fetch.json beside it.

    Args:
        folder: where to; one size a folder, since the images of all sizes are the same.
        size: side of the images in pixels, one of `SIZES`.

    Raises:
        InputError: no such size, or the folder holds another one.
        FetchError: not reachable, interrupted (the part stays and is continued), or the checksum is wrong.
    """
    if size not in SIZES:
        raise InputError(f"DermaMNIST comes at {', '.join(map(str, SIZES))} pixels, not {size}")
    from medmnist.info import INFO

    info = INFO["dermamnist"]
    flag = "" if size == 28 else f"_{size}"
    url, md5 = str(info[f"url{flag}"]), str(info[f"MD5{flag}"])
    path = folder / f"dermamnist{flag}.npz"
    others = [one.name for one in folder.glob("*dermamnist*.npz") if one != path]
    if others:
        raise InputError(f"{folder} already holds {others[0]}, with the same images; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    images = sum(info["n_samples"].values())
    result = Fetched(folder, expected=1, licences={str(info["license"]): images})
    if path.is_file() and _md5(path) == md5:
        result.present = 1
    else:
        _download(url, path, md5)
        result.downloaded = 1
    citation = SOURCES["dermamnist"].citation
    write_text(folder / "attribution.txt", f"Cite: {citation}\n\nLicence of the images: {info['license']}\n")
    write_json(
        folder / "fetch.json",
        {"name": "dermamnist", "address": url, "md5": md5, "images": images, "licences": result.licences,
         "citation": citation},
    )  # fmt: skip
    return result


def _download(url: str, path: Path, md5: str) -> None:
    """Download to a .part file, going on with an earlier one; rename it if the checksum is right."""
    import requests

    part = path.with_name(path.name + ".part")
    there = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={there}-"} if there else {}
    with as_fetch_errors(url), requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if answer.status_code != 416:  # else the part is already whole, or too long, which the checksum tells
            answer.raise_for_status()
            _receive(answer, part, there if answer.status_code == 206 else 0)
    if (found := _md5(part)) != md5:
        part.unlink()
        raise FetchError(f"{url} gave a file with the MD5 {found}, expected {md5}; it was removed, try again")
    part.replace(path)


def _receive(answer: Any, part: Path, start: int) -> None:
    total = start + int(answer.headers.get("Content-Length", 0))
    with talk.bars(of_bytes=True) as bars, part.open("ab" if start else "wb") as file:
        bar = bars.add_task(part.stem, total=total or None, completed=start)
        for chunk in answer.iter_content(_CHUNK):
            file.write(chunk)
            bars.advance(bar, len(chunk))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
