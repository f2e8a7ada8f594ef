import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from dermdistill.classes import BINARY_CLASSES, CLASSES, MELANOMA
from dermdistill.data.manifest import manifest_hash
from dermdistill.distillation.spec import TeacherSpec
from dermdistill.distillation.teach import load_teacher, teach
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import sha256_file
from dermdistill.images.preprocess import load_rgb, resize_source, resize_square
from dermdistill.networks.cost import count
from dermdistill.networks.pretrained import build_teacher
from dermdistill.run import Run
from dermdistill.training.cohort import Cohort
from dermdistill.training.loop import make_fabric
from dermdistill.training.spec import TrainSpec
from dermdistill.training.task import ClassifierTask, class_weights, image_sets, write_predictions

MODEL = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def train_teacher(small, tmp_path_factory):
    """train_teacher(folder name, TeacherSpec options, TrainSpec options): a finished run, each made once."""
    manifest, splits, part, cache = small
    root = tmp_path_factory.mktemp("teachers")

    def train(name, spec=None, seed=0, manifest=manifest, splits=splits, **options):
        torch.set_num_threads(1)
        options = {"epochs": 2, "batch_size": 16, "ema": 0.5} | options
        wanted = TeacherSpec(
            **{"name": "t", "model": MODEL, "weights": "none", "image_size": 32, "drop_path_rate": 0.0} | (spec or {}),
            train=TrainSpec(**options),
        )
        return teach(wanted, Cohort(manifest, splits, part, make_fabric("cpu"), cache), root / name, seed=seed)

    return train


@pytest.fixture
def scores(monkeypatch):
    """scores(values): the validation AUROC of each epoch, as told."""

    def tell(values):
        left = iter(values)
        monkeypatch.setattr(ClassifierTask, "score", lambda *_: {"auroc": next(left), "accuracy": 0.5})

    return tell


def _same(one, other):
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _logits(run, role, classes):
    table = pd.read_parquet(run.predictions).query("role == @role")
    return table["image_id"].tolist(), table[[f"logit_{name}" for name in classes]].to_numpy()


@pytest.mark.parametrize("classes", ["seven", "binary"])
def test_a_teacher_is_trained_and_read_back(small, train_teacher, classes):
    _, _, part, _ = small
    run = train_teacher(classes, {"classes": classes})
    teacher, header = load_teacher(run.folder)
    names = CLASSES if classes == "seven" else BINARY_CLASSES
    assert header.classes == names
    assert [line["epoch"] for line in run.read_metrics()] == [0, 1]
    sets = image_sets(small[0], part, 32, names, small[3])
    for role in ("validation", "test"):
        ids, expected = _logits(run, role, names)
        assert ids == part[role]
        with torch.no_grad():
            found = teacher(sets[role].pixels(np.arange(len(ids))).float() / 255)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
        assert expected.std() > 1e-4
    assert set(pd.read_parquet(run.predictions)["role"]) == {"validation", "test"}


def test_training_images_are_sources_of_views_and_all_others_are_what_predict_sees(small):
    manifest, _, part, cache = small
    sets = image_sets(manifest, part, 20, CLASSES, cache)
    paths = manifest.set_index("sha256")["path"]
    expected_forms = {"train": (40, resize_source), "validation": (20, resize_square), "test": (20, resize_square)}
    for role, (size, resize) in expected_forms.items():
        found = sets[role].pixels(np.arange(3)).numpy()
        expected = [resize(load_rgb(paths[sha256]), size).transpose(2, 0, 1) for sha256 in sets[role].sha256s[:3]]
        np.testing.assert_array_equal(found, expected)
        assert sets[role].size == 20
    plain = image_sets(manifest, part, 40, CLASSES, cache)["test"]  # of the size of the sources, another cache
    assert plain.cache.images.shape == sets["train"].cache.images.shape
    assert not np.array_equal(plain.cache.images, sets["train"].cache.images)


def test_the_header_says_what_was_trained_from_what(small, train_teacher):
    manifest, splits, part, _ = small
    run = train_teacher("seven", {"classes": "seven"})
    header = run.load().plain()
    assert (header["stage"], header["status"], header["name"], header["model"]) == ("teacher", "complete", "t", MODEL)
    given = {"bank": None, "teachers": [], "weights": None}
    assert header["inputs"] == {"manifest": manifest_hash(manifest), "splits": splits.sha256, **given}
    assert header["roles"] == {role: len(ids) for role, ids in part.items()}
    assert header["recipe"]["train"]["epochs"] == 2
    assert header["data_sources"] == ["synthetic"]
    assert header["seed"] == 0
    assert header["model_sha256"] == sha256_file(run.model)
    model = load_teacher(run.folder)[0].model
    assert header["parameters"] == count(model, 32).parameters < sum(p.numel() for p in model.parameters())
    assert header["macs"] == count(model, 32).macs > 0
    aurocs = [line["auroc"] for line in run.read_metrics()]
    assert header["best_auroc"] == max(aurocs) == aurocs[header["best_epoch"]]
    assert header["training_seconds"] > 0
    assert header["versions"]["torch"] == torch.__version__.split("+")[0]


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(train_teacher):
    first = train_teacher("seven", {"classes": "seven"})
    assert _same(first.model, train_teacher("again", {"classes": "seven"}).model)
    assert not _same(first.model, train_teacher("other", {"classes": "seven"}, seed=1).model)


def test_a_finished_teacher_is_left_alone_and_another_refused(train_teacher, monkeypatch):
    run = train_teacher("seven", {"classes": "seven"})
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    train_teacher("seven", {"classes": "seven"})
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
    with pytest.raises(InputError, match=r"holds another run: recipe.train.learning_rate was 0.0005 and is 1.0 now"):
        train_teacher("seven", {"classes": "seven"}, learning_rate=1.0)


