"""DICOM from the command line: what the rows tell, what they never tell, and reports that other programs accept."""

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.predict.bundle import default_bundle, read_bundle

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def folder(dicom_object, picture, tmp_path):
    """An object of one frame, one of two, one in grey, and a PNG."""
    made = tmp_path / "objects"
    made.mkdir()
    (made / "a.dcm").write_bytes(dicom_object(picture(0), SOPInstanceUID="1.2.3.4.5"))
    several = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4", "Modality": "OT"}  # true-colour secondary capture
    (made / "b.dcm").write_bytes(dicom_object(picture(1), picture(2), **several))
    (made / "grey.dcm").write_bytes(dicom_object(Image.new("RGB", (32, 32)), colours="MONOCHROME2"))
    picture(3).save(made / "c.png")
    return made


def _predict(*words):
    return CliRunner().invoke(app, ["predict", "--threads", "1", "--gate", "off", *map(str, words)])


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_rows_name_files_and_never_the_patient(folder, patient, form):
    run = _predict(folder, "--format", form)
    assert run.exit_code == 1, run.output
    assert [name for name in ("a.dcm", "b.dcm#1", "b.dcm#2", "grey.dcm", "c.png") if name not in run.stdout] == []
    assert "1.2.3.4.5" not in run.stdout
    assert "dermoscopy is judged in colour only" in run.stdout
    assert not [word for word in patient if word in run.output]


def test_the_instance_uid_is_told_if_asked(folder):
    rows = list(csv.DictReader(io.StringIO(_predict(folder, "--dicom-uid").stdout)))
    told = {row["file"].rsplit("/", 1)[-1]: row["sop_instance_uid"] for row in rows}
    assert told["a.dcm"] == "1.2.3.4.5"
    assert told["c.png"] == ""
    assert told["b.dcm#1"] == told["b.dcm#2"] != ""


@pytest.fixture
def reports(folder, tmp_path):
    """The reports on the folder, and the rows beside them."""
    run = _predict(folder, "--format", "json", "--dicom-sr", tmp_path / "reports")
    assert run.exit_code == 1, run.output
    rows = {row["file"].rsplit("/", 1)[-1]: row for row in json.loads(run.stdout)["results"]}
    assert "3 DICOM reports in" in run.stderr
    return sorted((tmp_path / "reports").iterdir()), rows


def _terms(container):
    return {item.name.value: item for item in container.ContentSequence}


def test_reports_tell_what_the_rows_tell(reports, folder):
    paths, rows = reports
    sources = {str(one.SOPInstanceUID): one for one in map(pydicom.dcmread, folder.glob("*.dcm"))}
    seen = set()
    for path in paths:
        report = highdicom.sr.srread(path)
        assert path.name == f"{report.SOPInstanceUID}.dcm"
        (group,) = report.content.get_image_measurement_groups()
        (image,) = group.source_images
        source = sources[str(image.referenced_sop_instance_uid)]
        number = image.referenced_frame_numbers
        name = f"b.dcm#{number[0]}" if number else "a.dcm"
        seen.add(name)
        values = {one.name.value: one.value for one in group.get_measurements()}
        assert values["p_melanoma"] == pytest.approx(rows[name]["p_melanoma"], abs=1e-6)
        (decision,) = group.get_qualitative_evaluations()
        assert decision.value.value == rows[name]["decision"]
        told = report.to_json()
        graph = read_bundle(default_bundle()).spec.files["model.onnx"]
        assert f"graph sha256 {graph}" in told
        assert "not a medical device" in told
        assert report.StudyInstanceUID == source.StudyInstanceUID
        assert report.SeriesInstanceUID != source.SeriesInstanceUID
        assert report.PatientID == source.PatientID
        assert report.content[0].ContentTemplateSequence[0].TemplateIdentifier == "1500"
        assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert seen == {"a.dcm", "b.dcm#1", "b.dcm#2"}


def test_an_image_that_the_gate_refuses_has_no_report_or_one_that_says_why(folder, patient, tmp_path):
    for mode, count in (("refuse", 0), ("judge", 3)):
        run = _predict(folder, "--gate", mode, "--format", "json", "--dicom-sr", tmp_path / mode)
        rows = [row for row in json.loads(run.stdout)["results"] if not row["file"].endswith("grey.dcm")]
        assert {row["status"] for row in rows} == {"refused"}
        assert {row["p_melanoma"] is None for row in rows} == {count == 0}
        made = list((tmp_path / mode).iterdir())
        assert len(made) == count
        for path in made:
            comment = _terms(highdicom.sr.srread(path).content[0])["121106"].value
            assert "The image is refused by the model's gate: it does not look like a dermoscopic image;" in comment
            assert not [word for word in (*patient, ".dcm") if word in comment]


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dsrdump is not installed (Debian: dcmtk)")
def test_dcmtk_reads_the_reports(reports):
    for path in reports[0]:
        run = subprocess.run(["dsrdump", "+Pc", path], capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 0, run.stderr
        assert "Probability of melanoma" in run.stdout
        assert not run.stderr


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian: dicom3tools)")
def test_dicom3tools_finds_no_error_in_the_reports(reports):
    for path in reports[0]:
        run = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False, timeout=60)
        assert "ComprehensiveSR" in run.stderr
        assert "Error" not in run.stderr, run.stderr


def test_predicting_other_images_needs_no_extra(picture, tmp_path):
    picture(0).save(tmp_path / "a.png")
    code = (
        "import sys\n"
        "sys.modules['pydicom'] = sys.modules['highdicom'] = None\n"
        "from dermdistill.predict.predictor import Predictor\n"
        f"(found,) = Predictor(gate='off').predict({str(tmp_path / 'a.png')!r})\n"
        "print(found.status)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.strip() == "ok"
