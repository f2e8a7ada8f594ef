"""Synthetic images: the same again from the same seed, labelled as synthetic, learnable but not trivial."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.classes import CLASSES
from dermdistill.cli import app
from dermdistill.data.manifest import read_manifest
from dermdistill.data.synthetic.generate import draw, generate
from dermdistill.data.synthetic.phantoms import INKS, LOOKS, PAINTERS, paint_lesion
from dermdistill.errors import InputError

SIZE = 48


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return generate(tmp_path_factory.mktemp("synthetic"), n=700, size=SIZE, seed=3)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    first, again, other = (generate(tmp_path / str(k), n=20, size=40, seed=k // 2) for k in range(3))
    assert list(first["sha256"]) == list(again["sha256"])
    assert not set(first["sha256"]) & set(other["sha256"])


def test_a_larger_set_begins_with_the_smaller_one(tmp_path: Path):
    small, large = generate(tmp_path / "a", n=8, size=40), generate(tmp_path / "b", n=60, size=40)
    pd.testing.assert_frame_equal(small.drop(columns="path"), large.head(8).drop(columns="path"))


def test_the_manifest_says_what_was_drawn(images: pd.DataFrame):
    assert len(images) == 700
    assert set(images["diagnosis"]) == set(CLASSES)
    assert 0.15 <= images["melanoma"].mean() <= 0.25
    assert images["diagnosis"].value_counts().idxmax() == "nv"
    per_lesion = images.groupby("lesion_id").size()
    assert per_lesion.max() == 3
    assert 0.1 < (per_lesion > 1).mean() < 0.25
    assert (images.groupby("lesion_id")["diagnosis"].nunique() == 1).all()
    assert (images.groupby("lesion_id")["patient_id"].nunique() == 1).all()
    assert images.groupby("patient_id")["lesion_id"].nunique().max() == 3
    assert images["age"].between(5, 85).mean() > 0.9
    assert set(images["sex"].dropna()) == {"male", "female"}
    assert images["site"].notna().all()


def test_everything_says_synthetic(images: pd.DataFrame):
    folder = Path(images["path"].iloc[0]).parents[1]
    assert "SYNTHETIC" in (folder / "README.md").read_text(encoding="utf-8")
    assert set(images["source"]) == {"synthetic"}
    assert set(images["licence"]) == {"CC0-1.0"}
    with Image.open(images["path"].iloc[0]) as image:
        assert image.size == (SIZE, SIZE)
        assert b"synthetic" in image.info["comment"]


def test_another_shot_shows_the_same_lesion_in_another_way():
    axis = np.linspace(-1, 1, SIZE)
    distance = np.hypot(axis, axis[:, None])

    def darkness(lesion: int, shot: int) -> float:
        brightness = np.asarray(draw("nv", SIZE, (0, lesion), shot), float).mean(2)
        return float(np.log(np.median(brightness[distance > 0.6]) / brightness[distance < 0.3].mean()))

    first, second = (np.asarray(draw("nv", SIZE, (0, 5), shot), float) for shot in (0, 1))
    assert np.abs(first - second).mean() > 2
    # Turned, moved and lit otherwise, but a lesion that is dark in one shot is so in the other.
    shots = np.array([[darkness(lesion, shot) for lesion in range(40)] for shot in (0, 1)])
    assert np.corrcoef(shots)[0, 1] > 0.6


def test_every_class_has_a_painter_that_leaves_the_corners_bare():
    assert set(LOOKS) == set(CLASSES)
    assert {look.painter for look in LOOKS.values()} == set(PAINTERS)
    for name in CLASSES:
        layer = paint_lesion(name, SIZE, np.random.default_rng(0))
        assert layer.shape == (SIZE, SIZE, 3)
        assert np.isfinite(layer).all()
        assert layer.min() >= min(map(min, INKS.values())) * 1.5
        assert np.abs(layer[0, 0]).max() < 0.02
        assert np.abs(layer).max() > 0.05


def statistics(path: str) -> list[float]:
    """Colour and shape of an image by hand: what a reader of the ABCD rule would look at first."""
    pixels = np.asarray(Image.open(path), np.float32) / 255
    skin = np.median(pixels, axis=(0, 1))
    contrast = np.log(pixels + 0.02) - np.log(skin + 0.02)
    axis = np.linspace(-1, 1, len(pixels))
    inside = (np.hypot(axis, axis[:, None]) < 0.75)[..., None]
    weight = np.clip(-contrast.mean(2, keepdims=True) - 0.15, 0, None) * inside
    total = weight.sum() + 1e-3
    mean = (contrast * weight).sum((0, 1)) / total
    spread = np.sqrt((((contrast - mean) ** 2) * weight).sum((0, 1)) / total)
    turned = [np.abs(weight - np.rot90(weight, k)).sum() / total for k in (1, 2)]
    blue = ((pixels[..., 2] - pixels[..., 0]) * inside[..., 0] > -0.02).mean()
    edges = np.abs(np.diff(weight[..., 0], axis=0)).sum() / total
    return [*mean, *spread, *turned, float(blue), float(edges), float(total) / len(pixels) ** 2]


def melanoma_auroc(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    scores = cross_val_predict(model, features, labels, groups=groups, cv=GroupKFold(5), method="predict_proba")
    return float(roc_auc_score(labels, scores[:, 1]))


def test_melanoma_can_be_learnt_from_its_signs_but_not_perfectly(images: pd.DataFrame):
    features = np.array([statistics(path) for path in images["path"]])
    labels, groups = images["melanoma"].to_numpy(), images["patient_id"].to_numpy()
    auroc = melanoma_auroc(features, labels, groups)
    assert 0.75 < auroc < 0.97
    shuffled = np.random.default_rng(0).permutation(labels)
    assert abs(melanoma_auroc(features, shuffled, groups) - 0.5) < 0.1


def test_the_camera_does_not_give_the_class_away(images: pd.DataFrame):
    """The outermost pixels, where no lesion is, tell nothing."""
    rims = []
    for path in images["path"]:
        pixels = np.asarray(Image.open(path), np.float32)
        rim = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3)])
        rims.append([*rim.mean(0), *rim.std(0)])
    auroc = melanoma_auroc(np.array(rims), images["melanoma"].to_numpy(), images["patient_id"].to_numpy())
    assert auroc < 0.65


def test_suspicion_rises_from_nevus_to_melanoma():
    means = [a / (a + b) for a, b in (LOOKS[name].suspicion for name in ("df", "nv", "bkl", "mel"))]
    assert all(low < high for low, high in pairwise(means))


@pytest.mark.parametrize("wrong", [{"n": 0}, {"size": 31}, {"size": 2000}, {"seed": -1}])
def test_impossible_arguments_are_refused(tmp_path: Path, wrong: dict[str, int]):
    with pytest.raises(InputError, match="need n >= 1"):
        generate(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="holds something other than a synthetic set"):
        generate(tmp_path, n=1, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_second_set_replaces_the_first(tmp_path: Path):
    generate(tmp_path / "set", n=9, size=32)
    generate(tmp_path / "set", n=4, size=32, seed=1)
    assert len(list((tmp_path / "set" / "images").iterdir())) == 4
    assert len(read_manifest(tmp_path / "set" / "manifest.parquet")) == 4


def test_the_command(tmp_path: Path):
    out = tmp_path / "made"
    done = CliRunner().invoke(app, ["data", "synth", str(out), "-n", "6", "--size", "40", "--seed", "2"])
    assert done.exit_code == 0, done.output
    assert "6 synthetic images" in done.output
    assert list(read_manifest(out / "manifest.parquet")["width"].unique()) == [40]
