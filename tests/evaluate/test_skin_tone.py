import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import spearmanr

from dermdistill.classes import CLASSES
from dermdistill.data.synthetic.dermatoscope import DEEP, PALE
from dermdistill.data.synthetic.generate import draw
from dermdistill.errors import InputError
from dermdistill.evaluate.skin_tone import BANDS, TONE, band, estimate, lab_of, typology_angle, with_tones


def test_lab_is_that_of_scikit_image():
    colour = pytest.importorskip("skimage.color")
    rgb = np.random.default_rng(0).random((20, 30, 3))
    np.testing.assert_allclose(lab_of(rgb), colour.rgb2lab(rgb), atol=0.02)


def test_lab_by_hand():
    np.testing.assert_allclose(lab_of(np.array([1.0, 1, 1])), [100, 0, 0], atol=1e-6)
    np.testing.assert_allclose(lab_of(np.zeros(3)), [0, 0, 0], atol=1e-6)
    # the published values of pure red
    np.testing.assert_allclose(lab_of(np.array([1.0, 0, 0])), [53.24, 80.09, 67.20], atol=0.02)


def test_the_angle_and_its_bands():
    assert typology_angle(np.array([70.0, 5.0, 20.0])) == pytest.approx(45)
    assert typology_angle(np.array([30.0, 5.0, 20.0])) == pytest.approx(-45)
    angles = [80, 55, 41.1, 41, 28, 10.5, 10, -30, -80]
    expected = ["very light", "light", "light", "intermediate", "tan", "tan", "brown", "dark", "dark"]
    assert [band(angle) for angle in angles] == expected


@pytest.mark.parametrize("skin", [(236, 188, 180), (198, 150, 120), (110, 72, 52)])
@pytest.mark.parametrize("corners", [True, False])
def test_the_lesion_and_black_corners_do_not_count(skin: tuple[int, int, int], corners: bool):
    pixels = np.full((160, 200, 3), skin, np.uint8)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 160), np.linspace(-1, 1, 200), indexing="ij")
    pixels[np.hypot(rows, columns) < 0.5] = np.array(skin) // 3
    if corners:
        pixels[np.hypot(rows, columns) > 1.1] = 4
    expected = typology_angle(lab_of(np.array(skin) / 255))
    assert estimate(Image.fromarray(pixels)) == pytest.approx(expected, abs=0.5)


def test_a_black_image_has_no_skin():
    assert estimate(Image.new("RGB", (50, 50))) is None


def test_the_proxy_on_the_generators_known_tones():
    """What the documentation says of it: most images fall into the right band or the next, and the order is kept."""
    known, found = [], []
    for number in range(60):
        lesion = (5, number)
        tone = float(np.random.default_rng([*lesion, 2]).beta(1.3, 3.6))  # as `draw` draws it
        known.append(typology_angle(lab_of(PALE * (1 - tone) + DEEP * tone)))
        found.append(estimate(draw(CLASSES[number % 7], 64, lesion)))
    assert None not in found
    apart = [abs(BANDS.index(band(one)) - BANDS.index(band(other))) for one, other in zip(known, found, strict=True)]
    assert np.mean(np.array(apart) <= 1) >= 0.9
    assert spearmanr(known, found).statistic > 0.4
    assert np.mean(np.abs(np.subtract(known, found))) < 14


def test_the_column_is_of_the_images_that_are_named(tmp_path):
    for name, skin in (("a", (236, 188, 180)), ("b", (110, 72, 52))):
        Image.new("RGB", (64, 64), skin).save(tmp_path / f"{name}.png")
    ids = ["a", "b", "c", "gone"]
    manifest = pd.DataFrame({"image_id": ids, "path": [str(tmp_path / f"{name}.png") for name in ("a", "b", "a", "x")]})
    found = with_tones(manifest, ["a", "b", "gone"])[TONE]
    assert found[0] == band(typology_angle(lab_of(np.array([236, 188, 180]) / 255)))
    assert found[1] == band(typology_angle(lab_of(np.array([110, 72, 52]) / 255)))
    assert found[2:].isna().all()
    with pytest.raises(InputError, match="none of 1 can be opened"):
        with_tones(manifest, ["gone"])
