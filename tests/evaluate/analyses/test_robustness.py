"""The same images in other ways of resampling and compression."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.robustness import REFERENCE, VARIANTS, Answerer, answers, compare, robustness
from dermdistill.evaluate.comparison import gather
from dermdistill.evaluate.spec import EvaluateSpec
from dermdistill.predict.predictor import Predictor


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(threads=1, gate="off")


@pytest.fixture(scope="module")
def answerer(predictor: Predictor) -> Answerer:
    spec = predictor.bundle.spec
    return Answerer(
        spec.input.size, predictor.threshold, lambda images: predictor.probabilities(images)[:, spec.melanoma_index]
    )


def paint(path: Path, seed: int, size: tuple[int, int]) -> str:
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [paint(tmp_path / f"{seed}.png", seed, (200 + 40 * seed, 180)) for seed in range(5)]


def test_the_reference_is_what_predict_says(predictor: Predictor, answerer: Answerer, files: list[str]):
    expected = [result.p_melanoma for result in predictor.predict(files)]
    np.testing.assert_allclose(answers(answerer, files)[REFERENCE], expected, atol=1e-6)


@pytest.mark.parametrize("quality", [95, 75, 50])
def test_jpeg_is_what_predict_says_of_the_compressed_file(
    predictor: Predictor, answerer: Answerer, files: list[str], tmp_path: Path, quality: int
):
    compressed = []
    for index, file in enumerate(files):
        compressed.append(str(tmp_path / f"{index}.jpg"))
        Image.open(file).save(compressed[-1], quality=quality)
    expected = [result.p_melanoma for result in predictor.predict(compressed)]
    found = answers(answerer, files)
    np.testing.assert_allclose(found[f"JPEG {quality}"], expected, atol=1e-6)
    assert not np.allclose(found[f"JPEG {quality}"], found[REFERENCE], atol=1e-6)


def test_images_of_the_networks_size_are_not_resampled(answerer: Answerer, tmp_path: Path):
    size = answerer.size
    found = answers(answerer, [paint(tmp_path / f"{seed}.png", seed, (size, size)) for seed in range(3)])
    for name in ("box", "bicubic", "Lanczos", "nearest"):
        np.testing.assert_array_equal(found[name], found[REFERENCE])


def test_batches_and_unreadable_images(answerer: Answerer, files: list[str], tmp_path: Path):
    (tmp_path / "broken.png").write_text("no image")
    many = [*files * 3, str(tmp_path / "broken.png"), *files]  # more than one batch
    found = answers(answerer, many)
    assert list(found) == list(VARIANTS)
    for values in found.values():
        assert np.isnan(values[15])
        np.testing.assert_allclose(values[:5], values[16:21], atol=1e-6)


def test_flips_and_differences_by_hand():
    y = np.array([1.0, 1, 0, 0])
    p = {REFERENCE: np.array([0.9, 0.6, 0.4, 0.1]), "box": np.array([0.9, 0.3, 0.5, 0.1])}
    found = compare(p, y, 0.5, np.ones((3, 4)))
    assert (found["box"].flips, found["box"].flips_of_melanomas) == (2, 1)
    assert found["box"].largest_change == pytest.approx(0.3)
    assert found["box"].difference is not None
    assert found["box"].difference.value == pytest.approx(0.75 - 1)
    assert found[REFERENCE].difference is None
    assert (found[REFERENCE].flips, found[REFERENCE].largest_change) == (0, 0)


def test_the_section_leaves_out_what_cannot_be_opened(
    manifest: pd.DataFrame, make_model, answerer: Answerer, tmp_path: Path
):
    model = make_model()
    tested = sorted(model.ids("test"))[:30]
    model.table.loc[~model.table["image_id"].isin(tested), "role"] = "train"
    paths = {name: paint(tmp_path / f"{name}.png", index, (150, 120)) for index, name in enumerate(tested[:-2])}
    manifest["path"] = [paths.get(name, "/nowhere.png") for name in manifest["image_id"]]
    comparison = gather(manifest, {"m": model}, EvaluateSpec(replicates=100))
    found = robustness(answerer, comparison)
    assert (found.n, found.unreadable) == (28, 2)
    assert found.threshold == answerer.threshold
    y = comparison.table.set_index("image_id")["melanoma"].loc[tested[:-2]]
    p = answers(answerer, [paths[name] for name in tested[:-2]])
    expected = {name: roc_auc_score(y, values) for name, values in p.items()}
    assert {name: variant.auroc.value for name, variant in found.variants.items()} == pytest.approx(expected)
    assert found.spread == pytest.approx(max(expected.values()) - min(expected.values()))
    manifest["path"] = "/nowhere.png"
    with pytest.raises(InputError, match="none can be opened"):
        robustness(answerer, gather(manifest, {"m": model}, EvaluateSpec(replicates=100)))
