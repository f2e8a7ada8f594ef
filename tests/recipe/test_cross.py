"""A recipe whose every image is predicted by models that never saw it."""

import json
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.distillation.bank import Bank
from dermdistill.errors import InputError

RECIPE = """
name = "crossed"
[data]
synthetic = { images = 120, size = 48 }
[split]
folds = 3
scheme = "cross"
tested = [0, 2]
final = true
[[teachers]]
name = "teacher"
weights = "none"
model = "mobilenetv3_small_050"
image_size = 32
drop_path_rate = 0.0
train = { epochs = 1, batch_size = 16 }
[soften]
views = 2
[[students]]
name = "taught"
model = "repds"
image_size = 32
train = { epochs = 2, batch_size = 16 }
[[students]]
name = "alone"
model = "repds"
image_size = 32
labels = "none"
loss = { kind = "ce" }
train = { epochs = 1, batch_size = 16 }
[[students]]
name = "alone-again"
model = "repds"
seed = 5
image_size = 32
labels = "none"
loss = { kind = "ce" }
train = { epochs = 1, batch_size = 16 }
[evaluate]
replicates = 100
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cross")
    (folder / "crossed.toml").write_text(RECIPE)
    done = _invoke(folder)
    assert done.exit_code == 0, done.output
    return folder


def _invoke(work, *options, command="run"):
    arguments = [command, str(work / "crossed.toml"), "--out", str(work / "out"), "--cache", str(work / "cache")]
    return CliRunner().invoke(app, [*arguments, *options, "--accelerator", "cpu"], catch_exceptions=False)


def test_each_image_of_the_tested_folds_is_predicted_by_the_model_that_never_saw_it(work):
    folds = json.loads((work / "out" / "splits.json").read_text())["folds"]
    table = pd.read_parquet(work / "out" / "report" / "out-of-fold" / "taught.parquet")
    assert set(table["image_id"]) == {name for name, fold in folds.items() if fold in (0, 2)}
    assert (table["part"] == "fold-" + table["image_id"].map(folds).astype(str)).all()
    for fold in (0, 2):
        alone = pd.read_parquet(work / "out" / f"fold-{fold}" / "students" / "taught" / "predictions.parquet")
        assert set(alone["role"]) == {"test"}
        merged = table.merge(alone, on="image_id", suffixes=("", "_alone"))
        assert len(merged) == len(alone)
        assert (merged["logit_mel"] == merged["logit_mel_alone"]).all()


def test_only_what_ships_is_trained_on_all_images(work):
    final = work / "out" / "final"
    assert sorted(path.name for path in (final / "students").iterdir()) == ["taught"]
    header = json.loads((final / "students" / "taught" / "run.json").read_text())
    assert header["roles"] == {"train": 120, "validation": 0, "test": 0}
    assert header["best_epoch"] == 1  # no validation chooses: the last of two epochs


def test_the_bundle_is_the_final_model_with_thresholds_from_out_of_fold_predictions(work):
    bundle = json.loads((work / "out" / "bundles" / "taught" / "bundle.json").read_text())
    final = json.loads((work / "out" / "final" / "students" / "taught" / "run.json").read_text())
    assert bundle["model"]["weights_sha256"] == final["model_sha256"]
    report = json.loads((work / "out" / "report" / "report.json").read_text())
    assert report["chosen_on"] == "cross-fitted"
    point = bundle["thresholds"]["sensitivity_95"]
    assert (point["chosen_on"], point["n"]) == ("out-of-fold", report["data"]["n"])
    assert point["value"] == pytest.approx(report["models"]["taught"]["thresholds"]["sensitivity_95"]["value"])
    assert set(report["models"]["taught"]["parts"]) == {"fold-0", "fold-2"}
    card = (work / "out" / "bundles" / "taught" / "MODEL_CARD.md").read_text()
    assert "each by a network of this recipe that never saw it" in card
    assert "sensitivity on images out of fold" in card


def test_a_student_with_a_seed_of_its_own_is_another_training_of_the_same_recipe(work):
    runs = [work / "out" / "fold-0" / "students" / name / "run.json" for name in ("alone", "alone-again")]
    first, again = (json.loads(run.read_text()) for run in runs)
    assert (first["seed"], again["seed"]) == (0, 5)
    assert first["model_sha256"] != again["model_sha256"]
    assert first["recipe"] == {**again["recipe"], "name": "alone"}
    report = json.loads((work / "out" / "report" / "report.json").read_text())
    assert report["over_seeds"]["alone"]["members"] == ["alone", "alone-again"]


def test_the_report_says_how_thresholds_were_chosen(work):
    html = (work / "out" / "report" / "report.html").read_text()
    assert "No image was seen in training by the network that judges it" in html
    assert "Chosen on other lesions" in html
    assert "validation images" not in html
    assert "Parts: melanoma AUROC of each training" in html


def test_a_second_run_does_nothing_and_a_finished_part_needs_no_bank(work):
    assert "to do" not in _invoke(work, "--dry-run").output
    shutil.rmtree(work / "out" / "fold-0" / "bank")
    (work / "out" / "fold-0" / "teachers" / "teacher" / "model.safetensors").unlink()
    assert "to do" not in _invoke(work, "--dry-run").output
    before = (work / "out" / "report" / "report.json").stat().st_mtime_ns
    assert _invoke(work).exit_code == 0
    assert not (work / "out" / "fold-0" / "bank").exists()
    assert (work / "out" / "report" / "report.json").stat().st_mtime_ns == before


def test_a_student_can_be_trained_from_a_bank_whose_teacher_is_not_there(work, tmp_path):
    (tmp_path / "crossed.toml").write_text((work / "crossed.toml").read_text())
    shutil.copytree(work / "out", tmp_path / "out")
    (tmp_path / "cache").symlink_to(work / "cache")
    (tmp_path / "out" / "fold-2" / "teachers" / "teacher" / "model.safetensors").unlink()
    student = tmp_path / "out" / "fold-2" / "students" / "taught"
    before = pd.read_parquet(student / "predictions.parquet")
    shutil.rmtree(student)
    done = _invoke(tmp_path)
    assert done.exit_code == 0, done.output
    pd.testing.assert_frame_equal(pd.read_parquet(student / "predictions.parquet"), before)


SECOND = """[[teachers]]
name = "born-again"
weights = "none"
model = "repds"
image_size = 32
drop_rate = 0.3
drop_path_rate = 0.0
train = { epochs = 1, batch_size = 16 }
[soften]
"""


def test_a_student_of_our_own_joins_the_teachers_of_a_bank(work, tmp_path):
    (tmp_path / "crossed.toml").write_text(RECIPE.replace("[soften]\n", SECOND).replace("[0, 2]", "[2]"))
    (tmp_path / "cache").symlink_to(work / "cache")
    for fold in ("fold-2", "final"):
        for kept in ("teachers", "bank"):
            shutil.copytree(work / "out" / fold / kept, tmp_path / "out" / fold / kept, dirs_exist_ok=True)
        (tmp_path / "out" / fold / "teachers" / "teacher" / "model.safetensors").unlink()
    assert "soften (fold-2) │ to do" in " ".join(_invoke(tmp_path, "--dry-run").output.split())
    done = _invoke(tmp_path)
    assert done.exit_code == 0, done.output
    before, after = (Bank.open(folder / "out" / "fold-2" / "bank") for folder in (work, tmp_path))
    assert {teacher.name for teacher in after.teachers} == {"teacher", "born-again"}
    hashes = [teacher.model_sha256 for teacher in before.teachers]
    assert (after.logits(1, hashes) == before.logits(1)).all()
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert report["baseline"] == "ensemble"
    assert report["models"]["ensemble"]["parameters"] == sum(
        report["models"][name]["parameters"] for name in ("teacher", "born-again")
    )
    assert list(report["differences"]) == ["teacher", "born-again", "taught", "alone", "alone-again"]


def test_the_final_student_can_learn_from_the_tested_parts_teachers_while_another_ships(work, tmp_path):
    text = RECIPE[: RECIPE.index('[[students]]\nname = "alone"')] + RECIPE[RECIPE.index("[evaluate]") :]
    (tmp_path / "crossed.toml").write_text(
        text.replace("final = true", 'final = true\nfinal_teachers = "tested"').replace(
            "tested = [0, 2]", "tested = [1, 2]"
        )
    )
    (tmp_path / "cache").symlink_to(work / "cache")
    shutil.copytree(work / "out" / "fold-2", tmp_path / "out" / "fold-2")  # one of the two parts was trained before
    assert "teach teacher (final)" not in " ".join(_invoke(tmp_path, "--dry-run").output.split())
    done = _invoke(tmp_path)
    assert done.exit_code == 0, done.output
    final = tmp_path / "out" / "final"
    assert not (final / "teachers").exists()
    bank = Bank.open(final / "bank")
    runs = [tmp_path / "out" / f"fold-{fold}" / "teachers" / "teacher" / "run.json" for fold in (1, 2)]
    hashes = [json.loads(run.read_text())["model_sha256"] for run in runs]
    assert {teacher.model_sha256 for teacher in bank.teachers} == set(hashes)
    assert len(set(hashes)) == 2
    card = (tmp_path / "out" / "bundles" / "taught" / "MODEL_CARD.md").read_text()
    assert f"Soft labels: the average of `mobilenetv3_small_050` at 32 px (`{hashes[0][:12]}`), " in card
    assert len(bank.images) == 120
    recipe = (tmp_path / "crossed.toml").read_text()
    (tmp_path / "crossed.toml").write_text(recipe + '[export]\nteachers = ["teacher"]\n')
    done = _invoke(tmp_path)
    assert done.exit_code == 0, done.output
    trained = json.loads((final / "teachers" / "teacher" / "run.json").read_text())
    bundle = json.loads((tmp_path / "out" / "bundles" / "teacher" / "bundle.json").read_text())
    assert bundle["model"]["weights_sha256"] == trained["model_sha256"] not in hashes
    assert bundle["thresholds"]["sensitivity_95"]["chosen_on"] == "out-of-fold"
    _check_that_one_more_fold_asks_for_another_final_student(tmp_path)


def _check_that_one_more_fold_asks_for_another_final_student(folder):
    recipe = folder / "crossed.toml"
    recipe.write_text(recipe.read_text().replace("tested = [1, 2]", "tested = [0, 1, 2]"))
    plan = " ".join(_invoke(folder, "--dry-run").output.split())
    assert "distill taught (final) │ differs" in plan
    assert "distill taught (fold-1) │ done" in plan
    with pytest.raises(InputError, match=r"distill taught \(final\): inputs\.teachers was "):
        _invoke(folder)
    assert not (folder / "out" / "fold-0").exists()  # told before anything was trained


def test_commands_for_one_stage_carry_it_out_in_every_part(work):
    done = _invoke(work, command="teach")
    assert done.exit_code == 0, done.output
    for part in ("fold-0", "fold-2", "final"):
        assert f"teach teacher ({part}): done before" in done.output
