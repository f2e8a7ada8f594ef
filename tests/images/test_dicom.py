"""DICOM objects: every coding gives the photograph, and what is none is refused with a reason and without a name."""

import io
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dermdistill.images import decode
from dermdistill.images.decode import ImageError, load_rgb
from dermdistill.images.dicom import files, pixels
from dermdistill.images.dicom.header import Refused
from dermdistill.images.walk import walk_images

pydicom = pytest.importorskip("pydicom")
REASONS = {
    "empty", "not_an_image", "unsupported", "truncated", "damaged", "unreadable", "too_small", "bomb", "missing",
}  # fmt: skip


def _difference(content, image):
    found = np.asarray(load_rgb(content)).astype(int)
    return np.abs(found - np.asarray(image.convert("RGB")).astype(int))


def _refusal(content):
    with pytest.raises(ImageError) as caught:
        load_rgb(content)
    return caught.value


@pytest.mark.parametrize(
    "syntax",
    [
        "ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian", "RLELossless", "JPEG2000Lossless",
        "JPEGLSLossless",
    ],
)  # fmt: skip
@pytest.mark.parametrize("bits", [8, 16])
def test_lossless_codings_give_the_very_pixels(dicom_object, picture, syntax, bits):
    image = picture(1)
    assert _difference(dicom_object(image, syntax=syntax, bits=bits), image).max() == 0


def test_jpeg_is_decoded_as_the_same_bytes_in_a_jpeg_file_are(dicom_object, picture):
    image = picture(2)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    content = dicom_object(image, syntax="JPEGBaseline8Bit", colours="YBR_FULL_422")
    assert _difference(content, load_rgb(out.getvalue())).max() <= 2


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(("colours", "most"), [("RGB", 0), ("YBR_FULL", 3)])
def test_both_orders_of_the_colours_are_read(dicom_object, picture, planar, colours, most):
    image = picture(3)
    assert _difference(dicom_object(image, colours=colours, planar=planar), image).max() <= most


def test_halved_colours_are_spread(dicom_object, picture):
    image = picture(4)
    assert _difference(dicom_object(image, colours="YBR_FULL_422"), image).mean() < 5


def test_a_palette_is_applied(dicom_object, picture):
    image = picture(5).quantize(64)
    assert _difference(dicom_object(image, colours="PALETTE COLOR"), image).max() == 0


def test_samples_of_fewer_bits_than_are_stored_fill_the_range(dicom_object, picture):
    image = Image.new("RGB", (32, 32), (255, 255, 255))
    values = np.full((32, 32, 3), 4095, "<u2").tobytes()
    content = dicom_object(image, bits=16, BitsStored=12, HighBit=11, PixelData=values)
    assert _difference(content, image).max() == 0


@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "JPEGBaseline8Bit", "RLELossless"])
def test_each_frame_is_an_image_of_its_own(dicom_object, tmp_path, syntax):
    images = [Image.new("RGB", (32, 24), (60 * number, 90, 200)) for number in range(3)]
    path = tmp_path / "many.dcm"
    path.write_bytes(dicom_object(*images, syntax=syntax, colours="YBR_FULL_422" if syntax[:4] == "JPEG" else "RGB"))
    assert [frame.name for frame in files.expand_frames(path)] == ["many.dcm#1", "many.dcm#2", "many.dcm#3"]
    for frame, image in zip(files.expand_frames(path), images, strict=True):
        assert _difference(frame, image).max() <= 3
    assert _refusal(path).reason == "unsupported"
    assert "3 frames; name one, the first as FILE#1" in str(_refusal(path.read_bytes()))
    assert _refusal(tmp_path / "many.dcm#4").reason == "missing"
    assert _refusal(tmp_path / "none.dcm#1").reason == "missing"


def test_a_number_behind_another_format_or_in_a_files_own_name_is_part_of_the_name(dicom_object, picture, tmp_path):
    picture(0).save(tmp_path / "a.png")
    assert _refusal(tmp_path / "a.png#1").reason == "missing"
    (tmp_path / "a.dcm").write_bytes(dicom_object(picture(0)))
    (tmp_path / "a.dcm#2").write_bytes(dicom_object(picture(1)))
    assert _difference(tmp_path / "a.dcm#2", picture(1)).max() == 0
    assert _difference(tmp_path / "a.dcm#1", picture(0)).max() == 0
    assert list(files.expand_frames(tmp_path / "a.dcm")) == [tmp_path / "a.dcm"]


