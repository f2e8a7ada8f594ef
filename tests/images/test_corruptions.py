"""What spoils photographs: the same accident for the same image, and worse with severity."""

import io

import numpy as np
import pytest
from PIL import Image

from dermdistill.images.corruptions import CORRUPTIONS, SEVERITIES, WORKING, corrupt, working


@pytest.fixture(scope="module")
def image() -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(90, 200, (14, 18, 3)).astype(np.uint8)).resize(
        (320, 256), Image.Resampling.BICUBIC
    )
    return Image.fromarray((np.asarray(coarse) + rng.normal(0, 6, (256, 320, 3))).clip(0, 255).astype(np.uint8))


def change(image: Image.Image, spoiled: Image.Image) -> float:
    same = spoiled.resize(image.size)
    return float(np.abs(np.asarray(image, float) - np.asarray(same, float)).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_image_is_spoiled_alike_and_others_otherwise(image: Image.Image, name: str):
    first, again = (np.asarray(corrupt(image, name, 3, "ISIC_1")) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    if name not in ("JPEG", "blur", "rescale"):  # those have nothing random
        others = [np.asarray(corrupt(image, name, 3, f"ISIC_{number}")) for number in range(2, 6)]
        assert any(not np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_changes_more(image: Image.Image, name: str):
    for image_id in ("a", "b", "c"):
        changes = [change(image, corrupt(image, name, severity, image_id)) for severity in SEVERITIES]
        assert 0 < changes[0] < changes[4]
        if name not in ("rotation", "crop"):  # those move every pixel at once
            assert changes == sorted(changes)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"crop"}))
def test_the_frame_stays(image: Image.Image, name: str):
    spoiled = corrupt(image, name, 5, "a")
    assert (spoiled.size, spoiled.mode) == (image.size, "RGB")


def test_jpeg_is_what_pillow_writes(image: Image.Image):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=15)
    expected = np.asarray(Image.open(stream).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(corrupt(image, "JPEG", 5, "a")), expected)


def test_a_crop_is_a_window_of_the_image(image: Image.Image):
    part, whole = np.asarray(corrupt(image, "crop", 5, "a")), np.asarray(image)
    height, width = part.shape[:2]
    assert (width, height) == (round(0.6 * 320), round(0.6 * 256))
    corners = np.argwhere((whole[: 257 - height, : 321 - width] == part[0, 0]).all(2))
    assert any((whole[top : top + height, left : left + width] == part).all() for top, left in corners)


def test_a_colour_cast_keeps_the_mean_gain():
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    for image_id in "abcdef":
        gains = np.asarray(corrupt(grey, "colour cast", 5, image_id), float)[0, 0] / 128
        assert gains.mean() == pytest.approx(1, abs=0.005)
        assert np.abs(gains - 1).max() == pytest.approx(0.22, abs=0.005)


def test_dark_corners_leave_the_middle(image: Image.Image):
    spoiled = np.asarray(corrupt(image, "dark corners", 5, "a"))
    np.testing.assert_array_equal(spoiled[100:156, 130:190], np.asarray(image)[100:156, 130:190])
    assert spoiled[0, 0].max() < 20


def test_a_turn_by_45_degrees_has_no_empty_corners():
    white = Image.new("RGB", (120, 90), (255, 255, 255))
    assert np.asarray(corrupt(white, "rotation", 5, "a")).min() == 255


@pytest.mark.parametrize(
    ("size", "expected"), [((600, 450), (341, 256)), ((450, 900), (256, 512)), ((200, 150), (200, 150))]
)
def test_large_images_are_scaled_down_first(size: tuple[int, int], expected: tuple[int, int]):
    assert WORKING == 256
    assert working(Image.new("RGB", size)).size == expected


def test_an_unknown_severity_is_refused(image: Image.Image):
    with pytest.raises(ValueError, match="severity must be 1 to 5, got 6"):
        corrupt(image, "blur", 6, "a")
