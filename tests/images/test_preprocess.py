import io

import numpy as np
import pytest
from PIL import Image

from dermdistill.images import decode, preprocess
from dermdistill.images.preprocess import ImageError, load_rgb, resize_fast, resize_square

RAMP = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)


def _bytes(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_a_photo_is_turned_upright():
    image = Image.fromarray(np.dstack([RAMP, RAMP, RAMP]))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: the camera's top is the image's right
    upright = load_rgb(_bytes(image, exif=exif.tobytes()))
    assert upright.size == (24, 32)
    np.testing.assert_array_equal(np.asarray(upright)[..., 0], np.rot90(RAMP, -1))


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, RAMP), (2, np.fliplr(RAMP)), (3, np.rot90(RAMP, 2)), (4, np.flipud(RAMP)),
        (5, RAMP.T), (6, np.rot90(RAMP)), (7, np.rot90(RAMP.T, 2)), (8, np.rot90(RAMP, -1)),
    ],
)  # fmt: skip
def test_every_orientation_of_exif_ends_upright(orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = load_rgb(_bytes(Image.fromarray(np.ascontiguousarray(stored)), exif=exif.tobytes()))
    np.testing.assert_array_equal(np.asarray(found)[..., 0], RAMP)
    assert found.getexif().get(0x0112, 1) == 1  # else who reads on turns it once more


def test_transparent_pixels_lie_on_white():
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[:10, :, 3] = 255
    found = np.asarray(load_rgb(_bytes(Image.fromarray(pixels))))
    assert found[:10].max() == 0
    assert found[10:].min() == 255


def test_a_transparent_colour_of_a_palette_lies_on_white():
    image = Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 200).reshape(20, 20), "P")
    image.putpalette([200, 100, 50, 7, 8, 9])
    found = np.asarray(load_rgb(_bytes(image, transparency=1)))
    assert np.unique(found[:10].reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]
    assert found[10:].min() == 255


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "TIFF", "PNG"):
        found = np.asarray(load_rgb(_bytes(frames[0], kind, save_all=True, append_images=frames[1:])))
        assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]], kind


def test_palettes_and_greys_become_rgb():
    grey = Image.fromarray(RAMP)
    for mode in ("L", "P", "CMYK", "1", "LA"):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        found = load_rgb(_bytes(grey.convert(mode), kind))
        assert found.mode == "RGB"
        assert found.size == (32, 24)
    np.testing.assert_array_equal(np.asarray(load_rgb(_bytes(grey)))[..., 1], RAMP)


def test_sixteen_bits_are_scaled_not_cut():
    deep = (RAMP.astype(np.uint16) * 257).astype(np.uint16)
    np.testing.assert_allclose(np.asarray(load_rgb(_bytes(Image.fromarray(deep))))[..., 0], RAMP, atol=1)


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i4", "<f4"])
def test_deep_greys_of_every_kind_are_scaled_alike(kind):
    """Big-endian, 32 bits and floating point occur in TIFF."""
    deep = Image.fromarray((RAMP.astype(np.uint16) * 257).astype(kind))
    found = load_rgb(_bytes(deep, "TIFF"))
    assert found.mode == "RGB"
    np.testing.assert_allclose(np.asarray(found)[..., 2], RAMP, atol=1)


def test_a_dark_image_of_sixteen_bits_stays_dark():
    assert np.asarray(load_rgb(_bytes(Image.fromarray(np.full((20, 20), 255, np.uint16))))).max() == 0


def test_a_square_of_what_size_one_wants():
    image = Image.fromarray(np.dstack([RAMP, RAMP, RAMP]))
    found = resize_square(image, 16)
    assert found.shape == (16, 16, 3)
    assert found.dtype == np.uint8
    flat = resize_square(Image.new("RGB", (300, 200), (10, 200, 30)), 16)
    assert np.unique(flat.reshape(-1, 3), axis=0).tolist() == [[10, 200, 30]]
    halves = np.zeros((40, 80, 3), np.uint8)
    halves[:, 40:] = 255  # the aspect ratio goes, the middle stays in the middle
    squashed = resize_square(Image.fromarray(halves), 20)
    assert squashed[:, :9].max() == 0
    assert squashed[:, 11:].min() == 255


