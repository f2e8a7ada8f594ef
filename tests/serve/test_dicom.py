"""The service reads DICOM objects, and its answers tell nothing of the patient."""

import pytest

pytest.importorskip("pydicom")


def test_an_object_is_judged_as_the_same_picture_in_a_file(serving, form, dicom_object, picture, patient):
    import io

    out = io.BytesIO()
    picture(0).save(out, "PNG")
    with serving() as client:
        found = client.post("/v1/predict", **form(dicom_object(picture(0)), out.getvalue()))
        several = client.post("/v1/predict", **form(dicom_object(picture(0), picture(1))))
    assert found.status_code == 200, found.text
    first, second = found.json()["results"]
    assert first["p_melanoma"] == pytest.approx(second["p_melanoma"], abs=1e-6)
    assert several.status_code == 422
    assert several.json()["images"][0]["status"] == "unsupported"
    assert "2 frames" in several.text
    assert not [word for word in patient if word in found.text + several.text]
