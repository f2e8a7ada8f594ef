"""What is fuzzed: each reader of files from elsewhere, with small whole files to start from.

A reader may read what it gets or raise one of our own errors. Anything else, a hang, or memory without a bound is a
fault. `tests/test_fuzz.py` runs each target for seconds, `make fuzz` for minutes and guided by coverage.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dermdistill.errors import DermdistillError
from dermdistill.images.decode import load_rgb
from dermdistill.images.dicom.files import expand_frames, list_dicomdir, sop_instance_uid
from dermdistill.images.dicom.header import Refused
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.graphs import check_graph, read_metadata
from dermdistill.predict.runtime import OnnxRuntime
from dermdistill.recipe.spec import load_recipe

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Target:
    """A reader and whole files that it reads."""

    read: Callable[[Path], object]
    """Reads the file; raises `DermdistillError` or `Refused` where it does not fit."""
    seeds: Callable[[], list[bytes]]
    suffix: str = ""
    """Of the file's name."""

    def try_on(self, content: bytes) -> None:
        """Read bytes as a file; raises what a reader must not."""
        with tempfile.TemporaryDirectory(prefix="dermdistill-fuzz-") as folder:
            path = Path(folder) / f"input{self.suffix}"
            path.write_bytes(content)
            with contextlib.suppress(DermdistillError, Refused):
                self.read(path)


def _picture(side: int = 40) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def _saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    _picture().convert(mode).save(out, kind, **options)
    return out.getvalue()


def image_seeds() -> list[bytes]:
    kinds = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        *(_saved(kind) for kind in kinds),
        _saved("JPEG", progressive=True, exif=exif),
        _saved("JPEG", "CMYK"),
        _saved("PNG", "P"),
        _saved("PNG", "RGBA"),
        *(_saved("TIFF", mode, compression=how) for mode, how in (("RGB", "raw"), ("L", "tiff_lzw"), ("F", "raw"))),
    ]


def dicom_seeds() -> list[bytes]:
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset

    made = []
    for syntax, several in (("ExplicitVRLittleEndian", 1), ("ImplicitVRLittleEndian", 2), ("RLELossless", 2),
                            ("JPEG2000Lossless", 1)):  # fmt: skip
        told = Dataset()
        told.file_meta = FileMetaDataset()
        told.file_meta.TransferSyntaxUID = getattr(uid, syntax.replace("RLELossless", "ExplicitVRLittleEndian").replace(
            "JPEG2000Lossless", "ExplicitVRLittleEndian"))  # fmt: skip
        told.SOPClassUID, told.Modality = uid.MultiFrameTrueColorSecondaryCaptureImageStorage, "OT"
        told.SOPInstanceUID = told.StudyInstanceUID = told.SeriesInstanceUID = "1.2.3"
        told.PatientName, told.PatientID, told.NumberOfFrames = "Name^Given", "1", several
        told.StudyID, told.StudyDate, told.StudyTime, told.AccessionNumber = "1", "20260102", "101112", ""
        told.SeriesNumber, told.InstanceNumber = 1, 1
        told.SamplesPerPixel, told.PhotometricInterpretation, told.PlanarConfiguration = 3, "RGB", 0
        told.Rows = told.Columns = 40
        told.BitsAllocated, told.BitsStored, told.HighBit, told.PixelRepresentation = 8, 8, 7, 0
        told.PixelData = _picture().tobytes() * several
        told["PixelData"].VR = "OB"
        if "Lossless" in syntax:
            told.compress(getattr(uid, syntax), generate_instance_uid=False)
        out = io.BytesIO()
        told.save_as(out, enforce_file_format=True)
        made.append(out.getvalue())
    return made


def dicomdir_seeds() -> list[bytes]:
    from pydicom.fileset import FileSet

    with tempfile.TemporaryDirectory() as folder:
        files = FileSet()
        for number, content in enumerate(dicom_seeds()[:2]):
            path = Path(folder) / f"{number}.dcm"
            path.write_bytes(content)
            files.add(path)
        files.write(Path(folder) / "medium")
        return [(Path(folder) / "medium" / "DICOMDIR").read_bytes()]


def read_dicom(path: Path) -> None:
    sop_instance_uid(path)
    for frame in list(expand_frames(path))[:3]:
        with contextlib.suppress(DermdistillError):
            load_rgb(frame)


def read_bundle_json(path: Path) -> None:
    """A bundle whose other files are whole."""
    whole = default_bundle()
    for one in whole.iterdir():
        if one.name != "bundle.json":
            (path.parent / one.name).symlink_to(one)
    read_bundle(path.parent)


def graph_seeds() -> list[bytes]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["maps"], strides=[2, 2]),
        helper.make_node("Relu", ["maps"], ["bent"]),
        helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])
    found = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "tiny", [image], [found], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    entry = model.metadata_props.add()
    entry.key, entry.value = "dermdistill.classes", json.dumps(["a", "b"])
    onnx.checker.check_model(model)
    return [model.SerializeToString()]


def read_graph(path: Path) -> None:
    check_graph(path)
    read_metadata(path)
    runtime = OnnxRuntime(path, threads=1)
    if runtime.inputs == {"image"} and "probabilities" in runtime.outputs:
        runtime.run(["probabilities"], np.zeros((1, 3, 8, 8), np.float32))


def _manifest() -> object:
    import pandas as pd

    row = {"image_id": "a", "path": "a.png", "sha256": "0" * 64, "width": 64, "height": 48, "diagnosis": "nv",
           "melanoma": 0, "lesion_id": "L1", "source": "one", "age": 40.0, "sex": "female"}  # fmt: skip
    other = {"image_id": "b", "diagnosis": "mel", "melanoma": 1, "age": None, "sex": None}
    return pd.DataFrame([row, {**row, **other}])


def table_seeds() -> list[bytes]:
    text = _manifest().to_csv(index=False)  # type: ignore[attr-defined]
    return [text.encode(), text.replace(",", ";").encode("utf-16"), b"sep=\t\n" + text.replace(",", "\t").encode()]


def parquet_seeds() -> list[bytes]:
    out = io.BytesIO()
    _manifest().to_parquet(out, index=False)  # type: ignore[attr-defined]
    return [out.getvalue()]


def read_manifest(path: Path) -> None:
    from dermdistill.data.manifest import read_manifest

    read_manifest(path)


TARGETS = {
    "image": Target(load_rgb, image_seeds),
    "dicom": Target(read_dicom, dicom_seeds, ".dcm"),
    "dicomdir": Target(list_dicomdir, dicomdir_seeds),
    "bundle": Target(
        lambda path: read_bundle_json(path.rename(path.with_name("bundle.json"))),
        lambda: [(default_bundle() / "bundle.json").read_bytes()],
    ),
    "graph": Target(read_graph, graph_seeds, ".onnx"),
    "table": Target(read_manifest, table_seeds, ".csv"),
    "parquet": Target(read_manifest, parquet_seeds, ".parquet"),
    "recipe": Target(load_recipe, lambda: [path.read_bytes() for path in sorted(ROOT.glob("recipes/*.toml"))], ".toml"),
}
