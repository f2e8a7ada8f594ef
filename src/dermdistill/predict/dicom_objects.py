"""DICOM objects on results, made and handed on while results pass: reports and captures.

They belong to the study of their image, so they name the patient as the image does. They are made only if asked for.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dermdistill.errors import DermdistillError, MissingExtraError, OutputError
from dermdistill.files import atomic_path
from dermdistill.images.formats import DICOM, is_installed
from dermdistill.predict.dicom_capture import Capturer
from dermdistill.predict.dicom_report import Reporter
from dermdistill.predict.dicom_source import DicomSource, Place, discreet, find_source, read_source
from dermdistill.predict.predictor import UNREPORTED, Predictor, Result

if TYPE_CHECKING:
    from pydicom import Dataset

Kind = Literal["report", "capture"]
Sink = Callable[["Dataset"], None]
"""Takes an object; raises one of our errors if it cannot."""


def folder_sink(folder: Path) -> Sink:
    """Write objects into a folder, each named by its SOP Instance UID.

    Raises:
        OutputError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(folder, error) from None

    def write(made: "Dataset") -> None:
        with atomic_path(folder / f"{made.SOPInstanceUID}.dcm") as temporary:
            made.save_as(temporary, enforce_file_format=True)

    return write


class DicomObjects:
    """Makes the objects that are asked for on each result on a DICOM image, and hands them on.

    Args:
        predictor: what gives the results.
        sinks: of each kind of object, where it goes.

    Raises:
        MissingExtraError: the extra `dicom` is not installed.
    """

    def __init__(self, predictor: Predictor, sinks: Mapping[Kind, Sequence[Sink]]):
        if not is_installed(DICOM):
            raise MissingExtraError("dicom", DICOM.plugin)
        self._sinks = {kind: asked for kind, asked in sinks.items() if asked}
        reporter = Reporter(predictor.bundle.spec, predictor.threshold)
        self._makers = {"report": reporter.make, "capture": Capturer(predictor).make}
        self._series: dict[tuple[str, Kind], str] = {}
        self._counts: Counter[str] = Counter()
        self.made: Counter[Kind] = Counter()
        """How many objects of each kind were made and handed on."""

    def of(self, results: Iterable[Result]) -> Iterator[Result]:
        """The results, whose objects are made before each comes; see `add`."""
        return map(self.add, results)

    def add(self, result: Result) -> Result:
        """Make the objects on a result if it has a probability and its image is a DICOM object.

        Returns:
            The result; with the status `UNREPORTED`, and why in its message, if one cannot be made or handed on.
        """
        found = None if result.p_melanoma is None else find_source(result.file)
        if found is None:
            return result
        failures = [told for kind in self._sinks if (told := self._try(kind, result, *found))]
        if not failures:
            return result
        message = "; ".join(filter(None, (result.message, *dict.fromkeys(failures))))
        return dataclasses.replace(result, status=UNREPORTED, message=message)

    def _try(self, kind: Kind, result: Result, path: Path, frame: int | None) -> str:
        """Make an object and hand it on; what went wrong, or an empty text."""
        try:
            with discreet():
                made = self._make(kind, result, read_source(path, frame))
                for sink in self._sinks[kind]:
                    sink(made)
        except DermdistillError as error:
            return str(error)
        except Exception as error:  # messages of pydicom and highdicom may quote what the object says of the patient
            told = f"{path}: no {kind} can be made on this DICOM object ({type(error).__name__})"
            return f"{told}; its header does not fit DICOM"
        self.made[kind] += 1
        return ""

    def _make(self, kind: Kind, result: Result, source: DicomSource) -> "Dataset":
        from pydicom.uid import generate_uid

        study = str(source.header.StudyInstanceUID), kind
        series = self._series.setdefault(study, generate_uid(None))
        self._counts[series] += 1
        return self._makers[kind](result, source, Place(series, self._counts[series]))
