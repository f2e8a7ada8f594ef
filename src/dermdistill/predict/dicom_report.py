"""A result on a DICOM image as a DICOM Structured Report (TID 1500, Measurement Report)."""

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dermdistill.images.dicom.header import MAKER
from dermdistill.predict.dicom_source import DicomSource, Place, state_of
from dermdistill.predict.header import GRAPH, AnyHeader
from dermdistill.predict.predictor import Result

if TYPE_CHECKING:
    from pydicom import Dataset

SCHEME = "99DERMDISTILL"
"""The coding scheme of the report's own terms, private as DICOM wants it (PS3.16, 8.2)."""
SERIES = 9000
"""The number of the series of reports."""


@dataclass(frozen=True)
class Reporter:
    """Makes reports on the results of a bundle.

    Args:
        spec: the bundle that gave the results.
        threshold: the probability that decides.
    """

    spec: AnyHeader
    threshold: float

    def make(self, result: Result, source: DicomSource, place: Place) -> "Dataset":
        """The report on a result with a probability; it names the patient as its image does.

        Raises:
            Exception: highdicom raises nearly anything where an image's header does not fit.
        """
        import highdicom
        from highdicom import sr
        from pydicom.sr.codedict import codes

        image, frames = source.header, [source.frame] if source.frame else None
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
        return sr.ComprehensiveSR(
            evidence=[image],
            content=document[0],
            series_instance_uid=place.series,
            series_number=SERIES,
            sop_instance_uid=highdicom.UID(),
            instance_number=place.number,
            manufacturer=MAKER,
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
            manufacturer=MAKER,
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

        state = state_of(result)
        return TextContentItem(
            name=codes.DCM.Comment,
            value=self.spec.intended_use + (f" The image is {state}." if state else ""),
            relationship_type=RelationshipTypeValues.CONTAINS,
        )


def _term(value: str, meaning: str) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=meaning)


def _number(value: str, meaning: str, number: float | None) -> Any:
    from highdicom.sr import Measurement
    from pydicom.sr.codedict import codes

    return Measurement(name=_term(value, meaning), value=round(number or 0.0, 6), unit=codes.UCUM.NoUnits)
