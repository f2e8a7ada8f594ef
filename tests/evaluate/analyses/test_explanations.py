"""Maps against a model whose map is known in closed form."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import rankdata

from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.explanations import (
    STEPS,
    Explained,
    correlation,
    deleted,
    explanations,
    gains,
    overlap,
    strongest,
)
from dermdistill.evaluate.comparison import draw_halves, gather
from dermdistill.evaluate.spec import EvaluateSpec
from dermdistill.images.occlusion import GRID, effects, median_colour

SIZE = 32
SIDE = SIZE // GRID
WEIGHTS = np.random.default_rng(0).uniform(-1, 1, (GRID, GRID))


def cells(images: np.ndarray) -> np.ndarray:
    """Mean darkness of each cell, [N, 8, 8], 0 to 1."""
    return 1 - images.reshape(len(images), GRID, SIDE, GRID, SIDE, 3).mean((2, 4, 5)) / 255


def linear(images: np.ndarray) -> np.ndarray:
    """A model whose log-odds are a weighted sum of the cells' darkness."""
    return 1 / (1 + np.exp(-(cells(images) * WEIGHTS).sum((1, 2))))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)


def test_effects_of_a_linear_model_in_closed_form(pixels: np.ndarray):
    """Covering replaces the darkness of whole cells and of the halves next to them by that of the median colour."""
    plain = 1 - median_colour(pixels).mean() / 255
    by_pixel = np.kron(WEIGHTS, np.ones((SIDE, SIDE))) / SIDE**2 * ((1 - pixels.mean(2) / 255) - plain)
    padded = np.pad(by_pixel, SIDE // 2)
    expected = [
        [padded[row * SIDE : (row + 2) * SIDE, column * SIDE : (column + 2) * SIDE].sum() for column in range(GRID)]
        for row in range(GRID)
    ]
    np.testing.assert_allclose(effects(linear, pixels), expected, atol=1e-9)


def test_deletion_and_insertion_of_a_linear_model_in_closed_form(pixels: np.ndarray):
    effect = ((cells(pixels[None])[0] - (1 - median_colour(pixels).mean() / 255)) * WEIGHTS).ravel()
    order, other = strongest(effect.reshape(GRID, GRID)), np.random.default_rng(7).permutation(64)

    def lost(cells_in_order: np.ndarray) -> float:
        steps = np.concatenate([[0], effect[cells_in_order].reshape(STEPS, -1).sum(1)])
        return float(np.cumsum(steps).mean())

    deletion, insertion = gains(linear, pixels, effect.reshape(GRID, GRID), np.random.default_rng(7))
    assert deletion == pytest.approx(lost(order) - lost(other), abs=1e-9)
    assert insertion == pytest.approx(deletion, abs=1e-9)  # of a linear model both are the same sum
    assert deletion > 0


def test_deleting_all_and_inserting_all(pixels: np.ndarray):
    order = np.random.default_rng(0).permutation(64)
    gone, come = deleted(pixels, order), deleted(pixels, order, inserts=True)
    np.testing.assert_array_equal(gone[0], pixels)
    np.testing.assert_array_equal(come[-1], pixels)
    np.testing.assert_array_equal(gone[-1], come[0])
    assert (gone[-1] == median_colour(pixels)).all()
    assert [(frame != gone[0]).any(2).mean() for frame in gone] == pytest.approx(np.arange(17) / 16, abs=0.02)


def test_ranks_are_compared_by_spearman():
    one, other = np.random.default_rng(1).normal(size=(2, GRID, GRID))
    expected = np.corrcoef(rankdata(one), rankdata(other))[0, 1]
    assert correlation(one, other) == pytest.approx(expected, abs=1e-12)
    assert correlation(one, np.exp(3 * one)) == pytest.approx(1)
    assert np.isnan(correlation(one, np.zeros((GRID, GRID))))


def test_overlap_by_hand():
    one = np.zeros(64)
    one[:8] = np.arange(8, 0, -1)
    other = np.roll(one, 4)
    assert overlap(one.reshape(8, 8), one.reshape(8, 8)) == 1
    assert overlap(one.reshape(8, 8), other.reshape(8, 8)) == pytest.approx(4 / 12)


def test_half_of_the_images_are_melanomas():
    table = pd.DataFrame({"melanoma": [1] * 6 + [0] * 30})
    assert table["melanoma"].iloc[draw_halves(table, 10, 0)].sum() == 5
    assert len(set(draw_halves(table, 20, 0))) == 20
    assert table["melanoma"].iloc[draw_halves(table, 20, 0)].sum() == 6
    assert len(draw_halves(table, 100, 0)) == 36


@pytest.fixture
def comparison(manifest: pd.DataFrame, make_model, tmp_path: Path):
    made = gather(manifest, {"a": make_model()}, EvaluateSpec(replicates=100))
    paths = []
    for number, name in enumerate(made.table["path"]):
        paths.append(str(tmp_path / f"{name}.png"))
        if number < 60:
            noise = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
            Image.fromarray(noise).save(paths[-1])
    return replace(made, table=made.table.assign(path=paths).iloc[:60])


def test_models_are_compared_with_the_first(comparison):
    def opposite(images: np.ndarray) -> np.ndarray:
        return 1 - linear(images)

    models = {
        "a": Explained(SIZE, linear, {"nothing": linear, "everything": lambda images: np.full(len(images), 0.5)}),
        "same": Explained(SIZE, linear),
        "opposite": Explained(SIZE, opposite),
    }
    found = explanations(models, comparison, 6)
    assert found["a"].n == 6
    assert found["a"].agreement is None
    assert found["a"].randomised["nothing"].mean == pytest.approx(1)
    assert (found["a"].randomised["everything"].mean, found["a"].randomised["everything"].n) == (None, 0)
    assert found["a"].deletion.mean > 0
    assert found["same"].agreement.rank.mean == pytest.approx(1)
    assert found["same"].agreement.overlap.mean == 1
    assert found["opposite"].agreement.rank.mean == pytest.approx(-1)
    assert found["opposite"].agreement.overlap.mean == 0


def test_no_image_at_all_is_an_error(comparison):
    gone = replace(comparison, table=comparison.table.assign(path="gone.png"))
    with pytest.raises(InputError, match="none can be opened"):
        explanations({"a": Explained(SIZE, linear)}, gone, 4)
