"""What the real world sends: formats by their content, TIFF of all kinds, damage, and bombs."""

import io
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermdistill.images import decode, formats
from dermdistill.images.decode import ImageError, find_damage, load_rgb, open_rgb

CASES = Path(__file__).resolve().parents[1] / "cases"
PEAK = """
import sys
from pathlib import Path
from dermdistill.predict.predictor import Predictor
statuses = [result.status for result in Predictor(gate="off").predict(sys.argv[1:])]
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(*statuses, int(peak.split()[1]) * 1024)  # ru_maxrss would begin with what the parent process holds
"""


def _bytes(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _reason(source):
    with pytest.raises(ImageError) as error:
        load_rgb(source)
    return error.value.reason


@pytest.fixture
def photo(picture):
    """A photograph's bytes as JPEG."""
    noise = np.random.default_rng(1).normal(0, 12, (300, 400, 3))
    base = np.asarray(picture(3, 400).crop((0, 0, 400, 300)), np.float64)
    return _bytes(Image.fromarray((base + noise).clip(0, 255).astype(np.uint8)), "JPEG", quality=90)


# Kinds of TIFF


def test_a_float_tiff_of_unit_range_equals_that_of_255():
    unit, full = (np.asarray(load_rgb(CASES / "tiff_kinds" / f"float{scale}.tif")) for scale in ("01", "255"))
    assert unit.max() > 100
    np.testing.assert_array_equal(unit, full)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.02, 1.03), (0, 255), (-3.0, 258.0), (0, 65535), (0, 65600)])
def test_floats_are_scaled_by_their_range_and_overshoots_are_cut(low, high):
    values = np.linspace(low, high, 400, dtype=np.float32).reshape(20, 20)
    found = np.asarray(load_rgb(_bytes(Image.fromarray(values), "TIFF")))[..., 0]
    assert (found.min(), found.max()) == (0, 255)
    assert abs(int(found[10, 0]) - 128) <= 3


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -500.0, 1e9])
def test_floats_without_a_scale_are_refused(wrong):
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    values[3, 3] = wrong
    with pytest.raises(ImageError, match="expected 0 to 1, 0 to 255 or 0 to 65535"):
        load_rgb(_bytes(Image.fromarray(values), "TIFF"))


def test_planes_of_sixteen_bits_are_not_mixed_up():
    plain = np.asarray(load_rgb(CASES / "tiff_kinds" / "plain.png"))
    np.testing.assert_array_equal(np.asarray(load_rgb(CASES / "tiff_kinds" / "planar16.tif")), plain)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"rowsperstrip": 7}, {"tile": (32, 32)}])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", ["separate", "contig"])
def test_tiffs_of_sixteen_bits_of_every_layout_equal_the_plain_image(picture, tmp_path, options, order, planar):
    tifffile = pytest.importorskip("tifffile")
    plain = np.asarray(picture(4, 60))
    deep = plain.astype(np.uint16) * 257
    if planar == "separate":
        deep = deep.transpose(2, 0, 1)
    if options.get("compression"):
        options = {**options, "predictor": True}
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", planarconfig=planar, byteorder=order, **options)
    np.testing.assert_array_equal(np.asarray(load_rgb(tmp_path / "a.tif")), plain)


def test_a_thumbnail_as_the_first_page_is_not_judged(picture):
    assert min(load_rgb(CASES / "tiff_kinds" / "thumb_first.tif").size) > 32
    large, small = picture(1, 80), picture(2, 20)
    for pages in ([small, large], [large, small], [small, large, small]):
        found = load_rgb(_bytes(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
        np.testing.assert_array_equal(np.asarray(found), np.asarray(large))


def test_a_damaged_page_behind_the_image_changes_nothing(picture):
    whole = bytearray(_bytes(picture(1, 40), "TIFF", save_all=True, append_images=[picture(2, 30)]))
    first = int.from_bytes(whole[4:8], "little")
    entries = int.from_bytes(whole[first : first + 2], "little")
    second = int.from_bytes(whole[first + 2 + 12 * entries :][:4], "little")
    whole[second : second + 40] = b"\xff" * 40
    np.testing.assert_array_equal(np.asarray(load_rgb(bytes(whole))), np.asarray(picture(1, 40)))


# Formats by content


def test_an_eps_starts_no_program(tmp_path, monkeypatch):
    started = tmp_path / "started"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ImageError, match="an EPS or PostScript file, not an image") as error:
        load_rgb(CASES / "eps_as_jpg" / "photo.jpg")
    assert error.value.reason == "not_an_image"
    assert not started.exists()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF"])
def test_every_format_of_the_table_is_read_whatever_its_name(kind, tmp_path):
    (known,) = [found for found in formats.FORMATS if found.pillow == kind]
    if not formats.is_installed(known):
        pytest.skip(f"{kind} is not installed")
    (tmp_path / "a.txt").write_bytes(_bytes(Image.new("RGB", (64, 48), (200, 100, 50)), kind))
    found = load_rgb(tmp_path / "a.txt")
    assert found.size == (64, 48)
    assert np.abs(np.asarray(found)[24, 32].astype(int) - (200, 100, 50)).max() < 12


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "SGI", "DDS", "ICNS", "EPS", "PDF"])
def test_no_other_decoder_is_started(kind, monkeypatch):
    content = _bytes(Image.new("RGB", (64, 64)), kind)
    assert _reason(content) == "not_an_image"


