"""DICOM objects as files: which files are some, the frames that a file stands for, and what a DICOMDIR lists."""

import re
from collections.abc import Iterator
from pathlib import Path

from dermdistill.images.dicom.header import Refused, count_frames, quiet, read_header, read_syntax
from dermdistill.images.formats import DICOM, HEAD, format_of_suffix, is_installed, recognise

DICOMDIR = "DICOMDIR"
"""The name of the file that lists the objects of a medium."""
_FRAME_NAME = re.compile(r"(.+)#([1-9]\d{0,4})", re.DOTALL)


def frame_path(path: Path, number: int) -> Path:
    """What names a frame of a file with several: 'a.dcm#2' for the second."""
    return path.with_name(f"{path.name}#{number}")


def split_frame(path: Path) -> tuple[Path, int | None]:
    """The file and the number of its frame, counted from 1, that a path names; None where it names no frame.

    A file whose own name ends so is itself.
    """
    found = _FRAME_NAME.fullmatch(path.name)
    if found is None or path.exists():
        return path, None
    file = path.with_name(found[1])
    return (file, int(found[2])) if file.is_file() else (path, None)


def may_be_dicom(path: str | Path) -> bool:
    """Whether a name is one that DICOM files have: '.dcm', a UID, or no suffix, as on media."""
    suffix = Path(path).suffix
    return format_of_suffix(suffix) is DICOM or suffix == "" or suffix[1:].isdigit()


def is_dicom(path: str | Path) -> bool:
    """Whether a regular file begins as DICOM files do; False if it cannot be read."""
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as stream:
            return recognise(stream.read(HEAD)) is DICOM
    except (OSError, ValueError):
        return False


def expand_frames(path: Path) -> Iterator[Path]:
    """The frames of a DICOM file of several; the path itself for every other file, however broken."""
    count = 1
    if may_be_dicom(path) and is_dicom(path) and is_installed(DICOM):
        try:
            with path.open("rb") as stream, quiet():
                count = count_frames(read_header(stream))
        except Exception:  # whatever is wrong with it, decoding says so in its own row
            count = 1
    yield from [path] if count == 1 else (frame_path(path, number + 1) for number in range(count))


def sop_instance_uid(path: str | Path) -> str:
    """The SOP Instance UID of an object, which may be named with a frame; empty if it has none or is no DICOM file."""
    file, _ = split_frame(Path(path))
    if not (is_dicom(file) and is_installed(DICOM)):
        return ""
    try:
        with file.open("rb") as stream, quiet():
            found = str(read_header(stream).get("SOPInstanceUID", ""))
    except Exception:  # pydicom raises nearly anything on damaged input
        return ""
    return found if re.fullmatch(r"[0-9.]{1,64}", found) else ""


def list_dicomdir(path: str | Path) -> list[Path]:
    """The files of the images that a DICOMDIR lists, in its order.

    Raises:
        Refused: it cannot be read, or names a file outside its folder.
    """
    from pydicom import dcmread

    folder = Path(path).parent
    try:
        with Path(path).open("rb") as stream, quiet():
            read_syntax(stream)
            stream.seek(0)
            records = dcmread(stream, specific_tags=[0x00041220]).DirectoryRecordSequence
            names = [
                [parts] if isinstance(parts, str) else list(parts)
                for record in records
                if record.get("DirectoryRecordType") == "IMAGE" and (parts := record.get("ReferencedFileID"))
            ]
    except Exception as error:  # pydicom raises nearly anything on damaged input
        raise Refused("unreadable", f"a DICOMDIR that cannot be read ({type(error).__name__})") from None
    for parts in names:
        if any(not re.fullmatch(r"[A-Za-z0-9_.-]+", part) or part in (".", "..") for part in parts):
            raise Refused("unreadable", "a DICOMDIR that names a file outside its folder; make it again")
    return [_as_stored(folder, parts) for parts in names]


def _as_stored(folder: Path, parts: list[str]) -> Path:
    """A file of a DICOMDIR, whose names are in capitals; systems often copy them in small letters."""
    named, small = folder.joinpath(*parts), folder.joinpath(*map(str.lower, parts))
    return small if not named.exists() and small.exists() else named
