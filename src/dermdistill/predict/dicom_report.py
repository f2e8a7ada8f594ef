"""Results on DICOM objects as DICOM Structured Reports (TID 1500, Measurement Report).

A report belongs to the study of its image, so it names the patient as the image does. It is written only if asked for.
"""

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermdistill.errors import InputError, MissingExtraError
from dermdistill.files import atomic_path
from dermdistill.images.dicom.files import sop_instance_uid, split_frame
from dermdistill.images.dicom.header import quiet
from dermdistill.images.formats import DICOM, is_installed
from dermdistill.predict.header import GRAPH, AnyHeader
from dermdistill.predict.predictor import Result

if TYPE_CHECKING:
    from pydicom import Dataset

SCHEME = "99DERMDISTILL"
"""The coding scheme of the report's own terms, private as DICOM wants it (PS3.16, 8.2)."""
_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
          "StudyTime", "ReferringPhysicianName")  # fmt: skip
"""What an object may leave empty; a report repeats it empty where an object lacks it."""


@dataclass
class ReportWriter:
    """Writes a report for each result on a DICOM object into a folder.

    Args:
        folder: where they go, each named by its SOP Instance UID; it is made if need be.
        spec: the bundle that gave the results.
        threshold: the probability that decides.

    Raises:
        MissingExtraError: the extra `dicom` is not installed.
    """

    folder: Path
    spec: AnyHeader
    threshold: float
    _series: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Of each study: the UID of its new series, and how many reports it has."""

    def __post_init__(self) -> None:
        if not is_installed(DICOM):
            raise MissingExtraError("dicom", DICOM.plugin)

    def write(self, result: Result) -> Path | None:
        """Write the report on a result; None if it has no probability or its image is no DICOM object.

        Raises:
            InputError: the object names no study or series, or something else in it does not fit a report.
            OutputError: the file cannot be written.
        """
        path, frame = split_frame(Path(result.file))
        if result.p_melanoma is None or not sop_instance_uid(path):
            return None
        from highdicom import UID

        with quiet():
            image = self._read(path)
            series, count = self._series.setdefault(str(image.StudyInstanceUID), (str(UID()), 0))
            self._series[str(image.StudyInstanceUID)] = (series, count + 1)
            try:
                report = self._report(result, image, frame, (series, count + 1))
            except Exception as error:  # highdicom's messages may quote what the object says of the patient
                told = f"{path}: no report can be made on this DICOM object ({type(error).__name__})"
                raise InputError(f"{told}; leave the file out") from None
            target = self.folder / f"{report.SOPInstanceUID}.dcm"
            with atomic_path(target) as temporary:
                report.save_as(temporary, enforce_file_format=True)
        return target

    def _read(self, path: Path) -> "Dataset":
        from pydicom import dcmread

        image = dcmread(path, stop_before_pixels=True)
        lacking = [name for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID") if not image.get(name)]
        if lacking:
            raise InputError(f"{path}: no report can refer to a DICOM object without {', '.join(lacking)}")
        for name in _EMPTY:
            if name not in image:
                setattr(image, name, "")
        return image

    def _report(self, result: Result, image: "Dataset", frame: int | None, place: tuple[str, int]) -> "Dataset":
        import highdicom
        from highdicom import sr
        from pydicom.sr.codedict import codes

        frames = [frame or 1] if int(image.get("NumberOfFrames") or 1) > 1 else None
        group = sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(uid=highdicom.UID(), identifier="melanoma"),
            algorithm_id=self._algorithm(),
            measurements=[
                _number("p_melanoma", "Probability of melanoma", result.p_melanoma),
                _number("threshold", "Threshold of the decision", self.threshold),
            ],
            qualitative_evaluations=[
                sr.QualitativeEvaluation(
                    name=_term("decision", "Probability against threshold"),
                    value=_term(result.decision, result.decision.replace("_", " ")),
                )
            ],
            source_images=[
                sr.SourceImageForMeasurementGroup(str(image.SOPClassUID), str(image.SOPInstanceUID), frames)
            ],
        )
        document = sr.MeasurementReport(
            observation_context=sr.ObservationContext(observer_device_context=self._observer()),
            procedure_reported=codes.SCT.DermoscopicPhotography,
            imaging_measurements=[group],
        )
        document[0].ContentSequence.append(self._comment(result))
        series, number = place
        return sr.ComprehensiveSR(
            evidence=[image],
            content=document[0],
            series_instance_uid=series,
            series_number=9000,
            sop_instance_uid=highdicom.UID(),
            instance_number=number,
            manufacturer="dermdistill",
            manufacturer_model_name=self.spec.name,
            software_versions=self.spec.version,
            device_serial_number=self.spec.files[GRAPH][:16],
            series_description="Research: melanoma probability",
            is_complete=True,
        )

    def _algorithm(self) -> Any:
        from highdicom.sr import AlgorithmIdentification

        return AlgorithmIdentification(
            name=self.spec.name,
            version=self.spec.version,
            parameters=[f"graph sha256 {self.spec.files[GRAPH]}"],
            manufacturer="dermdistill",
        )

    def _observer(self) -> Any:
        from highdicom import UID, sr
        from pydicom.sr.codedict import codes

        uid = UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_URL, f"dermdistill:{self.spec.files[GRAPH]}")))
        device = sr.DeviceObserverIdentifyingAttributes(
            uid=uid, name=self.spec.name, manufacturer_name="dermdistill", model_name=self.spec.name
        )
        return sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)

    def _comment(self, result: Result) -> Any:
        """What the bundle is for, and the image's state; not the result's message, which names the file."""
        from highdicom.sr import RelationshipTypeValues, TextContentItem
        from pydicom.sr.codedict import codes

        state = "" if result.status == "ok" else f" The image is {result.status}."
        return TextContentItem(
            name=codes.DCM.Comment,
            value=self.spec.intended_use + state,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )


def _term(value: str, meaning: str) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=meaning)


def _number(value: str, meaning: str, number: float | None) -> Any:
    from highdicom.sr import Measurement
    from pydicom.sr.codedict import codes

    return Measurement(name=_term(value, meaning), value=round(number or 0.0, 6), unit=codes.UCUM.NoUnits)
