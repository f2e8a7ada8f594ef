"""The DICOM image that a result is on, as the objects that refer to it need it: all of its header, without pixels.

What is read here names the patient. It goes into DICOM objects of the same study, and nowhere else.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dermdistill.errors import InputError
from dermdistill.images.dicom.files import is_dicom, split_frame
from dermdistill.images.dicom.header import quiet
from dermdistill.predict.gate import in_words
from dermdistill.predict.predictor import REFUSED, Result

if TYPE_CHECKING:
    from pydicom import Dataset

OF_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
OF_STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")
"""What an object may leave empty; those that refer to it repeat it empty where it lacks."""
_NEEDED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class DicomSource:
    """An image and its frame."""

    path: Path
    header: "Dataset"
    frame: int | None
    """Counted from 1; None for an object of one frame."""


def state_of(result: Result) -> str:
    """What is wrong with an image that was judged nonetheless, for an object on it: no word of its file or patient.

    Returns:
        Such as 'damaged', or 'refused by the model's gate: it is too dark'; empty if nothing is wrong.
    """
    if result.status == REFUSED:
        return f"refused by the model's gate: {in_words((result.quality or '').split(','))}"
    return "" if result.status == "ok" else result.status


@dataclass(frozen=True)
class Place:
    """Where a new object stands within its study."""

    series: str
    """The UID of a new series, one for each study and kind of object."""
    number: int
    """Of the object within it, from 1."""


def find_source(file: str) -> tuple[Path, int | None] | None:
    """The file and the number of the frame of a result on a DICOM image; None if its image is none."""
    path, frame = split_frame(Path(file))
    return (path, frame) if is_dicom(path) else None


def read_source(path: Path, frame: int | None) -> DicomSource:
    """Read the header of a DICOM image.

    Raises:
        InputError: it lacks what a reference to it needs.
        Exception: pydicom raises nearly anything on damaged input.
    """
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True)
    lacking = [name for name in _NEEDED if not header.get(name)]
    if lacking:
        raise InputError(f"{path}: no report can refer to a DICOM object without {', '.join(lacking)}")
    for name in (*OF_PATIENT, *OF_STUDY):
        if name not in header:
            setattr(header, name, "")
    several = int(header.get("NumberOfFrames") or 1) > 1
    return DicomSource(path, header, (frame or 1) if several else None)


@contextlib.contextmanager
def discreet() -> Iterator[None]:
    """A block in which pydicom, highdicom and the client of an archive say nothing: they quote what they read."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom", "dicomweb_client", "urllib3", "requests")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with quiet():
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