def test_balance(small, train_teacher):
    manifest, _, part, cache = small
    images = image_sets(manifest, part, 32, BINARY_CLASSES, cache)["train"]
    options = {"spec": {"classes": "binary"}, "epochs": 1}
    plain, sampled, weighted = (train_teacher(f"b-{how}", balance=how, **options) for how in _BALANCES)
    loss = {run.folder.name: run.read_metrics()[0]["loss"] for run in (plain, sampled, weighted)}
    assert len(set(loss.values())) == 3
    task = ClassifierTask(images, images, BINARY_CLASSES, (0.5,) * 3, (0.5,) * 3, None, 0, None, None)
    share = images.labels.mean()
    assert sorted(task.order(0, 0)) == list(range(len(images)))
    task.balance = "sampler"
    drawn = np.mean([images.labels[task.order(0, epoch)].mean() for epoch in range(400)])
    assert drawn == pytest.approx(share**0.5 / (share**0.5 + (1 - share) ** 0.5), abs=0.01)
    weights = class_weights(images.labels, 2)
    assert weights[images.labels].mean() == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(((1 - share) / share) ** 0.5)


_BALANCES = ("none", "sampler", "weights")


def test_patience_ends_early_and_keeps_the_best_epoch(train_teacher, scores):
    same = {"spec": {"classes": "binary"}, "schedule": "constant"}
    scores([0.6, 0.9, 0.8, 0.9, 0.95])
    tired = train_teacher("tired", patience=2, epochs=5, **same)
    assert [line["auroc"] for line in tired.read_metrics()] == [0.6, 0.9, 0.8, 0.9]
    assert (tired.trained().best_epoch, tired.trained().best_auroc) == (1, 0.9)
    scores([0.6, 0.9])
    assert _same(tired.model, train_teacher("two", epochs=2, **same).model)
    scores([0.6, 0.9, 0.8, 0.9, 0.95])
    patient = train_teacher("patient", patience=3, epochs=5, **same)
    assert patient.trained().best_epoch == 4


def test_without_melanomas_to_validate_on_the_last_epoch_is_kept(train_teacher, scores):
    scores([None, None])
    run = train_teacher("blind", {"classes": "binary"})
    assert (run.trained().best_epoch, run.trained().best_auroc) == (1, None)
    last, kept = load_file(run.checkpoint), load_file(run.model)
    assert all(torch.equal(tensor, last[f"average.{name}"]) for name, tensor in kept.items())
    assert not torch.equal(kept["classifier.weight"], last["model.classifier.weight"]), "nothing was averaged"


def test_weights_from_a_file_are_part_of_what_a_run_is(train_teacher, tmp_path):
    """The path alone would let other weights under the same name pass as the same run."""
    file = tmp_path / "weights.safetensors"
    spec = {"classes": "binary", "weights": "file", "weights_file": str(file)}
    save_file(build_teacher(MODEL, 2, weights="none").state_dict(), file)
    run = train_teacher("from-file", spec, epochs=1)
    assert run.trained().inputs.weights == sha256_file(file)
    save_file(build_teacher(MODEL, 2, weights="none").state_dict(), file)
    with pytest.raises(InputError, match=r"holds another run: inputs\.weights was \w{12} and is \w{12} now"):
        train_teacher("from-file", spec, epochs=1)


def test_splits_of_another_manifest_are_refused(small, train_teacher):
    manifest, splits, _, _ = small
    changed = manifest.copy()
    changed.loc[0, ["diagnosis", "melanoma"]] = (MELANOMA, 1) if manifest["melanoma"][0] == 0 else ("nv", 0)
    with pytest.raises(IntegrityError, match=f"hash {manifest_hash(manifest)[:12]}, this one has") as error:
        train_teacher("mismatch", manifest=changed)
    assert manifest_hash(changed)[:12] in str(error.value)
    with pytest.raises(IntegrityError, match="use the manifest that was split"):
        train_teacher("mismatch", splits=dataclasses.replace(splits, manifest_sha256="0" * 64))


def test_seven_classes_need_known_diagnoses(small, train_teacher):
    manifest, splits, part, _ = small
    unknown = manifest.copy()
    unknown.loc[unknown["image_id"] == part["train"][0], ["diagnosis", "melanoma"]] = (None, 0)
    splits = dataclasses.replace(splits, manifest_sha256=manifest_hash(unknown))
    with pytest.raises(InputError, match=rf"the first is {part['train'][0]}; train with classes = 'binary'"):
        train_teacher("unknown", manifest=unknown, splits=splits)


def test_only_a_finished_teacher_is_loaded(train_teacher, tmp_path):
    header = train_teacher("seven", {"classes": "seven"}).header_path.read_text()
    for old, new, told in (
        ('"complete"', '"running"', "stage teacher, status running"),
        ('"stage": "teacher"', '"stage": "student"', "stage student, status complete"),
        ('"vasc"', '"wart"', "has classes"),
    ):
        assert old in header
        Run(tmp_path).header_path.write_text(header.replace(old, new))
        with pytest.raises(InputError, match=told):
            load_teacher(tmp_path)


def test_predictions_keep_the_order_of_the_images(small, tmp_path):
    images = image_sets(small[0], small[2], 32, BINARY_CLASSES, small[3])["test"]
    logits = np.arange(2 * len(images), dtype=np.float32).reshape(-1, 2)
    write_predictions(tmp_path / "predictions.parquet", {"test": (images, logits)}, BINARY_CLASSES)
    assert _logits(Run(tmp_path), "test", BINARY_CLASSES)[0] == small[2]["test"]
    np.testing.assert_array_equal(_logits(Run(tmp_path), "test", BINARY_CLASSES)[1], logits)
