"""Fixtures that every test may use."""

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: more threads mostly wait for each other

import pytest


def _data_folder() -> Path | None:
    named = os.environ.get("DERMDISTILL_DATA")
    folder = Path(named) if named else None
    known = folder is not None and (folder / "ham10000").is_dir() and (folder / "isic2017").is_dir()
    return folder if known else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real dermoscopic images (ham10000/, isic2017/), or skip."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no real images: set DERMDISTILL_DATA to a folder with ham10000/ and isic2017/")
    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """(manifest, splits, roles, cache folder) of 60 synthetic images of 48 px."""
    from dermdistill.data.splits import make_splits, roles
    from dermdistill.data.synthetic.generate import generate

    folder = tmp_path_factory.mktemp("small")
    manifest = generate(folder / "data", n=60, size=48, seed=0)
    splits = make_splits(manifest, 3)
    return manifest, splits, roles(splits, 0, 1), folder / "cache"


@pytest.fixture(scope="session")
def train_tiny(small):
    """Trains a student of 32 px on the small images' diagnoses: its run, from a folder, a network and epochs."""
    from dermdistill.distillation.distill import Lessons, distill
    from dermdistill.distillation.spec import SoftenSpec, StudentSpec
    from dermdistill.training.cohort import Cohort
    from dermdistill.training.loop import make_fabric

    manifest, splits, part, cache = small

    def train(folder, model, epochs):
        spec = StudentSpec(
            name="tiny", model=model, image_size=32, weights="none", labels="none",
            loss={"kind": "ce"}, train={"epochs": epochs, "batch_size": 8},
        )  # fmt: skip
        cohort = Cohort(manifest, splits, part, make_fabric("cpu"), cache)
        return distill(spec, cohort, folder, Lessons(SoftenSpec(views=1)))

    return train


@pytest.fixture(scope="session")
def trained(small, train_tiny, tmp_path_factory):
    """The finished run of a student trained for an epoch, its manifest, and a bundle of it."""
    from dermdistill.export.bundle import export_bundle

    manifest = small[0].copy()
    folder = tmp_path_factory.mktemp("trained")
    run = train_tiny(folder / "run", "repds", epochs=1)
    bundle = export_bundle(run.folder, folder / "bundle", manifest)
    return SimpleNamespace(run=run, manifest=manifest, bundle=bundle)


@pytest.fixture(scope="session")
def format_1(trained, tmp_path_factory):
    """The trained student's bundle as version 0.1 wrote it: one graph, and no test vectors."""
    import json
    import shutil

    folder = tmp_path_factory.mktemp("format_1") / "bundle"
    shutil.copytree(trained.bundle, folder)
    (folder / "pixels.onnx").unlink()
    content = json.loads((folder / "bundle.json").read_text())
    for key in ("pixels", "vectors"):
        del content[key]
    del content["files"]["pixels.onnx"]
    of_model = content["parity"]["model"]
    known = ("logits_max_abs_difference", "probabilities_max_abs_difference", "probability_tolerance")
    parity = {key: of_model[key] for key in known}
    content["parity"] = {**parity, "images": of_model["generated"], "runtimes": content["parity"]["runtimes"]}
    (folder / "bundle.json").write_text(json.dumps({**content, "format": "dermdistill-bundle/1"}))
    return folder


