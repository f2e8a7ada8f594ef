"""A result on a DICOM image as a Secondary Capture: a picture of the image under the map of its answer."""

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dermdistill.images.decode import Damaged, open_rgb
from dermdistill.images.dicom.header import MAKER
from dermdistill.images.preprocess import resize_square
from dermdistill.predict.dicom_source import OF_PATIENT, OF_STUDY, DicomSource, Place, state_of
from dermdistill.predict.explain import explain
from dermdistill.predict.header import GRAPH
from dermdistill.predict.picture import WARNING, draw_map
from dermdistill.predict.predictor import Predictor, Result

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

SERIES = 9001
"""The number of the series of captures."""
_OF_IMAGE = (
    "ImageLaterality", "BurnedInAnnotation", "RecognizableVisualFeatures", "TimezoneOffsetFromUTC",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
"""What holds of a picture of an image as of the image, where it says so."""


@dataclass(frozen=True)
class Capturer:
    """Makes captures of the results of a predictor."""

    predictor: Predictor

    def make(self, result: Result, source: DicomSource, place: Place) -> "Dataset":
        """The capture of a result with a probability; its header names the patient as its image does.

        Raises:
            ImageError: the image cannot be read any more.
            IntegrityError: the model's graph fails.
            Exception: pydicom raises nearly anything where an image's header does not fit.
        """
        size, damaged = self.predictor.bundle.spec.input.size, result.status != "ok"
        accepted: Damaged = "accept" if damaged else "refuse"
        with open_rgb(result.file, damaged=accepted) as image:
            picture = draw_map(image, explain(self.predictor, resize_square(image, size)), self._facts(result))
        return self._object(picture, source, place)

    def _facts(self, result: Result) -> str:
        spec, state = self.predictor.bundle.spec, state_of(result)
        p, threshold = result.p_melanoma or 0.0, self.predictor.threshold
        told = f"{spec.name} {spec.version}: probability of melanoma {p:.3f}, threshold {threshold:.3f}"
        return f"{told}, image {state}" if state else told

    def _object(self, picture: "np.ndarray", source: DicomSource, place: Place) -> "Dataset":
        from pydicom.dataset import Dataset
        from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

        image, spec, now = source.header, self.predictor.bundle.spec, datetime.datetime.now()
        made = Dataset()
        told = [name for name in ("SpecificCharacterSet", *_OF_IMAGE) if image.get(name)]
        for name in (*told, *OF_PATIENT, "StudyInstanceUID", *OF_STUDY):
            made[name] = image[name]
        made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid(None)
        made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = place.series, SERIES, place.number
        made.Modality, made.SeriesDescription = "OT", "Research: map of melanoma probability"
        made.InstanceCreationDate = made.ContentDate = made.DateOfSecondaryCapture = now.strftime("%Y%m%d")
        made.InstanceCreationTime = made.ContentTime = made.TimeOfSecondaryCapture = now.strftime("%H%M%S")
        made.ConversionType, made.Manufacturer, made.ManufacturerModelName = "WSD", MAKER, spec.name
        made.SoftwareVersions, made.DeviceSerialNumber = spec.version, spec.files[GRAPH][:16]
        made.ImageType, made.PatientOrientation = ["DERIVED", "SECONDARY"], ""
        made.Laterality = image.get("Laterality") or ""  # empty where it is not known
        made.DerivationDescription = f"{WARNING}. Map of the parts that the probability of melanoma rests on"
        made.ImageComments = spec.intended_use
        _refer(made, source)
        _fill(made, picture)
        _head(made)
        return made


def _refer(made: "Dataset", source: DicomSource) -> None:
    """Name the image, and its frame, that a capture was made from, with its series."""
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    image = Dataset()
    image.ReferencedSOPClassUID = source.header.SOPClassUID
    image.ReferencedSOPInstanceUID = source.header.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = source.header.SeriesInstanceUID, [image]
    made.ReferencedSeriesSequence = [series]
    origin = Dataset()
    origin.update(image)
    if source.frame:
        origin.ReferencedFrameNumber = source.frame
    origin.PurposeOfReferenceCodeSequence = [_coded(codes.DCM.SourceImageForImageProcessingOperation)]
    made.SourceImageSequence = [origin]


def _coded(code: Any) -> "Dataset":
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _fill(made: "Dataset", picture: "np.ndarray") -> None:
    made.Rows, made.Columns, made.SamplesPerPixel = *picture.shape[:2], 3
    made.PhotometricInterpretation, made.PlanarConfiguration = "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    content = picture.tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    made["PixelData"].VR = "OB"


def _head(made: "Dataset") -> None:
    """Give an object the head of a file, so that it is one wherever it is written."""
    from pydicom.dataset import FileMetaDataset, validate_file_meta
    from pydicom.uid import ExplicitVRLittleEndian

    made.preamble, made.file_meta = bytes(128), FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    validate_file_meta(made.file_meta, enforce_standard=True)
