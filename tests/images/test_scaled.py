"""JPEG files that are decoded at a fraction of their size show the same picture, or are decoded whole."""

import io

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


def _opened(content, at_least=None):
    with open_rgb(content) if at_least is None else open_scaled(content, at_least) as found:
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


def test_grey_files_and_those_in_four_colours_are_read():
    for mode in ("L", "CMYK"):
        content = _jpeg(_photo(1200, 800).convert(mode))
        assert np.abs(_opened(content, at_least=2 * SIDE)[1] - _opened(content)[1]).max() <= 6


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_damaged_file_is_refused_as_ever(cut):
    content = _jpeg(_photo(1600, 1200))
    content = content[: int(cut * len(content))]
    said = []
    for at_least in (None, 2 * SIDE):
        with pytest.raises(ImageError) as caught:
            _opened(content, at_least)
        said.append((caught.value.reason, str(caught.value)))
    assert said[0] == said[1]


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
