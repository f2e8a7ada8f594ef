"""Secondary captures: the map over the image, in the study of the image, as other programs accept it."""

import io
import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.images.decode import ImageError, load_rgb
from dermdistill.predict import dicom_objects
from dermdistill.predict.dicom_capture import Capturer
from dermdistill.predict.dicom_report import Reporter
from dermdistill.predict.predictor import Predictor, Result

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")


def _predict(*words):
    return CliRunner().invoke(app, ["predict", "--threads", "1", "--gate", "off", "--format", "json", *map(str, words)])


def _rows(run):
    return {row["file"].rsplit("/", 1)[-1]: row for row in json.loads(run.stdout)["results"]}


@pytest.fixture
def folder(dicom_object, picture, tmp_path):
    made = tmp_path / "objects"
    made.mkdir()
    (made / "a.dcm").write_bytes(dicom_object(picture(0), SOPInstanceUID="1.2.3.4.5", Laterality="L"))
    several = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4", "Modality": "OT"}
    (made / "b.dcm").write_bytes(dicom_object(picture(1), picture(2), **several))
    picture(3).save(made / "c.png")
    return made


@pytest.fixture
def captures(folder, tmp_path):
    run = _predict(folder, "--dicom-sc", tmp_path / "captures")
    assert run.exit_code == 0, run.output
    assert "3 DICOM captures in" in run.stderr
    return sorted((tmp_path / "captures").iterdir())


def test_captures_show_the_image_and_refer_to_it(captures, folder):
    sources = {str(one.SOPInstanceUID): one for one in map(pydicom.dcmread, folder.glob("*.dcm"))}
    seen = set()
    for path in captures:
        made = pydicom.dcmread(path)
        (origin,) = made.SourceImageSequence
        source = sources[origin.ReferencedSOPInstanceUID]
        seen.add((str(source.SOPInstanceUID) == "1.2.3.4.5", origin.get("ReferencedFrameNumber")))
        (series,) = made.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == source.SeriesInstanceUID
        assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
            assert made[name] == source[name]
        assert made.Laterality == (source.get("Laterality") or "")
        assert made.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
        assert path.name == f"{made.SOPInstanceUID}.dcm"
        assert "NOT FOR CLINICAL USE" in made.DerivationDescription
        assert "not a medical device" in made.ImageComments
        pixels = made.pixel_array
        assert pixels.shape[2] == 3
        number = int(origin.get("ReferencedFrameNumber") or 1) - 1
        frame = source.pixel_array[number] if "NumberOfFrames" in source else source.pixel_array
        shown = np.asarray(Image.fromarray(pixels[:512, :512]).resize((9, 9), Image.Resampling.BOX), float)
        like = np.asarray(Image.fromarray(frame).resize((9, 9), Image.Resampling.BOX), float)
        assert np.corrcoef(shown.ravel(), like.ravel())[0, 1] > 0.75
    assert seen == {(True, None), (False, 1), (False, 2)}
    of_several = [
        one for one in map(pydicom.dcmread, captures) if "ReferencedFrameNumber" in one.SourceImageSequence[0]
    ]
    assert len({one.SeriesInstanceUID for one in of_several}) == 1
    assert sorted(one.InstanceNumber for one in of_several) == [1, 2]


def test_a_capture_of_a_refused_image_says_so_and_why():
    predictor = Predictor(threads=1, gate="off")
    told = {}
    for status, quality in (("ok", "good"), ("damaged", "good"), ("refused", "dark,blurred")):
        result = Result("secret.dcm", status, (0.5,), 0.5, "above_threshold", "secret.dcm", quality)
        told[status] = Capturer(predictor)._facts(result)
    assert told["damaged"] == f"{told['ok']}, image damaged"
    dark = "image refused by the model's gate: it is too dark; it is blurred, or shows nothing"
    assert told["refused"] == f"{told['ok']}, {dark}"


def test_a_capture_is_no_photograph_to_judge(captures):
    with pytest.raises(ImageError, match="a map that dermdistill has drawn") as caught:
        load_rgb(captures[0])
    assert caught.value.reason == "unsupported"


@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="dcmdump is not installed (Debian: dcmtk)")
def test_dcmtk_reads_the_captures(captures):
    for path in captures:
        run = subprocess.run(["dcmdump", "-q", path], capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 0, run.stderr
        assert not run.stderr
        assert "=SecondaryCaptureImageStorage" in run.stdout


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian: dicom3tools)")
def test_dicom3tools_finds_no_error_in_the_captures(captures):
    for path in captures:
        run = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False, timeout=60)
        told = run.stderr.splitlines()
        assert "SCImage" in told
        assert not [line for line in told if "Error" in line], run.stderr
        unknown = pydicom.dcmread(path).Laterality == ""
        assert [line for line in told if "Warning" in line and not (unknown and "<Laterality>" in line)] == []


