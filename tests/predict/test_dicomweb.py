"""DICOMweb: an archive is asked, its photographs are judged, objects go back, and no word of a patient comes out."""

import csv
import io
import tempfile

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.predict import dicomweb
from dermdistill.predict.dicomweb import AUTHORIZATION, Archive, parse_query

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
pytest.importorskip("dicomweb_client")

DERMOSCOPIC, CAPTURE = "1.2.840.10008.5.1.4.1.1.77.1.7", "1.2.840.10008.5.1.4.1.1.7"
SEVERAL = "1.2.840.10008.5.1.4.1.1.7.4"
REPORT = "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture
def store(archive_store, dicom_object, picture):
    """Two dermoscopic images, a photograph, and a CT image."""
    made = archive_store()
    made.add(dicom_object(picture(0), SOPClassUID=DERMOSCOPIC, SOPInstanceUID="1.2.3.1", StudyID="A"))
    made.add(dicom_object(picture(1), SOPClassUID=DERMOSCOPIC, SOPInstanceUID="1.2.3.2", StudyID="B"))
    made.add(dicom_object(picture(2), SOPInstanceUID="1.2.3.3", StudyID="B", syntax="JPEG2000Lossless"))
    made.add(dicom_object(picture(3), SOPClassUID="1.2.840.10008.5.1.4.1.1.2", SOPInstanceUID="1.2.3.4"))
    return made


@pytest.fixture
def archive(store, archive_server):
    with archive_server(store) as url:
        yield url


def _predict(url, *words):
    return CliRunner().invoke(app, ["predict", "--threads", "1", "--gate", "off", "--dicomweb", url, *map(str, words)])


def _rows(run):
    return list(csv.DictReader(io.StringIO(run.stdout)))


def test_photographs_are_found_judged_and_reported(store, archive, patient, dicom_object, picture, tmp_path):
    run = _predict(archive, "--store", "report", "--store", "capture", "--dicom-sr", tmp_path / "reports")
    assert run.exit_code == 0, run.output
    rows = _rows(run)
    assert [(row["file"], row["status"]) for row in rows] == [(f"image-{number}", "ok") for number in (1, 2, 3)]
    for word in (*patient, "1.2.3.", tempfile.gettempdir()):
        assert word not in run.output.replace(str(tmp_path), "")
    kinds = [str(pydicom.dcmread(io.BytesIO(one)).SOPClassUID) for one in store.objects.values()]
    assert (kinds.count(REPORT), kinds.count(CAPTURE)) == (3, 3)
    assert f"3 DICOM reports in {tmp_path / 'reports'} and the archive; they name the patient" in run.stderr
    assert "3 DICOM captures in the archive" in run.stderr
    assert {path.stem for path in (tmp_path / "reports").iterdir()} <= set(store.objects)
    names = {str(pydicom.dcmread(io.BytesIO(one)).PatientName) for one in store.objects.values()}
    assert names == {"Zzyzxdoe^Quentina"}
    (tmp_path / "a.dcm").write_bytes(store.objects["1.2.3.3"])
    alone = CliRunner().invoke(app, ["predict", "--threads", "1", "--gate", "off", str(tmp_path / "a.dcm")])
    (expected,) = _rows(alone)
    found = next(row for row in rows if row["p_melanoma"] == expected["p_melanoma"])
    assert {**found, "file": ""} == {**expected, "file": ""}


def test_captures_of_an_earlier_run_are_not_judged(store, archive):
    assert _predict(archive, "--store", "capture").exit_code == 0
    before = len(store.objects)
    run = _predict(archive, "--query", f"SOPClassUID={CAPTURE}")
    assert before == len(store.objects) == 7
    assert {row["status"] for row in _rows(run)} == {"unsupported"}


def test_conditions_are_sent_and_uids_told_if_asked(store, archive):
    run = _predict(archive, "--query", "StudyID=B", "--dicom-uid")
    assert {row["sop_instance_uid"] for row in _rows(run)} == {"1.2.3.2", "1.2.3.3"}
    run = _predict(archive, "--query", "StudyID=B", "--query", f"SOPClassUID={DERMOSCOPIC}", "--dicom-uid")
    assert {row["sop_instance_uid"] for row in _rows(run)} == {"1.2.3.2"}
    run = _predict(archive, "--query", "PatientID=Zzyzxdoe")
    assert (run.exit_code, _rows(run)) == (0, [])
    assert "Zzyzxdoe" not in run.output
    assert "the archive has no such photographs" in run.stderr


def test_each_frame_has_a_row(archive_store, archive_server, dicom_object, picture):
    store = archive_store()
    store.add(dicom_object(picture(0), picture(1), SOPClassUID=SEVERAL, Modality="OT", SOPInstanceUID="1.2.3.9"))
    with archive_server(store) as url:
        run = _predict(url, "--query", f"SOPClassUID={SEVERAL}", "--dicom-uid", "--store", "report")
    assert [(row["file"], row["sop_instance_uid"]) for row in _rows(run)] == [
        ("image-1#1", "1.2.3.9"), ("image-1#2", "1.2.3.9"),
    ]  # fmt: skip
    assert len(store.objects) == 3


