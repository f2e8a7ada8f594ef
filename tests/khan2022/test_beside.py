"""Our student beside the paper's systems: only on images that neither has learned from, and all on the same ones."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.manifest import write_manifest
from dermdistill.data.splits import read_splits, write_splits
from dermdistill.errors import InputError
from dermdistill.khan2022.beside import judge, open_beside, outputs_of
from dermdistill.khan2022.leak import measure_leak
from dermdistill.khan2022.markdown import grids, leak_gaps
from dermdistill.khan2022.recipe import named_rows, settings_of
from dermdistill.khan2022.reproduce import open_study
from dermdistill.khan2022.study import run_row
from dermdistill.khan2022.tables import contents
from dermdistill.predict.predictor import Predictor

RECIPE = """name = "tiny"
image_size = 24
weights = "none"
teacher = "dsnet"
students = ["dsnet"]
teaching = { optimizer = "adam", learning_rate = 1e-3, epochs = 1, batch_size = 8 }
student = { optimizer = "adadelta", learning_rate = 1.0, epochs = 1, batch_size = 8 }
pool = { train_benign = 14, train_malignant = 6, test_benign = 22, test_malignant = 6 }
timing = { images = 8, batch_size = 4, repeats = 1 }
seeds = { ablation = 2 }
"""


@pytest.fixture(scope="module")
def given(trained, small, tmp_path_factory):
    """A study of the images that a bundle was trained on in part, with one row done, and the splits of the bundle."""
    from dermdistill.training.loop import make_fabric

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("beside")
    (folder / "tiny.toml").write_text(RECIPE)
    write_manifest(trained.manifest, folder / "manifest.parquet")
    write_splits(small[1], folder / "splits.json")
    settings = settings_of("full", folder / "tiny.toml")
    study = open_study(settings, folder / "study", folder / "manifest.parquet", folder / "cache", make_fabric("cpu"))
    (row,) = named_rows(["dsnet-alone"], ["2"], settings, "corrected")
    run_row(study, row, 0)
    return SimpleNamespace(folder=folder, study=study, row=row, bundle=str(trained.bundle))


def test_a_student_and_a_row_are_judged_on_the_same_unseen_test_images(given):
    study, pool = given.study, given.study.pool
    (student,) = open_beside([given.bundle], given.folder / "splits.json", 0)
    (found,) = judge(study, [student])["students"]
    assert json.loads((study.folder / "beside.json").read_text()) == {"students": [found]}
    assert list(found["sets"]) == ["corrected"], "no row as published is done"
    mine = found["sets"]["corrected"]
    folds = read_splits(given.folder / "splits.json").folds
    test = study.division(given.row, 0).test
    rows = [row for row in test if folds[pool.ids[row]] == 0]
    labels = pool.labels[rows]
    assert (mine["n"], mine["malignant"]) == (len(rows), labels.sum())
    assert 0 < len(rows) < len(test)
    predictor = Predictor(given.bundle, threads=1)
    chance = [result.p_melanoma for result in predictor.predict([pool.pixels.paths[row] for row in rows])]
    assert mine["student"]["auroc"]["value"] == pytest.approx(roc_auc_score(labels, chance))
    right = (np.array(chance) >= predictor.threshold) == labels
    assert mine["student"]["accuracy_threshold"]["value"] == pytest.approx(right.mean())
    assert mine["student"]["accuracy_balanced"] is None, "its other unseen images are of one class"
    (theirs,) = mine["rows"]
    logits = outputs_of(study, given.row, 0, np.array(rows), "beside")
    area = roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    assert theirs["auroc"]["value"] == pytest.approx(area)
    assert theirs["auroc_gap"]["value"] == pytest.approx(mine["student"]["auroc"]["value"] - area)
    assert theirs["accuracy"]["value"] == pytest.approx((logits.argmax(1) == labels).mean())


def test_the_balanced_point_is_chosen_on_other_images_that_the_student_has_not_seen(given):
    study, pool = given.study, given.study.pool
    (student,) = open_beside([given.bundle], given.folder / "splits.json", 0)
    student = dataclasses.replace(student, unseen=frozenset(pool.ids))  # of its own fold all melanomas are tested
    mine = judge(study, [student])["students"][0]["sets"]["corrected"]["student"]
    test = study.division(given.row, 0).test
    others = [row for row in range(len(pool)) if pool.ids[row] in student.unseen
              and pool.groups[row] not in pool.groups[test]]  # fmt: skip
    assert mine["balanced_chosen_on"] == len(others)
    truth = pool.labels[others]
    chance = np.array([one.p_melanoma for one in Predictor(given.bundle, threads=1).predict(
        [pool.pixels.paths[row] for row in others])])  # fmt: skip

    def balance(cut):
        return (chance[truth == 1] >= cut).mean() + (chance[truth == 0] < cut).mean()

    assert balance(mine["cuts"]["balanced"]) == pytest.approx(max(map(balance, chance)))


def test_kept_outputs_are_used_again_for_the_same_images_alone(given, monkeypatch):
    rows = np.array([3, 5, 8])
    first = outputs_of(given.study, given.row, 0, rows, "again")
    other = outputs_of(given.study, given.row, 0, rows + 1, "again")
    assert not np.array_equal(first, other)
    monkeypatch.setattr("dermdistill.khan2022.beside.trained", None)
    assert np.array_equal(outputs_of(given.study, given.row, 0, rows + 1, "again"), other)
    with pytest.raises(TypeError):
        outputs_of(given.study, given.row, 0, rows, "again")


def test_a_bundle_that_learned_from_the_images_is_not_judged(given, tmp_path):
    splits = given.folder / "splits.json"
    with pytest.raises(InputError, match=r"learned from \d+ images; without fold 3 .* there are 60"):
        open_beside([given.bundle], splits, 3)
    with pytest.raises(InputError, match="--beside-splits and --beside-fold belong together"):
        open_beside([given.bundle], splits, None)
    from dermdistill.data.splits import make_splits

    write_splits(make_splits(given_manifest(given), 3, seed=9), tmp_path / "splits.json")
    with pytest.raises(InputError, match=r"was trained with the splits \w{12}…"):
        open_beside([given.bundle], tmp_path / "splits.json", 0)
    (student,) = open_beside([given.bundle], None, None)
    (found,) = judge(given.study, [student])["students"]
    assert found["sets"] == {}
    assert found["reason"].startswith("no splits are given")
    told = next(grid for grid in grids(contents(given.study)) if grid.title == "Table 2")
    assert any("is counted and timed, not judged" in note for note in told.notes)


def given_manifest(given):
    from dermdistill.data.manifest import read_manifest

    return read_manifest(given.folder / "manifest.parquet")


def test_the_command_times_and_judges_a_bundle_beside_the_rows_that_are_done(given, tmp_path):
    shutil.copytree(given.study.folder, tmp_path / "study")
    done = CliRunner().invoke(app, [
        "reproduce", "khan2022", "--recipe", str(given.folder / "tiny.toml"), "--data",
        str(given.folder / "manifest.parquet"), "--out", str(tmp_path / "study"), "--cache",
        str(given.folder / "cache"), "--accelerator", "cpu", "--clock-only", "--beside", given.bundle,
        "--beside-splits", str(given.folder / "splits.json"), "--beside-fold", "0",
    ], catch_exceptions=False)  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "study" / "report.json").read_text())
    timed = report["timing"]["beside"]
    assert list(timed) == ["tiny, ONNX Runtime", "tiny, PyTorch"]
    assert all(one["image_size"] == 32 and one["forward_seconds"] > 0 for one in timed.values())
    mine = report["beside"]["students"][0]
    text = (tmp_path / "study" / "report.md").read_text()
    cells = next([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
                 if line.startswith("| tiny, ours | 32 |"))  # fmt: skip
    assert cells[3] == f"{mine['parameters']:,}"
    assert cells[7] == f"{timed['tiny, ONNX Runtime']['forward_seconds']:.2f}"
    assert f"on {mine['sets']['corrected']['n']} images" in cells[11]
    assert "## On the images that our student has not seen, corrected" in text
    assert "2 threads" not in text


def test_what_a_random_split_is_worth_is_measured_against_all_benign_images(given, pool, fabric, tmp_path):
    from dermdistill.khan2022.study import Study

    study = Study(given.study.settings, pool, tmp_path, fabric, lambda line: None)
    assert measure_leak(study) is None
    rows = {name: named_rows([name], ["ablation"], study.settings, "corrected")[0]
            for name in ("corrected", "random-split")}  # fmt: skip
    for row in rows.values():
        run_row(study, row, 1)
    (one,) = measure_leak(study)["seeds"]
    assert one["seed"] == 1
    division, row = study.division(rows["random-split"], 1), rows["random-split"]
    labels = pool.labels[division.test]
    logits = outputs_of(study, row, 1, division.test, "test")
    chosen = (labels == 0) | division.seen
    expected = roc_auc_score(labels[chosen], (logits[:, 1] - logits[:, 0])[chosen])
    assert one["random"]["auroc_seen"] == pytest.approx(expected)
    assert one["random"]["melanomas_seen"] == int((division.seen & (labels == 1)).sum()) > 0
    assert one["lesion"]["seen"] == 0
    assert one["lesion"]["melanomas_several"] == int((labels == 1).sum()), "every lesion here has two photographs"
    assert one["lesion"]["auroc_single"] is None
    assert leak_gaps(one)["leak"] is None
    assert leak_gaps(one)["whole"] == pytest.approx(one["random"]["auroc"] - one["lesion"]["auroc"])
    told = next(grid for grid in grids(contents(study)) if grid.title == "What a random split is worth")
    assert [row[0] for row in told.rows] == ["1", "mean ± SD (seeds)"]
    assert told.rows[0][-1] == told.rows[1][-1] == f"{leak_gaps(one)['whole']:+.3f}"