def test_names_of_any_alphabet_come_through(dicom_object, picture, tmp_path):
    name = "Ямада^Тарo=山田^太郎"
    (tmp_path / "a.dcm").write_bytes(
        dicom_object(picture(0), SpecificCharacterSet="ISO_IR 192", PatientName=name, PatientSex="X")
    )
    run = _predict(tmp_path / "a.dcm", "--dicom-sc", tmp_path / "captures")
    assert run.exit_code == 0, run.output
    (path,) = (tmp_path / "captures").iterdir()
    assert str(pydicom.dcmread(path).PatientName) == name


# What cannot be made


@pytest.mark.parametrize("lacking", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_object_that_cannot_be_referred_to_has_a_row_that_says_so(dicom_object, picture, tmp_path, lacking):
    whole = dicom_object(picture(0))
    edited = pydicom.dcmread(io.BytesIO(whole))
    setattr(edited, lacking, "")
    edited.save_as(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(dicom_object(picture(1)))
    run = _predict(tmp_path / "a.dcm", tmp_path / "b.dcm", "--dicom-sc", tmp_path / "c", "--dicom-sr", tmp_path / "r")
    assert run.exit_code == 1, run.output
    rows = _rows(run)
    assert rows["a.dcm"]["status"] == "unreported"
    assert rows["a.dcm"]["p_melanoma"] is not None
    assert rows["a.dcm"]["message"].count(f"refer to a DICOM object without {lacking}") == 1
    assert rows["b.dcm"]["status"] == "ok"
    assert "1 of 2 images have no DICOM object; their rows say why" in run.stderr
    assert "1 DICOM reports in" in run.stderr
    assert [len(list((tmp_path / name).iterdir())) for name in ("c", "r")] == [1, 1]


@pytest.mark.parametrize("maker", [Reporter, Capturer])
def test_whatever_goes_wrong_the_run_goes_on_and_no_word_of_the_object_comes_out(
    folder, tmp_path, patient, monkeypatch, maker
):
    real, calls = maker.make, []

    def make(self, result, source, place):
        calls.append(result.file)
        if len(calls) == 1:
            raise ValueError(f"{source.header.PatientName} {source.header.PatientID} does not fit")
        return real(self, result, source, place)

    monkeypatch.setattr(maker, "make", make)
    run = _predict(folder, "--dicom-sc", tmp_path / "c", "--dicom-sr", tmp_path / "r")
    assert run.exit_code == 1
    rows = _rows(run)
    assert [row["status"] for row in rows.values()] == ["unreported", "ok", "ok", "ok"]
    assert "can be made on this DICOM object (ValueError)" in rows["a.dcm"]["message"]
    assert not [word for word in patient if word in run.output]


def test_a_name_that_is_none_is_not_told(dicom_object, picture, tmp_path, patient, caplog):
    """highdicom warns of such names, with the name."""
    name = "Zzyzxdoe" + "=Quentina" * 5
    (tmp_path / "a.dcm").write_bytes(dicom_object(picture(0), PatientName=name))
    run = _predict(tmp_path / "a.dcm", "--dicom-sr", tmp_path / "r")
    told = [run.output, *(record.getMessage() for record in caplog.records)]
    assert not [text for text in told for word in patient if word in text]


def test_a_full_disk_is_a_matter_of_the_row(folder, tmp_path, monkeypatch):
    real, fails = dicom_objects.atomic_path, [True]

    def full(path):
        if fails.pop() if fails else False:
            raise dicom_objects.OutputError(path, OSError(28, "No space left on device"))
        return real(path)

    monkeypatch.setattr(dicom_objects, "atomic_path", full)
    run = _predict(folder, "--dicom-sc", tmp_path / "c")
    rows = _rows(run)
    assert [row["status"] for row in rows.values()] == ["unreported", "ok", "ok", "ok"]
    assert "No space left on device" in rows["a.dcm"]["message"]


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_judged(folder, tmp_path):
    (tmp_path / "file").touch()
    run = _predict(folder, "--dicom-sc", tmp_path / "file")
    assert "cannot write" in str(run.exception)
    assert run.stdout == ""