@pytest.mark.parametrize("simple", [{"knows_conditions": False}, {"knows_pages": False}, {}])
def test_archives_without_conditions_or_pages_are_asked_to_the_end(store, archive, monkeypatch, simple):
    monkeypatch.setattr(dicomweb, "_PAGE", 1)
    for name, value in simple.items():
        setattr(store, name, value)
    found = [one.instance for one in Archive(archive).find({})]
    assert sorted(found) == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    assert len(store.asked) < 20


def test_the_header_comes_from_the_environment(store, archive, monkeypatch):
    store.key = "Bearer of-the-clinic"
    run = _predict(archive)
    assert f"with HTTP 401; check {AUTHORIZATION}" in str(run.exception)
    monkeypatch.setenv(AUTHORIZATION, store.key)
    run = _predict(archive)
    assert run.exit_code == 0
    assert "of-the-clinic" not in run.output


# What goes wrong


def test_an_image_that_cannot_be_fetched_is_a_row(store, archive, patient):
    listed = store.found({"SOPClassUID": DERMOSCOPIC})
    store.found = lambda query: listed if query["SOPClassUID"] == DERMOSCOPIC else []
    store.objects["1.2.3.1"] = b"no DICOM object, Zzyzxdoe"
    del store.objects["1.2.3.2"]
    run = _predict(archive)
    assert run.exit_code == 1
    first, second = _rows(run)
    assert (first["status"], second["status"]) == ("missing", "missing")
    assert "answers an image with something else than DICOMweb" in first["message"]
    assert "answers an image with HTTP 404" in second["message"]
    assert not [word for word in (*patient, "1.2.3.") if word in run.output]


def test_a_busy_archive_is_asked_again(store, archive, monkeypatch):
    store.fails["GET"] = [503]
    store.fails["POST"] = [503]
    run = _predict(archive, "--store", "report")
    assert run.exit_code == 0
    store.fails["GET"] = [503] * 9
    run = _predict(archive)
    assert "answers a query with HTTP 503" in str(run.exception)


def test_objects_that_are_not_stored_are_told_in_their_rows(store, archive, patient):
    store.fails["POST"] = [500]
    run = _predict(archive, "--store", "report")
    assert run.exit_code == 1
    assert [row["status"] for row in _rows(run)] == ["unreported", "ok", "ok"]
    assert "answers an object to store with HTTP 500" in _rows(run)[0]["message"]
    store.refuses_objects = True
    run = _predict(archive, "--store", "capture", "--query", "StudyID=A")
    (row,) = _rows(run)
    assert row["status"] == "unreported"
    assert "does not store the object (failure reason 0xa700)" in row["message"]
    assert not [word for word in (*patient, "1.2.3.") if word in run.output]


def test_other_answers_and_no_archive_are_told(store, archive, patient):
    store.fails["GET"] = [0]
    run = _predict(archive)
    assert "answers a query with something else than DICOMweb" in str(run.exception)
    assert not [word for word in patient if word in str(run.exception)]
    with pytest.raises(InputError, match="cannot be reached"):
        list(Archive("http://127.0.0.1:9/none").find({}))


def test_nothing_of_an_image_stays_behind(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert _predict(archive, "--store", "capture").exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--query", "StudyDat=2026"], "'StudyDat' is no keyword of DICOM; did you mean 'StudyDate'?"),
        (["--query", "PatientName"], "a condition needs a keyword and a value"),
        (["photo.jpg"], "name no files, or leave the option out"),
    ],
)
def test_usage_is_explained(archive, words, told):
    assert told in str(_predict(archive, *words).exception)


def test_options_of_an_archive_need_one():
    run = CliRunner().invoke(app, ["predict", "photo.jpg", "--store", "report"])
    assert "name it with --dicomweb URL" in str(run.exception)
    assert "no images given" in str(CliRunner().invoke(app, ["predict"]).exception)


@pytest.mark.parametrize(
    "url", ["ftp://archive.example/web", "archive.example", "https://me:secret@archive.example/web"]
)
def test_addresses_that_do_not_fit_are_told_without_their_secrets(url):
    with pytest.raises(InputError, match="address") as caught:
        Archive(url)
    assert "secret" not in str(caught.value)


def test_an_archive_elsewhere_without_tls_is_warned_of():
    assert Archive("http://archive.example/web").is_in_the_clear
    assert not Archive("https://archive.example/web").is_in_the_clear
    assert not Archive("http://127.0.0.1:8080/web").is_in_the_clear


def test_values_of_conditions_may_hold_anything():
    assert parse_query(["StudyDate=20260101-20260131", "StudyDescription=a=b"]) == {
        "StudyDate": "20260101-20260131", "StudyDescription": "a=b",
    }  # fmt: skip