@pytest.mark.parametrize(
    ("elements", "reason", "told"),
    [
        ({"colours": "MONOCHROME2"}, "unsupported", "in grey (MONOCHROME2); dermoscopy is judged in colour only"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "unsupported", "of the kind 'CT Image Storage'"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "CT"}, "unsupported", "of the modality 'CT'"),
        ({"Modality": "Zzyzxdoe"}, "unsupported", "of the modality;"),
        ({"SOPClassUID": "1.2.3.4"}, "unsupported", "a DICOM object; read are VL Photographic Image"),
        ({"PixelRepresentation": 1}, "unsupported", "not unsigned"),
        ({"colours": "YBR_FULL", "bits": 16}, "unsupported", "YBR_FULL with 16 bits"),
        ({"syntax": "JPEGBaseline8Bit", "Rows": 40_000, "Columns": 40_000}, "bomb", "40000x40000 pixels"),
        ({"NumberOfFrames": 2_000_000_000}, "bomb", "2,000,000,000 frames"),
        ({"Rows": 8}, "too_small", "96x8 pixels"),
        ({"Rows": 97}, "truncated", "of 27,936 bytes of pixels"),
        ({"Rows": None}, "unreadable", "without Rows"),
    ],
)
def test_what_is_no_colour_photograph_is_refused(dicom_object, picture, elements, reason, told):
    refusal = _refusal(dicom_object(picture(0), **elements))
    assert refusal.reason == reason
    assert told in str(refusal)


@pytest.mark.parametrize("syntax", ["JPEGBaseline8Bit", "JPEG2000Lossless", "JPEGLSLossless"])
def test_a_frame_of_another_size_than_the_objects_is_not_decoded(dicom_object, picture, monkeypatch, syntax):
    content = dicom_object(picture(0, 480), syntax=syntax)
    edited = pydicom.dcmread(io.BytesIO(content))
    edited.Rows = edited.Columns = 16
    out = io.BytesIO()
    edited.save_as(out)
    monkeypatch.setattr(decode, "decode_frame", lambda *_: pytest.fail("it was decoded"))
    assert "16x16 pixels whose frame has 480x480 pixels" in str(_refusal(out.getvalue()))


def test_runs_beyond_the_image_are_not_written_out(dicom_object, picture, monkeypatch):
    """A run-length code of 2 MB that stands for 128 MB of a picture with 768 bytes."""
    content = dicom_object(picture(0, 16), syntax="RLELossless")
    edited = pydicom.dcmread(io.BytesIO(content))
    code = struct.pack("<16L", 3, 64, 66, 68, *[0] * 12) + b"\x81\x07" * 2**20
    edited.PixelData = pydicom.encaps.encapsulate([code])
    out = io.BytesIO()
    edited.save_as(out)
    refuse = lambda *_: pytest.fail("pydicom's own decoder was used, which has no bound")  # noqa: E731
    monkeypatch.setattr("pydicom.pixels.decoders.rle._rle_decode_frame", refuse)
    assert _refusal(out.getvalue()).reason in ("unreadable", "truncated")


@pytest.mark.parametrize("syntax", ["DeflatedExplicitVRLittleEndian", "JPEGLosslessSV1"])
def test_other_transfer_syntaxes_are_named(dicom_object, picture, monkeypatch, syntax):
    edited = pydicom.dcmread(io.BytesIO(dicom_object(picture(0))))
    if syntax.startswith("JPEG"):
        edited.PixelData = pydicom.encaps.encapsulate([b"\0\0"])
    edited.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    out = io.BytesIO()
    edited.save_as(out)
    monkeypatch.setattr("zlib.decompress", lambda *_: pytest.fail("it was inflated"))
    refusal = _refusal(out.getvalue())
    assert refusal.reason == "unsupported"
    assert f"in a transfer syntax '{getattr(pydicom.uid, syntax).name}'; convert it" in str(refusal)


