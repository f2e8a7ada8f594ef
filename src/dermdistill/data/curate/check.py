"""Look for trouble in a manifest's images and labels; bad images are set aside, the rest goes on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dermdistill import talk
from dermdistill.data.ids import keys
from dermdistill.data.manifest import HASHED
from dermdistill.files import sha256_file
from dermdistill.images.preprocess import ImageError, load_rgb

TINY = 48
"""Images with a shorter side, in pixels, are set aside: too little to see."""
BLANK = 2.0
"""Images whose brightness varies less (standard deviation of 0-255) are set aside."""
_FORMATS = {
    ".jpg": {"JPEG", "MPO"}, ".jpeg": {"JPEG", "MPO"}, ".png": {"PNG"}, ".bmp": {"BMP"}, ".tif": {"TIFF"},
    ".tiff": {"TIFF"}, ".webp": {"WEBP"}, ".gif": {"GIF"},
}  # fmt: skip


Finding = tuple[str, str, str, str]
"""Image id, path, reason, message."""


@dataclass(frozen=True)
class CheckReport:
    """What was found."""

    manifest: pd.DataFrame
    """The rows that remain."""
    set_aside: pd.DataFrame
    """Columns image_id, path, reason, message: images that cannot be used."""
    warnings: pd.DataFrame
    """Columns image_id, path, reason, message: images that are kept, but deserve a look."""


def check_hashes(manifest: pd.DataFrame) -> CheckReport:
    """Compare each file's SHA-256 with the manifest's; no image is decoded.

    Set aside are images that are missing, cannot be read from the disk, or were changed since the manifest was made.

    Args:
        manifest: with absolute paths.
    """
    bad = _looked_at(manifest, _changed, "hash files")
    kept = manifest[~manifest["image_id"].isin([name for name, *_ in bad])].reset_index(drop=True)
    return CheckReport(kept, _table(bad), _table([]))


def check_manifest(manifest: pd.DataFrame) -> CheckReport:
    """Read every image of a manifest and compare labels within lesions and among copies.

    Set aside are images that are missing, unreadable, truncated, too small, blank, or changed since the manifest was
    made, images whose lesion, photograph or exact copy bears another melanoma label, and rows whose image id is used
    for another image or label, too; of equal rows the first stays. Kept with a warning are files whose extension does
    not tell their format, and lesions whose diagnoses differ though melanoma does not.

    Args:
        manifest: with absolute paths; ids may be used more than once.
    """
    rows = manifest[~manifest.duplicated(list(HASHED))]
    rows = rows[~rows["image_id"].duplicated(keep=False)]
    found = _looked_at(rows, _look, "check images")
    odd = [finding for finding in found if finding[2] == "wrong_extension"]
    bad = [finding for finding in found if finding[2] != "wrong_extension"]
    bad += _conflicts(rows, "melanoma", "conflicting_labels")
    known = {name for name, *_ in bad}
    odd += [line for line in _conflicts(rows, "diagnosis", "conflicting_diagnoses") if line[0] not in known]
    kept = rows[~rows["image_id"].isin(known)].reset_index(drop=True)
    return CheckReport(kept, _table(_repeated(manifest) + _first(bad)), _table(_first(odd)))


def _looked_at(
    rows: pd.DataFrame, look: Callable[[str, str], tuple[str, str] | None], doing: str
) -> list[Finding]:  # fmt: skip
    """What is found about each image by its path and the manifest's hash, in threads."""
    found: list[Finding] = []
    work = list(zip(rows["image_id"], rows["path"], rows["sha256"], strict=True))
    with talk.bars() as bars, ThreadPoolExecutor() as pool:
        bar = bars.add_task(doing, total=len(work))
        for (name, path, _), finding in zip(work, pool.map(lambda item: look(item[1], item[2]), work), strict=True):
            bars.advance(bar)
            if finding is not None:
                found.append((name, path, *finding))
    return found


def _repeated(manifest: pd.DataFrame) -> list[Finding]:
    """Rows that repeat an earlier one, and all rows of an id that stands for different images or labels."""
    again = manifest.duplicated(list(HASHED))
    clash = ~again & manifest["image_id"].isin(manifest.loc[~again, "image_id"].loc[lambda ids: ids.duplicated()])
    found = []
    for mask, reason, why in (
        (again, "repeated_row", "this image has the same row more than once; the first is kept"),
        (clash, "duplicate_id", "this id is used for different images or labels"),
    ):
        found += [
            (str(name), str(path), reason, f"{name} ({path}): {why}")
            for name, path in manifest.loc[mask, ["image_id", "path"]].itertuples(index=False)
        ]
    return found


def _changed(path: str, sha256: str) -> tuple[str, str] | None:
    try:
        found = sha256_file(path)
    except FileNotFoundError:
        return "missing", f"{path}: no such file"
    except OSError as error:
        return "unreadable", f"{path}: cannot be read ({error.strerror or error})"
    return ("changed", f"{path}: its SHA-256 is no longer the manifest's; import it again") if found != sha256 else None


def _look(path: str, sha256: str) -> tuple[str, str] | None:
    try:
        image = load_rgb(path)
    except ImageError as error:
        return error.reason, str(error)
    if changed := _changed(path, sha256):
        return changed
    if min(image.size) < TINY:
        return "tiny", f"{path}: {image.width}x{image.height} px; each side needs at least {TINY}"
    if float(np.asarray(image.convert("L"), np.float32).std()) < BLANK:
        return "blank", f"{path}: nearly one colour"
    with Image.open(path) as opened:
        kind = opened.format
    if kind not in _FORMATS.get(Path(path).suffix.lower(), {kind}):
        return "wrong_extension", f"{path}: a {kind} file by its content"
    return None


def _conflicts(manifest: pd.DataFrame, column: str, reason: str) -> list[Finding]:
    """Images whose lesion, photograph of the archive, or exact copy has more than one value in a column."""
    shared = keys(manifest)
    groupings = {"lesion": shared["lesion"], "photograph": shared["photograph"], "copy": shared["exact copy"]}
    found = {}
    for what, group in groupings.items():
        values = manifest[column].groupby(group).transform("nunique")
        for row in np.flatnonzero((values > 1).fillna(False).to_numpy(bool)):
            name, path = str(manifest["image_id"].iloc[row]), str(manifest["path"].iloc[row])
            found[name] = (name, path, reason, f"{name}: its {what} {group.iloc[row]} has several values of {column}")
    return list(found.values())


def _first(findings: list[Finding]) -> list[Finding]:
    """The first finding about each image."""
    return list({finding[0]: finding for finding in reversed(findings)}.values())[::-1]


def _table(findings: list[Finding]) -> pd.DataFrame:
    return pd.DataFrame(findings, columns=["image_id", "path", "reason", "message"])