def test_making_it_smaller_averages():
    """Bilinear without antialiasing would pick single pixels of a fine pattern."""
    board = np.indices((256, 256)).sum(0) % 2 * 255
    small = resize_square(Image.fromarray(np.dstack([board] * 3).astype(np.uint8)), 32)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 4


@pytest.mark.parametrize("size", [(300, 225), (225, 300), (33, 1000), (64, 64), (20, 16)])
def test_the_extra_fast_resizes_alike_to_the_last_level(size):
    pytest.importorskip("cykooz_resizer")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    found, expected = resize_fast(image, 64), resize_square(image, 64)
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    gaps = np.abs(found.astype(int) - expected)
    assert gaps.max() <= 1
    assert (gaps > 0).mean() < 0.25


def test_large_images_and_installations_without_the_extra_resize_as_ever(monkeypatch):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8))
    expected = resize_square(image, 64)
    monkeypatch.setattr(preprocess, "LARGEST_FAST", 200 * 300 - 1)
    assert np.array_equal(resize_fast(image, 64), expected)
    monkeypatch.undo()
    monkeypatch.setattr(preprocess, "_package", lambda: None)
    assert np.array_equal(resize_fast(image, 64), expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"plain text, no image", "not_an_image"),
        (_bytes(Image.new("RGB", (8, 40))), "too_small"),
    ],
)
def test_what_is_no_image_has_a_reason(tmp_path, content, reason):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ImageError) as error:
        load_rgb(path)
    assert error.value.reason == reason
    assert str(path) in str(error.value)


def test_damage_a_folder_and_nothing_at_all(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    whole = _bytes(Image.fromarray(noise), "JPEG")
    for content in (whole[: len(whole) // 2], _bytes(Image.fromarray(noise))[:-2000]):
        with pytest.raises(ImageError) as error:
            load_rgb(content)
        assert error.value.reason in {"truncated", "unreadable"}
    for path, reason in ((tmp_path, "is_folder"), (tmp_path / "no.jpg", "missing"), ("a\0b", "unreadable")):
        with pytest.raises(ImageError) as error:
            load_rgb(path)
        assert error.value.reason == reason


def test_a_bomb_is_not_decoded(monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError) as error:
        load_rgb(_bytes(Image.new("RGB", (50, 50))))
    assert error.value.reason == "bomb"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ImageError) as error:
        load_rgb(_bytes(Image.new("RGB", (50, 50))))
    assert error.value.reason == "bomb"


def test_the_limits_are_those_that_are_told(monkeypatch):
    """Pillow warns of fewer pixels than are allowed here; that decides nothing."""
    side = decode.MIN_SIDE
    assert load_rgb(_bytes(Image.new("RGB", (side, side)))).size == (side, side)
    monkeypatch.setattr(decode, "MAX_PIXELS", 2500)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert load_rgb(_bytes(Image.new("RGB", (50, 50)))).size == (50, 50)
    with pytest.raises(ImageError, match="more than the 2,500 allowed"):
        load_rgb(_bytes(Image.new("RGB", (50, 51))))


def test_a_jpeg_that_ends_early_is_told_as_truncated(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    whole = _bytes(Image.fromarray(noise), "JPEG")
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: len(whole) // 2])
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        with pytest.raises(ImageError, match="truncated") as error:
            load_rgb(source)
        assert error.value.reason == "truncated"


def test_a_name_that_is_too_long_has_a_reason():
    with pytest.raises(ImageError) as error:
        load_rgb("x" * 5000)
    assert error.value.reason == "unreadable"
