"""Bodies of every kind: what is refused, with which words, and that none gets to a disk."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dermdistill.serve.uploads import clean_name

HEAD = '--x\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'


def _problem(response, status, code):
    assert response.status_code == status, response.text
    problem = response.json()
    assert problem["type"] == f"urn:dermdistill:{code}"
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["expected"]
    assert problem["remedy"]
    return problem


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "ends before"),
        (b"nonsense", "Invalid multipart"),
        (HEAD.encode() + b"abc", "ends before"),
        (HEAD.encode() + b"abc\r\n--x\r\n", "ends before"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n", '"name" must be provided'),
        (b"--x\r\nno header at all\r\n\r\nabc\r\n--x--\r\n", "Invalid multipart"),
        (
            b'--x\r\nContent-Disposition: form-data; name="threshold"\r\n\r\n' + b"9" * 2000 + b"\r\n--x--\r\n",
            "exceeded",
        ),
    ],
)
def test_a_malformed_form_is_told(serving, body, told):
    with serving() as client:
        found = client.post("/v1/predict", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert told in _problem(found, 400, "malformed")["detail"]
        assert client.get("/readyz").status_code == 200


def test_a_form_without_a_boundary_is_told(serving):
    with serving() as client:
        found = client.post("/v1/predict", content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert "Missing boundary" in _problem(found, 400, "malformed")["detail"]


def test_fields_of_another_name_or_kind_are_told(serving, photo):
    with serving() as client:
        wrong = client.post("/v1/predict", files={"file": ("a.jpg", photo())})
        assert "'file' with a file" in _problem(wrong, 422, "field")["detail"]
        text = client.post("/v1/predict", files={"images": (None, b"a.jpg")})
        assert "'images' with a text" in _problem(text, 422, "field")["detail"]
        none = client.post("/v1/predict", files={"threshold": (None, b"0.1")})
        _problem(none, 422, "no-image")


@pytest.mark.parametrize("kind", ["image/jpeg", "text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_type_is_told(serving, photo, kind):
    with serving() as client:
        found = client.post("/v1/predict", content=photo(), headers={"Content-Type": kind})
    problem = _problem(found, 415, "content-type")
    assert (kind or "none") in problem["detail"]
    assert "curl" in problem["remedy"]


def test_a_compressed_body_is_told(serving):
    with serving() as client:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        _problem(client.post("/v1/predict", content=b"x", headers=headers), 415, "content-encoding")


@pytest.mark.parametrize(
    ("body", "status", "code", "told"),
    [
        (b"{", 400, "malformed", "not JSON"),
        (b"\xff\xfe", 400, "malformed", "not JSON"),
        (b"[" * 100_000, 400, "malformed", "not JSON"),
        (b"[]", 422, "body", "object"),
        (b'{"images": []}', 422, "body", "images"),
        (b'{"images": [{"data": "AAAA", "nmae": "a"}]}', 422, "body", "images.0.nmae"),
        (b'{"images": [{"data": 7}]}', 422, "body", "images.0.data"),
        (b'{"images": [{"data": "A*B="}]}', 422, "base64", "images.0.data"),
        (b'{"images": [{"data": "data:image/png;base64,AAAA"}]}', 422, "base64", "images.0.data"),
        (b'{"images": [{"data": "AAAA"}], "threshold": true}', 422, "body", "threshold"),
    ],
)
def test_json_that_does_not_fit_is_told(serving, body, status, code, told):
    with serving() as client:
        found = client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert told in _problem(found, status, code)["detail"]


def test_too_many_images_are_told(serving, photo, form):
    with serving({"images": 2}) as client:
        assert client.post("/v1/predict", **form(photo(), photo(1))).status_code == 200
        _problem(client.post("/v1/predict", **form(photo(), photo(1), photo(2))), 422, "too-many-images")
        many = client.post("/v1/predict", json={"images": [{"data": "AAAA"}] * 3})
        assert "3 images" in _problem(many, 422, "too-many-images")["detail"]


def test_names_come_back_without_paths_and_control_characters(serving, photo, form):
    assert clean_name("../../etc/passwd") == "passwd"
    assert clean_name("C:\\photos\\left arm.jpg") == "left arm.jpg"
    assert clean_name("a\x1b[31m\n.jpg") == "a[31m.jpg"
    assert len(clean_name("x" * 1000)) == 255
    with serving() as client:
        found = client.post("/v1/predict", **form(("../../ä b.jpg", photo()))).json()
    assert found["results"][0]["file"] == "ä b.jpg"


_written: list[str] | None = None


def _watch(event, arguments):
    if event == "open" and _written is not None:
        path, _, flags = arguments
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            _written.append(str(path))


@contextmanager
def _writes() -> Iterator[list[str]]:
    """The files that this process opens to write in the block."""
    global _written
    if not getattr(sys, "_dermdistill_watched", False):
        sys.addaudithook(_watch)
        sys._dermdistill_watched = True  # type: ignore[attr-defined]  # a hook stays for good
    _written = []
    try:
        yield _written
    finally:
        _written = None


def test_no_image_is_written_however_large(serving, photo, form, tmp_path):
    large = photo(0, (2500, 2000), "BMP")
    assert len(large) > 10_000_000
    with serving() as client, _writes() as written:
        (tmp_path / "seen").write_text("x")
        assert written == [str(tmp_path / "seen")], "the watch sees nothing"
        assert client.post("/v1/predict", **form(large, ("text.jpg", b"x" * 3_000_000))).status_code == 200
        assert client.post("/v1/predict", content=HEAD.encode() + large, headers={
            "Content-Type": "multipart/form-data; boundary=x"
        }).status_code == 400  # fmt: skip
    assert written == [str(tmp_path / "seen")]