@pytest.fixture
def photos(trained, tmp_path):
    """A folder with three good images (a.png, b.jpg, sub/c.png), and the paths of bad ones beside it."""
    from PIL import Image

    good = tmp_path / "photos"
    (good / "sub").mkdir(parents=True)
    paths = list(trained.manifest["path"][:3])
    for path, name in zip(paths, ("a.png", "b.jpg", "sub/c.png"), strict=True):
        Image.open(path).convert("RGB").save(good / name)
    bad = tmp_path / "bad"
    bad.mkdir()
    whole = (good / "b.jpg").read_bytes()
    (bad / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (bad / "text.jpg").write_text("not an image")
    (bad / "empty.png").touch()
    Image.new("RGB", (8, 8)).save(bad / "small.png")
    return SimpleNamespace(good=good, bad=bad)


@pytest.fixture
def make_manifest():
    """make_manifest(n): rows with all seven classes, lesions of two images each, ages and sexes."""
    import pandas as pd

    from dermdistill.data.manifest import COLUMNS, validate

    def make(count=70, source="one"):
        classes = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
        rows = [
            {
                "image_id": f"{source}_{row:04d}",
                "path": f"/nowhere/{source}_{row:04d}.png",
                "sha256": hashlib.sha256(f"{source}{row}".encode()).hexdigest(),
                "width": 64,
                "height": 64,
                "diagnosis": classes[(row // 2) % 7],
                "melanoma": int(classes[(row // 2) % 7] == "mel"),
                "lesion_id": f"L{row // 2}",
                "source": source,
                "age": 40.0,
                "sex": "female",
            }
            for row in range(count)
        ]
        return validate(pd.DataFrame(rows).reindex(columns=list(COLUMNS)))

    return make


@pytest.fixture
def picture():
    """picture(seed): an RGB image with some structure."""
    import numpy as np
    from PIL import Image

    def make(seed=0, size=96):
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)

    return make


@pytest.fixture
def manifest_of():
    """manifest_of(paths, **columns): a manifest of image files, all nevi of one source."""
    import pandas as pd

    from dermdistill.data.manifest import COLUMNS, validate
    from dermdistill.files import sha256_file

    def make(paths, **columns):
        rows = [
            {
                "image_id": path.stem, "path": str(path), "sha256": sha256_file(path), "width": 96, "height": 96,
                "diagnosis": "nv", "melanoma": 0, "source": "one",
            }
            for path in paths
        ]  # fmt: skip
        return validate(pd.DataFrame(rows).assign(**columns).reindex(columns=list(COLUMNS)))

    return make


PATIENT = {"PatientName": "Zzyzxdoe^Quentina", "PatientID": "PID-7734219", "PatientBirthDate": "19310417"}
"""Of every generated DICOM object; no other text of the tests has these words."""


@pytest.fixture
def patient():
    """What no output may hold: the identifiers of the patient in every object of `dicom_object`."""
    return ("Zzyzxdoe", "Quentina", *PATIENT.values())


@pytest.fixture
def dicom_object():
    """dicom_object(image, …, syntax=…, colours=…, bits=…, planar=…, **elements): the bytes of a DICOM photograph."""
    pytest.importorskip("pydicom")
    return _dicom_object


def _dicom_object(*images, syntax="ExplicitVRLittleEndian", colours="RGB", bits=8, planar=0, **elements):
    import io

    import pydicom.uid
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    told = Dataset()
    told.file_meta = FileMetaDataset()
    told.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    told.SOPClassUID = pydicom.uid.VLPhotographicImageStorage
    told.SOPInstanceUID, told.StudyInstanceUID, told.SeriesInstanceUID = (pydicom.uid.generate_uid() for _ in range(3))
    told.Modality, told.SeriesNumber, told.InstanceNumber = "XC", 1, 1
    told.StudyID, told.StudyDate, told.StudyTime, told.AccessionNumber, told.PatientSex = (
        "1",
        "20260102",
        "101112",
        "",
        "O",
    )
    told.Manufacturer, told.Laterality, told.PatientOrientation = "", "", ""
    told.SamplesPerPixel, told.PhotometricInterpretation = 1 if "PALETTE" in colours else 3, colours
    told.Rows, told.Columns = images[0].height, images[0].width
    told.BitsAllocated, told.BitsStored, told.HighBit, told.PixelRepresentation = bits, bits, bits - 1, 0
    if told.SamplesPerPixel > 1:
        told.PlanarConfiguration = planar
    if len(images) > 1:
        told.NumberOfFrames = len(images)
    frames = [_dicom_frame(image, told, syntax) for image in images]
    told.PixelData = encapsulate(frames) if syntax.startswith("JPEGB") else b"".join(frames)
    told.PixelData += b"\0" * (len(told.PixelData) % 2)
    told["PixelData"].VR = "OB" if bits == 8 else "OW"
    for name, value in {**PATIENT, **elements}.items():
        setattr(told, name, value)
    if not (told.file_meta.TransferSyntaxUID.is_compressed is False or syntax.startswith("JPEGB")):
        told.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        told.compress(getattr(pydicom.uid, syntax), generate_instance_uid=False)
    out = io.BytesIO()
    told.save_as(out, enforce_file_format=True, little_endian=told.file_meta.TransferSyntaxUID.is_little_endian,
                 implicit_vr=told.file_meta.TransferSyntaxUID.is_implicit_VR)  # fmt: skip
    return out.getvalue()


def _dicom_frame(image, told, syntax):
    """An image's samples as an object holds them; told gets the palette of one that has a palette."""
    import io

    import numpy as np

    if syntax.startswith("JPEGB"):
        out = io.BytesIO()
        image.convert("RGB").save(out, "JPEG", quality=95)
        return out.getvalue()
    if image.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        given = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(given)] = given
        for colour, values in zip(("Red", "Green", "Blue"), palette.T, strict=True):
            setattr(told, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(told, f"{colour}PaletteColorLookupTableData", (values.astype("<u2") * 257).tobytes())
        return np.asarray(image).tobytes()
    values = np.asarray(image.convert("YCbCr" if told.PhotometricInterpretation.startswith("YBR") else "RGB"))
    if told.PhotometricInterpretation == "YBR_FULL_422":
        luma, chroma = values[..., 0], values[:, ::2, 1:]
        return np.stack([luma[:, ::2], luma[:, 1::2], chroma[..., 0], chroma[..., 1]], -1).tobytes()
    if told.BitsAllocated == 16:
        order = "<u2" if told.file_meta.TransferSyntaxUID.is_little_endian else ">u2"
        values = (values.astype(np.uint32) * 257).astype(order)
    return (values.transpose(2, 0, 1) if told.get("PlanarConfiguration") else values).tobytes()