def test_a_cut_jpeg_frame_is_damaged_or_truncated(dicom_object, picture):
    content = dicom_object(picture(0, 200), syntax="JPEGBaseline8Bit", colours="YBR_FULL_422")
    assert _refusal(content[: len(content) // 2]).reason in ("truncated", "unreadable", "damaged")
    at = len(content) * 2 // 3
    assert _refusal(content[:at] + bytes(300) + content[at + 300 :]).reason == "damaged"


def test_a_missing_extra_says_how_to_install_it(dicom_object, picture, monkeypatch):
    content = dicom_object(picture(0))
    monkeypatch.setattr(decode, "is_installed", lambda kind: kind is not decode.DICOM)
    refusal = _refusal(content)
    assert refusal.reason == "unsupported"
    assert "DICOM is not read by this installation; pip install 'dermdistill[dicom]'" in str(refusal)


# Folders and media


def test_folders_are_searched_for_objects_without_a_suffix(dicom_object, picture, tmp_path):
    for name in ("b.dcm", "IM0001", "1.2.840.99", "a.DCM"):
        (tmp_path / name).write_bytes(dicom_object(picture(0)))
    (tmp_path / "LICENCE").write_text("text")
    (tmp_path / "song.mp3").write_bytes(dicom_object(picture(0)))
    (tmp_path / "DICOMDIR").write_bytes(dicom_object(picture(0)))
    found = walk_images(tmp_path)
    assert [Path(path).name for path in found.images] == ["1.2.840.99", "IM0001", "a.DCM", "b.dcm"]
    assert found.passed_over == {"without a suffix": 2, ".mp3": 1}


@pytest.fixture
def medium(dicom_object, picture, tmp_path):
    """The DICOMDIR of a medium with two images."""
    from pydicom.fileset import FileSet

    files = FileSet()
    for seed in range(2):
        files.add(pydicom.dcmread(io.BytesIO(dicom_object(picture(seed), InstanceNumber=seed + 1))))
    files.write(tmp_path / "medium")
    return tmp_path / "medium" / "DICOMDIR"


def test_a_dicomdir_lists_its_images(medium, picture):
    found = files.list_dicomdir(medium)
    assert len(found) == 2
    order = [[int(_difference(path, picture(seed)).max() == 0) for seed in range(2)] for path in found]
    assert sorted(order) == [[0, 1], [1, 0]]


@pytest.mark.parametrize("name", [b"../PASSWD", b"/etc/HOST"])
def test_a_dicomdir_leads_to_no_file_outside_its_folder(medium, name):
    content = medium.read_bytes()
    listed = pydicom.dcmread(medium).DirectoryRecordSequence[-1].ReferencedFileID
    old = "\\".join(listed).encode()
    medium.write_bytes(content.replace(old, name.ljust(len(old), b"X")))
    with pytest.raises(Refused, match="names a file outside its folder"):
        files.list_dicomdir(medium)


def test_a_broken_dicomdir_is_refused_without_its_words(medium, patient):
    content = medium.read_bytes()
    for end in range(140, len(content), 97):
        medium.write_bytes(content[:end])
        told = ""
        try:
            files.list_dicomdir(medium)
        except Refused as error:
            told = str(error)
        assert not [word for word in patient if word in told]


# Privacy


def test_no_error_or_log_tells_the_patient(dicom_object, picture, patient, caplog, recwarn):
    """Errors of every kind, and everything that pydicom says on the way, even of a name in the wrong element."""
    whole = dicom_object(picture(0, 32), Modality="Zzyzxdoe")
    caplog.clear()
    recwarn.clear()
    caplog.set_level("DEBUG")
    assert _refusal(whole).reason == "unsupported"
    told = [str(_refusal(whole[:end])) for end in range(133, len(whole), 29)]
    told += [record.getMessage() for record in caplog.records] + [str(warning.message) for warning in recwarn.list]
    assert len(told) > 50
    assert not [text for text in told for word in patient if word in text]


def test_the_instance_uid_is_read(dicom_object, picture, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom_object(picture(0), SOPInstanceUID="1.2.3.4.5"))
    assert files.sop_instance_uid(path) == files.sop_instance_uid(f"{path}#1") == "1.2.3.4.5"
    path.write_bytes(dicom_object(picture(0), SOPInstanceUID="1.2.3"))
    picture(0).save(tmp_path / "a.png")
    assert files.sop_instance_uid(tmp_path / "a.png") == files.sop_instance_uid(tmp_path / "none") == ""


# Damage

_CODINGS = [
    {"syntax": "ExplicitVRLittleEndian"}, {"syntax": "ImplicitVRLittleEndian", "planar": 1}, {"syntax": "RLELossless"},
    {"syntax": "JPEGBaseline8Bit", "colours": "YBR_FULL_422"}, {"syntax": "JPEG2000Lossless"},
]  # fmt: skip


@pytest.fixture(params=_CODINGS, ids=lambda coding: coding["syntax"])
def small_object(request, dicom_object, picture):
    return dicom_object(picture(7, 40), **request.param)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_objects_are_read_or_refused(small_object, data, patient):
    content = bytearray(small_object)
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(133, len(content)))
    reason, told, size = "", "", ()
    try:
        size = load_rgb(bytes(content[:cut])).size
    except ImageError as error:
        reason, told = error.reason, str(error)
    assert reason in REASONS if reason else min(size) >= decode.MIN_SIDE
    assert not [word for word in patient if word in told]


def test_a_frame_whose_decoding_never_ends_is_refused(dicom_object, picture, monkeypatch):
    """As that of pyjpegls on some cut frames, which may be among these."""
    content = dicom_object(picture(7, 40), syntax="JPEGLSLossless", bits=16)
    monkeypatch.setattr(pixels, "_PATIENCE", 3)
    for end in range(2000, len(content), 1500):
        assert _refusal(content[:end]).reason in REASONS
    monkeypatch.setattr(pixels, "_JPEG_LS", "while True: pass")
    monkeypatch.setattr(pixels, "_PATIENCE", 0.2)
    assert "did not end in 0 s" in str(_refusal(content))


def test_every_truncation_is_refused(small_object):
    """Of the header byte by byte, of the pixels in steps; the last bytes may be padding or an end that none misses."""
    for end in itertools.chain(range(132, 400), range(400, len(small_object) - 40, 61)):
        assert _refusal(small_object[:end]).reason in REASONS
