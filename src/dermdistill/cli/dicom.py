"""What `dermdistill predict` does with DICOM: objects on results, and images of an archive."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dermdistill import talk


@dataclass
class Dicom:
    """What was asked for in the way of DICOM."""

    reports: Path | None = None
    """A folder for reports."""
    captures: Path | None = None
    """A folder for captures of maps."""
    url: str | None = None
    """Of an archive whose images are judged instead of files."""
    query: Sequence[str] = ()
    store: Sequence[str] = ()
    """Kinds of objects that the archive gets, 'report' and 'capture'."""
    objects: Any = field(default=None, init=False)

    @property
    def wants_objects(self) -> bool:
        """Whether objects are to be made of results."""
        return self.reports is not None or self.captures is not None

    def check(self, paths: Sequence[str]) -> None:
        """Raise InputError if options contradict each other."""
        from dermdistill.errors import InputError

        if self.url is None and (self.query or self.store):
            raise InputError("--query and --store belong to an archive; name it with --dicomweb URL")
        if self.url is not None and paths:
            raise InputError("with --dicomweb the images come from the archive; name no files, or leave the option out")
        if self.url is None and not paths:
            raise InputError("no images given: name files, folders or patterns, - to read a list, or --dicomweb URL")

    def reported(self, results: Iterator[Any], predictor: Any) -> Iterator[Any]:
        """Results of files, whose objects are written when they come."""
        if not self.wants_objects:
            return results
        self._make_objects(predictor)
        return self.objects.of(results)

    def fetched(self, predictor: Any) -> tuple[Iterator[Any], Any]:
        """Results of an archive's images, and what gives the SOP Instance UID of a row."""
        from dermdistill.predict.dicomweb import Archive, Round, parse_query

        archive, query = Archive(self.url or ""), parse_query(self.query)
        if archive.is_in_the_clear:
            talk.warn(f"warning: images of {archive.host} travel unencrypted; use https:// where there is one")
        self._make_objects(predictor, archive)
        going = Round(predictor, archive, self.objects)
        return going.judge(query), going.uid_of

    def _make_objects(self, predictor: Any, archive: Any = None) -> None:
        from dermdistill.predict.dicom_objects import DicomObjects, folder_sink

        folders = {"report": self.reports, "capture": self.captures}
        sinks: dict[Any, list[Any]] = {
            kind: [folder_sink(folder)] for kind, folder in folders.items() if folder is not None
        }
        for kind in dict.fromkeys(self.store):
            sinks.setdefault(kind, []).append(archive.store)
        self.objects = DicomObjects(predictor, sinks)

    def tell(self) -> None:
        """Say how many objects were made, and that they name the patient."""
        places = {
            "report": [*filter(None, [self.reports]), *(["the archive"] if "report" in self.store else [])],
            "capture": [*filter(None, [self.captures]), *(["the archive"] if "capture" in self.store else [])],
        }
        for kind, where in places.items():
            if where:
                told = f"{self.objects.made[kind]} DICOM {kind}s in {' and '.join(map(str, where))}"
                talk.note(f"{told}; they name the patient as their images do")