def test_a_format_that_is_not_installed_says_what_to_do(monkeypatch):
    pytest.importorskip("pillow_heif")
    formats.is_installed(formats.HEIC)
    content = _bytes(Image.new("RGB", (64, 64)), "HEIF")
    monkeypatch.setattr(decode, "is_installed", lambda kind: False)
    with pytest.raises(ImageError, match=r"HEIC is not read by this installation; pip install 'dermdistill\[heic\]'"):
        load_rgb(content)
    assert _reason(content) == "unsupported"


def test_what_is_known_and_no_image_is_named():
    with pytest.raises(ImageError, match=r"an HDF5 file, not an image"):
        load_rgb(b"\x89HDF\r\n\x1a\n" + b"\0" * 99)


# Damage


def _harmed(photo, how):
    half, content = len(photo) // 2, bytearray(photo)
    match how:
        case "zeroed tail":
            content[-half:] = bytes(half)
        case "no end":
            content = content[:-2]
        case "last bytes zeroed":
            content[-12:] = bytes(12)
        case "a zeroed sector":
            content[half : half + 512] = bytes(512)
        case "flipped bytes":
            pick = random.Random(0)
            for _ in range(20):
                content[pick.randrange(700, len(content) - 2)] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize(
    "how",
    ["zeroed tail", "no end", "last bytes zeroed", "a zeroed sector", "flipped bytes"],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_a_damaged_jpeg_is_told(photo, how, progressive, tmp_path):
    if progressive:
        photo = _bytes(Image.open(io.BytesIO(photo)), "JPEG", quality=90, progressive=True)
    assert find_damage(photo) is None
    harmed = _harmed(photo, how)
    path = tmp_path / "a.jpg"
    path.write_bytes(harmed)
    assert find_damage(path)
    for source in (harmed, path, io.BytesIO(harmed)):
        assert _reason(source) in {"damaged", "truncated", "unreadable"}


def test_a_damaged_jpeg_can_be_accepted(photo):
    harmed = _harmed(photo, "last bytes zeroed")
    assert _reason(harmed) == "damaged"
    assert load_rgb(harmed, damaged="accept").size == (400, 300)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}, {"optimize": True}])
def test_a_whole_jpeg_of_every_kind_is_not_damaged(picture, mode, options):
    whole = _bytes(picture(5, 77).convert(mode), "JPEG", **options)
    assert find_damage(whole) is None
    assert find_damage(whole + b"\0" * 5000) is None  # what comes after the end is no part of the picture
    load_rgb(whole)


def test_a_restart_marker_that_is_missing_is_damage(photo):
    marked = _bytes(Image.open(io.BytesIO(photo)), "JPEG", restart_marker_rows=1)
    assert find_damage(marked) is None
    assert find_damage(marked.replace(b"\xff\xd3", b"\x11\x11", 1))


def test_a_damaged_png_is_told(picture):
    whole = _bytes(picture(6, 90))
    assert find_damage(whole) is None
    harmed = bytearray(whole)
    harmed[len(whole) // 2] ^= 1
    assert "checksum" in find_damage(bytes(harmed))
    assert _reason(bytes(harmed)) in {"damaged", "unreadable", "truncated"}
    assert find_damage(whole[:-12]) == "the PNG has no end"


def test_no_real_image_is_called_damaged(real_data):
    paths = sorted(real_data.rglob("*.jpg"))[::40]
    assert len(paths) > 100
    assert {path.name: find_damage(path) for path in paths if find_damage(path)} == {}


# Memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is told in kilobytes there")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_bombs_together_stay_under_a_gigabyte():
    images = sorted((CASES / "palette_99MP").glob("*.png"))
    command = [sys.executable, "-c", PEAK, *map(str, images), *map(str, images)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    *statuses, peak = done.stdout.split()
    assert set(statuses) == {"ok"}
    assert int(peak) < 1_000_000_000


def test_decoders_share_their_memory(monkeypatch):
    """Four threads with images of 40 % of the memory each: never more than two at once."""
    image = _bytes(Image.new("L", (100, 100)))
    monkeypatch.setattr(decode, "_MEMORY", decode._Memory(int(100 * 100 * 5 * 2.5)))
    inside, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal inside, most
        for _ in range(20):
            with open_rgb(image):
                with lock:
                    inside += 1
                    most = max(most, inside)
                threading.Event().wait(0.002)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 2


def test_an_image_is_gone_before_another_thread_gets_its_memory(monkeypatch):
    image, closed = _bytes(Image.new("L", (100, 100))), []
    monkeypatch.setattr(decode, "_MEMORY", decode._Memory(100 * 100 * 5))
    give = decode._MEMORY._freed.notify_all
    monkeypatch.setattr(decode._MEMORY._freed, "notify_all", lambda: (closed.append(_is_closed(opened)), give()))
    with open_rgb(image) as opened:
        assert not _is_closed(opened)
    assert closed == [True]


def _is_closed(image):
    try:
        image.getpixel((0, 0))
    except ValueError:
        return True
    return False


def test_an_image_larger_than_all_the_memory_is_decoded_alone(monkeypatch):
    monkeypatch.setattr(decode, "_MEMORY", decode._Memory(10))
    assert load_rgb(_bytes(Image.new("L", (100, 100)))).size == (100, 100)
