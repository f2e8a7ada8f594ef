"""Models on spoiled, turned and mirrored images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.corruptions import SYMMETRIES, answers, corrupted, judge, symmetric, variants
from dermdistill.evaluate.analyses.robustness import Answerer
from dermdistill.evaluate.comparison import Comparison, draw_halves, gather
from dermdistill.evaluate.spec import EvaluateSpec
from dermdistill.images.corruptions import CORRUPTIONS, SEVERITIES

ROWS = SYMMETRIES + len(CORRUPTIONS) * len(SEVERITIES)
SIZE = 24


def darkness(images: np.ndarray) -> np.ndarray:
    """A model that no turn and no mirror changes."""
    return 1 - images.astype(float).mean((1, 2, 3)) / 255


def left_half(images: np.ndarray) -> np.ndarray:
    return 1 - images[:, :, : SIZE // 2].astype(float).mean((1, 2, 3)) / 255


@pytest.fixture
def comparison(manifest: pd.DataFrame, make_model, tmp_path: Path) -> Comparison:
    made = gather(manifest, {"a": make_model()}, EvaluateSpec(replicates=100))
    rows = np.concatenate([np.flatnonzero(made.table["melanoma"] == label)[:8] for label in (0, 1)])
    table = made.table.iloc[rows].reset_index(drop=True)
    for number, path in enumerate(table["path"]):
        rng = np.random.default_rng(number)
        small = rng.integers(40, 200, (6, 8, 3)) - 25 * int(table["melanoma"][number])
        Image.fromarray(small.astype(np.uint8)).resize((80, 60), Image.Resampling.BICUBIC).save(
            tmp_path / f"{path}.png"
        )
    table["path"] = [str(tmp_path / f"{path}.png") for path in table["path"]]
    return replace(made, table=table, weights=made.weights[:, rows])


def test_figures_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0], 30)
    p = rng.uniform(0, 1, (ROWS, 60)) * 0.6 + 0.3 * y
    found, lost = judge(p, y, 0.5, np.ones((3, 60), np.float32))
    assert found.clean.value == pytest.approx(roc_auc_score(y, p[0]), abs=1e-12)
    areas = np.array([roc_auc_score(y, row) for row in p[SYMMETRIES:]]).reshape(len(CORRUPTIONS), len(SEVERITIES))
    for name, expected, rows in zip(CORRUPTIONS, areas, p[SYMMETRIES:].reshape(*areas.shape, 60), strict=True):
        for level, area, row in zip(found.corruptions[name], expected, rows, strict=True):
            assert level.auroc.value == pytest.approx(area, abs=1e-12)
            assert level.difference.value == pytest.approx(area - found.clean.value, abs=1e-12)
            flipped = (row >= 0.5) != (p[0] >= 0.5)
            assert (level.flips, level.flips_of_melanomas) == (flipped.sum(), flipped[30:].sum())
            assert level.mean_change == pytest.approx(np.abs(row - p[0]).mean())
        assert lost[name][0] == pytest.approx(found.clean.value - expected.mean(), abs=1e-12)
    assert found.mean.value == pytest.approx(areas.mean(), abs=1e-12)


def test_symmetries_worked_by_hand():
    p = np.full((8, 4), 0.2)
    p[3, 1], p[:, 2], p[5, 3] = 0.9, 0.8, 0.4
    found = symmetric(p, np.array([0.0, 1, 1, 0]), 0.5, np.ones((2, 4), np.float32))
    assert (found.disagree, found.disagree_of_melanomas) == (1, 1)
    assert found.mean_range == pytest.approx((0.7 + 0.2) / 4)
    assert found.largest_range == pytest.approx(0.7)
    assert found.auroc.value == pytest.approx(0.75)
    assert found.averaged.value == pytest.approx(0.25)


def test_the_eight_variants_are_all_turns_and_mirrors(comparison: Comparison):
    found = variants([SIZE], comparison.table["path"][0], "a")
    assert found is not None
    images = found[SIZE]
    assert images.shape == (ROWS, SIZE, SIZE, 3)
    plain = images[0]
    expected = {side.tobytes() for turned in (plain, plain.transpose(1, 0, 2)) for side in (
        turned, turned[::-1], turned[:, ::-1], turned[::-1, ::-1],
    )}  # fmt: skip
    assert {image.tobytes() for image in images[:8]} == expected
    assert len(expected) == 8


def test_two_models_side_by_side(comparison: Comparison):
    answerers = {"whole": Answerer(SIZE, 0.5, darkness), "left": Answerer(SIZE, 0.5, left_half)}
    found = corrupted(answerers, comparison)
    assert found["whole"].symmetries.mean_range == pytest.approx(0, abs=1e-9)
    assert found["left"].symmetries.mean_range > 0.005
    assert (found["whole"].n, found["whole"].positives, found["whole"].unreadable) == (16, 8, 0)
    # of this model light is known to matter, and blur is not
    assert found["whole"].corruptions["brightness"][4].mean_change > found["whole"].corruptions["blur"][0].mean_change
    assert (found["whole"].against, found["whole"].lost) == (None, {})
    assert found["left"].against == "whole"
    for name in CORRUPTIONS:
        cost = {
            model: found[model].clean.value - np.mean([level.auroc.value for level in found[model].corruptions[name]])
            for model in found
        }
        assert found["left"].lost[name].value == pytest.approx(cost["left"] - cost["whole"], abs=1e-9)


def test_some_images_are_drawn_half_of_them_melanomas(comparison: Comparison):
    answerers = {"whole": Answerer(SIZE, 0.5, darkness), "left": Answerer(SIZE, 0.5, left_half)}
    table = comparison.table
    few = replace(comparison, table=table.assign(melanoma=[0] * 10 + [1] * 6))
    found = corrupted(answerers, few, 10)
    assert [(one.n, one.positives, one.drawn_of) for one in found.values()] == [(10, 5, 16)] * 2
    rows = np.sort(draw_halves(few.table, 10, few.spec.seed))
    own = replace(few, table=few.table.iloc[rows], weights=few.weights[:, rows])
    expected = corrupted(answerers, own)
    assert {name: one.model_copy(update={"drawn_of": None}) for name, one in found.items()} == expected
    assert corrupted(answerers, few, 16) == corrupted(answerers, few)


def test_models_of_several_sizes_answer_as_each_alone(comparison: Comparison):
    small, large = Answerer(SIZE, 0.5, darkness), Answerer(40, 0.5, darkness)
    paths, ids = (list(comparison.table[key])[:3] for key in ("path", "image_id"))
    together = answers([small, large, small], paths, ids)
    for one, p in zip((small, large, small), together, strict=True):
        np.testing.assert_array_equal(p, answers([one], paths, ids)[0])


def test_images_that_cannot_be_opened_are_left_out(comparison: Comparison):
    Path(comparison.table["path"][0]).write_bytes(b"nothing")
    found = corrupted({"a": Answerer(SIZE, 0.5, darkness)}, comparison)["a"]
    assert (found.n, found.unreadable) == (15, 1)


def test_no_image_at_all_is_an_error(comparison: Comparison):
    gone = replace(comparison, table=comparison.table.assign(path="gone.png"))
    with pytest.raises(InputError, match=r"none can be opened; the first is gone\.png"):
        corrupted({"a": Answerer(SIZE, 0.5, darkness)}, gone)
