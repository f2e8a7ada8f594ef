"""The map of an answer: every part is covered as the page covers it, and the picture says what it is."""

import math

import numpy as np
import pytest
from PIL import Image

from dermdistill.errors import InputError, IntegrityError
from dermdistill.images.occlusion import GRID, log_odds, occluded
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.explain import Explanation, colours, explain
from dermdistill.predict.picture import SIDES, draw_map
from dermdistill.predict.predictor import Predictor


@pytest.fixture(scope="module")
def predictor():
    return Predictor(read_bundle(default_bundle()), threads=1)


def _as_the_page_does(pixels, row, column):
    """web/src/occlude.ts, line by line."""
    size, flat = len(pixels), [int(value) for value in pixels.reshape(-1)]
    colour = []
    for channel in range(3):
        counts = [0] * 256
        for at in range(channel, len(flat), 3):
            counts[flat[at]] += 1
        left = len(flat) / 6
        for value, count in enumerate(counts):
            left -= count
            if left <= 0:
                colour.append(value)
                break
    cell = size / 8
    copy = pixels.copy()

    def bounds(index):
        return max(0, math.floor((index - 0.5) * cell + 0.5)), min(size, math.floor((index + 1.5) * cell + 0.5))

    for y in range(*bounds(row)):
        for x in range(*bounds(column)):
            copy[y, x] = colour
    return copy


@pytest.mark.parametrize("size", [16, 21, 64, 100, 112])
def test_parts_are_covered_as_on_the_page(size):
    pixels = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    before = pixels.copy()
    for row, column in ((0, 0), (3, 5), (7, 7), (0, 6)):
        assert np.array_equal(occluded(pixels, row, column), _as_the_page_does(pixels, row, column))
    assert np.array_equal(pixels, before)


def test_effects_are_those_of_each_part_judged_alone(predictor, picture):
    size = predictor.bundle.spec.input.size
    pixels = np.array(picture(3, size))
    found, index = explain(predictor, pixels), predictor.bundle.spec.melanoma_index
    assert found.effects.shape == found.covered.shape == (GRID, GRID)
    assert np.ptp(found.effects) > 0.01
    for row, column in ((0, 0), (2, 6), (7, 4)):
        whole, covered = predictor.probabilities(np.stack([pixels, _as_the_page_does(pixels, row, column)]))[:, index]
        expected = math.log(whole / (1 - whole)) - math.log(covered / (1 - covered))
        assert found.effects[row, column] == pytest.approx(expected, abs=1e-4)
        assert found.covered[row, column] == pytest.approx(covered, abs=1e-5)
        assert found.whole == pytest.approx(whole, abs=1e-5)


def test_certainty_is_bounded():
    assert -log_odds(0.0) == pytest.approx(log_odds(1.0)) == pytest.approx(math.log(999_999))
    assert log_odds(0.5) == 0


def test_a_model_that_gives_no_probabilities_has_no_map(predictor, monkeypatch):
    size = predictor.bundle.spec.input.size
    wrong = np.full((65, len(predictor.classes)), np.nan)
    monkeypatch.setattr(predictor, "probabilities", lambda images: wrong)
    with pytest.raises(IntegrityError, match="gave no probabilities for a covered image"):
        explain(predictor, np.zeros((size, size, 3), np.uint8))


def test_an_image_of_another_size_is_refused(predictor):
    with pytest.raises(InputError, match="expected uint8"):
        explain(predictor, np.zeros((16, 16, 3), np.uint8))


def test_colours_are_those_of_the_page():
    effects = np.zeros((GRID, GRID))
    effects[0, 0], effects[0, 1], effects[0, 2] = 2, -1, 0.5
    found = colours(effects)
    assert found[0, :3].tolist() == [[255, 106, 0, 180], [0, 132, 255, 64], [255, 106, 0, 23]]
    assert found[5, 5, 3] == 0
    assert colours(effects / 100)[0, 0, 3] == 1  # weak effects look weak


@pytest.mark.parametrize("size", [(20, 60), (600, 450), (3000, 1000)])
def test_a_picture_has_its_image_its_map_and_a_band(size):
    effects = np.zeros((GRID, GRID))
    effects[0, 0] = 3
    image = Image.new("RGB", size, (200, 150, 130))
    found = draw_map(image, Explanation(effects, effects, 0.5), "model 1: probability of melanoma 0.500")
    scale = min(SIDES[1], max(SIDES[0], *size)) / max(size)
    width, height = round(size[0] * scale), round(size[1] * scale)
    left = (found.shape[1] - width) // 2
    shown, band = found[:height, left : left + width], found[height:]
    assert shown[-1, -1].tolist() == [200, 150, 130]
    warm = shown[height // 32, width // 32].astype(int)
    assert warm[0] > 210
    assert warm[2] < 80
    assert (band == (255, 255, 255)).all(-1).mean() > 0.5
    assert ((band[..., 0] > 120) & (band[..., 1] < 60)).sum() > 100, "the warning is not in red"
