"""JPEG files that are decoded at a fraction of their size show the same picture, or are decoded whole."""

import io
import struct
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from dermdistill.images import scaled
from dermdistill.images.decode import ImageError, open_rgb, open_scaled
from dermdistill.images.preprocess import resize_square
from dermdistill.images.scaled import decode_whole

SIDE = 112


def _photo(width, height, seed=0):
    """Smooth blotches with fine grain, as skin has."""
    rng = np.random.default_rng(seed)
    blotches = Image.fromarray(rng.integers(60, 220, (height // 40, width // 40, 3), np.uint8))
    soft = blotches.resize((width, height), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(3))
    grain = np.asarray(soft, np.float32) + rng.normal(0, 3, (height, width, 3))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


def _jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def _opened(source, at_least=None):
    with open_rgb(source) if at_least is None else open_scaled(source, at_least) as found:
        image = found if isinstance(found, Image.Image) else Image.fromarray(found)
        return image.size, resize_square(image, SIDE).astype(int)


@pytest.mark.parametrize("size", [(600, 450), (1600, 1200), (900, 2400)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_fraction_shows_what_the_whole_shows(size, options):
    content = _jpeg(_photo(*size), **options)
    whole, expected = _opened(content)
    small, found = _opened(content, at_least=2 * SIDE)
    assert whole == size
    assert 2 * SIDE <= min(small) < min(size)
    assert np.abs(found - expected).max() <= 6
    assert np.abs(found - expected).mean() < 0.5


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((600, 450), 128, (300, 225)),
        ((601, 451), 128, (301, 226)),
        ((1024, 768), 224, (512, 384)),
        ((1024, 768), 128, (256, 192)),
        ((4000, 3000), 224, (500, 375)),
    ],
)
def test_fractions_are_powers_of_two(size, side, expected):
    assert _opened(_jpeg(_photo(*size)), at_least=side)[0] == expected


def test_what_a_fraction_changes_is_about_the_rounding_to_8_bits():
    """Rounding alone is off by 0.29 on average over its interval, twice: here by 0.41."""
    content = _jpeg(_photo(1024, 768))
    gap = _opened(content, at_least=2 * SIDE)[1] - _opened(content)[1]
    assert np.sqrt(np.square(gap).mean()) < 0.41
    assert np.abs(gap).max() <= 3


def test_a_file_that_is_not_twice_as_large_as_needed_is_decoded_whole():
    assert _opened(_jpeg(_photo(500, 440)), at_least=2 * SIDE)[0] == (500, 440)


def test_a_turned_photograph_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _jpeg(_photo(1200, 800), exif=exif)
    (width, height), found = _opened(content, at_least=2 * SIDE)
    assert width < height
    assert np.abs(found - _opened(content)[1]).max() <= 6


_RAW = b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x112, 3, 1, 6, 0)  # turned by a quarter


def _with_exif(content, exif, *, is_jfif):
    """A file of Pillow's with a segment of metadata; without a JFIF header Pillow looks into it as it opens it."""
    rest = content[2:] if is_jfif else content[4 + int.from_bytes(content[4:6], "big") :]
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif + rest


def _said(source, at_least):
    """The refusal of a file that cannot be used."""
    with pytest.raises(ImageError) as caught:
        _opened(source, at_least)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("is_jfif", [True, False])
@pytest.mark.parametrize("exif", [b"II", _RAW[:6], b"II*\0\xff", b"nothing of the kind"], ids=str)
def test_a_file_whose_metadata_cannot_be_read_is_refused_as_ever(exif, is_jfif):
    content = _with_exif(_jpeg(_photo(1200, 800)), exif, is_jfif=is_jfif)
    assert _said(content, 2 * SIDE) == _said(content, None)


@pytest.mark.parametrize("is_jfif", [True, False])
def test_odd_metadata_turns_a_fraction_as_the_whole_and_warns_of_nothing(is_jfif):
    odd = _RAW.replace(struct.pack("<I", 1), struct.pack("<I", 2))  # two orientations
    for exif in (_RAW, odd):
        content = _with_exif(_jpeg(_photo(1200, 800)), exif, is_jfif=is_jfif)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            small, found = _opened(content, 2 * SIDE)
        assert small[0] < small[1] < 1200
        assert np.abs(found - _opened(content)[1]).max() <= 6


class _Torn(io.BytesIO):
    """A file on a share that goes away after some bytes."""

    def __init__(self, content, after):
        super().__init__(content)
        self._left = after

    def read(self, size=-1):
        found = super().read(size)
        self._left -= len(found)
        if self._left < 0:
            raise OSError(5, "Input/output error")
        return found


@pytest.mark.parametrize("after", [0, 200, 5000, 30_000])
def test_a_file_that_cannot_be_read_to_its_end_is_refused_as_ever(tmp_path, monkeypatch, after):
    path = tmp_path / "x.jpg"
    path.write_bytes(content := _jpeg(_photo(1200, 800)))
    monkeypatch.setattr(Path, "open", lambda *_: _Torn(content, after))
    said = _said(path, 2 * SIDE)
    assert said == _said(path, None)
    assert said == ("unreadable", f"{path}: unreadable image (OSError: [Errno 5] Input/output error)")


def test_of_a_file_of_too_many_pixels_no_more_than_the_header_is_read(tmp_path):
    content = bytearray(_jpeg(_photo(1200, 800)))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    path = tmp_path / "x.jpg"
    path.write_bytes(bytes(content) + bytes(20_000_000))
    tracemalloc.start()
    try:
        assert _said(path, 2 * SIDE)[0] == "bomb"
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_grey_files_and_those_in_four_colours_are_read():
    for mode in ("L", "CMYK"):
        content = _jpeg(_photo(1200, 800).convert(mode))
        assert np.abs(_opened(content, at_least=2 * SIDE)[1] - _opened(content)[1]).max() <= 6


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_damaged_file_is_refused_as_ever(cut):
    content = _jpeg(_photo(1600, 1200))
    content = content[: int(cut * len(content))]
    assert _said(content, 2 * SIDE) == _said(content, None)


def test_other_formats_keep_all_pixels():
    stream = io.BytesIO()
    _photo(1200, 800).save(stream, "PNG")
    assert _opened(stream.getvalue(), at_least=2 * SIDE)[0] == (1200, 800)


@pytest.mark.parametrize("size", [(600, 450), (33, 47), (17, 240)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}], ids=str)
def test_a_sound_file_gives_the_pixels_that_pillow_gives(size, mode, options):
    content = _jpeg(_photo(600, 450).resize(size).convert(mode), **options)
    opened = Image.open(io.BytesIO(content))
    found = decode_whole(content, opened)
    assert found is not None
    assert np.array_equal(np.asarray(found), np.asarray(opened.convert("RGB")))


def test_real_files_give_the_pixels_that_pillow_gives(real_data):
    for path in sorted(real_data.rglob("*.jpg"))[::400]:
        content = path.read_bytes()
        found = decode_whole(content, Image.open(path))
        assert found is not None, path
        assert np.array_equal(np.asarray(found), np.asarray(Image.open(path).convert("RGB"))), path


def test_very_large_files_are_left_to_pillow(monkeypatch):
    content = _jpeg(_photo(600, 450))
    _, expected = _opened(content)
    monkeypatch.setattr(scaled, "LARGEST_WHOLE", 600 * 450 - 1)
    assert decode_whole(content, Image.open(io.BytesIO(content))) is None
    assert np.array_equal(_opened(content)[1], expected)
