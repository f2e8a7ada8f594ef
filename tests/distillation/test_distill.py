import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.data.manifest import manifest_hash
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.distill import Lessons, distill, load_student
from dermdistill.distillation.labels import BankLabels, OnlineLabels
from dermdistill.distillation.soften import write_teacher
from dermdistill.distillation.spec import SoftenSpec, StudentSpec, TeacherSpec
from dermdistill.distillation.teach import load_teacher, teach
from dermdistill.errors import InputError, IntegrityError
from dermdistill.images.view_spec import ViewSpec
from dermdistill.networks import registry
from dermdistill.networks.cost import count
from dermdistill.training.cohort import Cohort
from dermdistill.training.loop import make_fabric
from dermdistill.training.spec import LossSpec, TrainSpec
from dermdistill.training.task import ClassifierTask, image_sets

VIEWS = SoftenSpec(views=3, seed=5)
CPU = torch.device("cpu")
ALONE = {"labels": "none", "loss": LossSpec(kind="ce")}


@pytest.fixture(scope="module")
def teachers(small, tmp_path_factory):
    """Folders of two finished teachers, at 32 and 48 px, with the classes that the name tells."""
    manifest, splits, part, cache = small
    folders = {}
    torch.set_num_threads(1)
    for name, size, classes in (("t32", 32, "seven"), ("t48", 48, "seven"), ("binary", 32, "binary")):
        spec = TeacherSpec(
            name=name, model="mobilenetv3_small_050", weights="none", image_size=size, classes=classes,
            drop_path_rate=0.0, train=TrainSpec(epochs=1, batch_size=16, ema=0.0, learning_rate=5e-3),
        )  # fmt: skip
        folders[name] = tmp_path_factory.mktemp(name)
        teach(spec, Cohort(manifest, splits, part, make_fabric("cpu"), cache), folders[name])
    return folders


@pytest.fixture(scope="module")
def make_bank(small, teachers, tmp_path_factory):
    """make_bank(teachers, image ids, identity's keys): a bank of the training images, or of those that are given."""
    manifest, _, part, cache = small

    def make(names=("t32", "t48"), ids=None, views=VIEWS.views, **keys):
        folder, hashes = tmp_path_factory.mktemp("banks") / "bank", []
        for name in names:
            teacher, header = load_teacher(teachers[name])
            classes = header.classes
            identity = BankIdentity(
                **{"manifest_sha256": manifest_hash(manifest), "seed": VIEWS.seed, "spec": VIEWS.spec} | keys,
                classes=classes,
            )
            images = image_sets(manifest, {**part, "train": ids or part["train"]}, header.image_size, classes, cache)
            write_teacher(folder, identity, teacher, header.model_dump(), images["train"], views, device=CPU)
            hashes.append(header.model_sha256)
        return Bank.open(folder, teachers=hashes)

    return make


@pytest.fixture(scope="module")
def bank(make_bank):
    return make_bank()


@pytest.fixture(scope="module")
def train_student(small, teachers, bank, tmp_path_factory):
    """train_student(folder name, StudentSpec options, distill's options, TrainSpec options): a finished run."""
    manifest, splits, part, cache = small
    root = tmp_path_factory.mktemp("students")

    def train(name, spec=None, given=None, seed=0, **options):
        torch.set_num_threads(1)
        options = {"epochs": 3, "batch_size": 8, "ema": 0.5, "learning_rate": 5e-3} | options
        wanted = StudentSpec(**{"name": "s", "model": "repds", "image_size": 32} | (spec or {}), train=options)
        lessons = {"bank": bank, "teachers": [teachers["t32"], teachers["t48"]], "views": VIEWS} | (given or {})
        cohort = Cohort(manifest, lessons.pop("splits", splits), part, make_fabric("cpu"), cache)
        return distill(wanted, cohort, root / name, Lessons(**lessons), seed=seed)

    return train


def _difference(one, other):
    a, b = load_file(one.model), load_file(other.model)
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def _losses(run):
    return [line["loss"] for line in run.read_metrics()]


def test_a_bank_that_does_not_fit_is_refused_saying_which(small, train_student, make_bank):
    part = small[2]
    others = make_bank(manifest_sha256="f" * 64, ids=part["validation"], spec=ViewSpec(rotation=7))
    with pytest.raises(InputError) as error:
        train_student("misfit", given={"bank": others})
    count = len(part["train"])
    for told in (
        f"the bank {others.folder} does not fit: manifest_sha256 is ffffffffffff there, ",
        f"{manifest_hash(small[0])[:12]} is asked for",
        "spec.rotation is 7.0 there, 180.0 is asked for",
        "choose another folder with --out",
        f"it lacks {count} of the {count} training images",
    ):
        assert told in str(error.value)
    with pytest.raises(InputError, match=r"'mel'\) do not fit a student with \('akiec'"):
        train_student("binary-bank", given={"bank": make_bank(names=("binary",))})
    for views, told in (
        (SoftenSpec(views=3, seed=6), "seed is 5 there, 6 is asked for"),
        (SoftenSpec(views=4, seed=5), "holds 3 views of the teacher 't32', 4 are asked for"),
    ):
        with pytest.raises(InputError, match=told):
            train_student(f"views-{views.views}", given={"views": views})


def test_what_is_missing_is_told(train_student):
    with pytest.raises(InputError, match=r"labels = 'bank' and no bank was given; run `dermdistill soften`"):
        train_student("no-bank", given={"bank": None})
    with pytest.raises(InputError, match="labels = 'online' and no teacher was given"):
        train_student("no-teacher", {"labels": "online"}, {"teachers": []})


def test_splits_of_another_manifest_are_refused(small, train_student):
    other = dataclasses.replace(small[1], manifest_sha256="0" * 64)
    with pytest.raises(IntegrityError, match="the splits belong to a manifest with the hash 0000"):
        train_student("other-splits", given={"splits": other})


def test_a_student_over_the_budget_is_refused_unless_allowed(train_student):
    large = {"model": "timm:mobilenetv3_small_050", "weights": "none", **ALONE}
    with pytest.raises(InputError, match=r"parameters at inference, the budget is 270,000"):
        train_student("large", large, epochs=1)
    run = train_student("large", large | {"allow_over_budget": True}, epochs=1)
    assert run.trained().parameters > registry.BUDGET


def test_bank_and_teacher_in_the_loop_train_the_same_student(small, train_student, teachers, bank, monkeypatch):
    """The targets agree but for float16; with those bits alike too, so do the weights, bit for bit."""
    shown = {"bank": [], "online": []}

    def watch(kind, which):
        real = which.__call__

        def watched(self, rows, view, device):
            shown[kind].append((view, rows.tolist(), real(self, rows, view, device)))
            return shown["bank"][len(shown[kind]) - 1][2]

        monkeypatch.setattr(which, "__call__", watched)

    watch("bank", BankLabels)
    watch("online", OnlineLabels)
    runs = {kind: train_student(f"same-{kind}", {"labels": kind}) for kind in shown}
    assert [view for view, _, _ in shown["bank"]] == [0, 0, 1, 1, 2, 2]
    for stored, online in zip(shown["bank"], shown["online"], strict=True):
        assert stored[:2] == online[:2]
        torch.testing.assert_close(stored[2].exp(), online[2].exp(), rtol=0, atol=1e-3)
    assert _losses(runs["bank"]) == _losses(runs["online"])
    assert _difference(runs["bank"], runs["online"]) == 0
    assert _difference(runs["bank"], train_student("another-seed", seed=1)) > 1e-2
    hashes = [load_teacher(teachers[name])[1].model_sha256 for name in ("t32", "t48")]
    assert runs["online"].trained().inputs.plain() | {"bank": bank.sha256} == runs["bank"].trained().inputs.plain()
    assert runs["online"].trained().inputs.teachers == tuple(hashes)


@pytest.mark.parametrize("labels", ["bank", "online"])
def test_a_student_cut_off_in_mid_epoch_ends_with_the_same_weights(train_student, monkeypatch, labels):
    """With all of the real task in it: views, their symmetries and blends, soft labels, drawn classes, dropout."""
    options = {"checkpoint_seconds": 0, "balance": "sampler", "mixup": 1.0}
    spec = {"labels": labels, "symmetries": True}
    whole = train_student(f"whole-{labels}", spec, **options)
    real, made = ClassifierTask.batch, []

    def cut(self, *arguments):
        made.append(1)
        if len(made) == 4:  # of six, the second of an epoch
            raise RuntimeError("cut")
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTask, "batch", cut)
        with pytest.raises(RuntimeError, match="cut"):
            train_student(f"cut-{labels}", spec, **options)
    resumed = train_student(f"cut-{labels}", spec, **options)
    assert len(made) == 4
    assert _losses(whole) == _losses(resumed)
    assert _difference(whole, resumed) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(whole.predictions), pd.read_parquet(resumed.predictions))


def test_with_and_without_soft_labels_the_same_views_are_shown(train_student, monkeypatch):
    real, shown = ClassifierTask.batch, []
    monkeypatch.setattr(
        ClassifierTask, "batch", lambda self, *a: (shown.append(real(self, *a).images), real(self, *a))[1]
    )
    images = []
    for name, spec in {"bank": {"labels": "bank"}, "none": ALONE, "online": {"labels": "online"}}.items():
        shown.clear()
        train_student(f"views-{name}", spec)
        images.append(torch.stack(shown))
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    assert not torch.equal(images[0][0], images[0][-1])


def test_online_goes_on_to_new_views_where_the_bank_starts_again(train_student, monkeypatch):
    real, views = ClassifierTask.view, []
    monkeypatch.setattr(ClassifierTask, "view", lambda self, e: (views.append(real(self, e)), views[-1])[1])
    wanted = {"bank": [0, 1, 2, 0, 1], "online": [0, 1, 2, 3, 4]}
    for labels, expected in wanted.items():
        views.clear()
        train_student(f"long-{labels}", {"labels": labels}, epochs=5)
        assert list(dict.fromkeys(zip(np.repeat(range(5), len(views) // 5).tolist(), views, strict=True))) == list(
            enumerate(expected)
        )


def test_symmetries_show_the_bank_with_new_orientations_and_the_same_targets(train_student, monkeypatch):
    real, shown = ClassifierTask.batch, []
    monkeypatch.setattr(ClassifierTask, "batch", lambda self, *a: (shown.append(real(self, *a)), shown[-1])[1])
    runs, batches = {}, {}
    for name, spec in {"plain": {}, "turned": {"symmetries": True}}.items():
        shown.clear()
        runs[name], batches[name] = train_student(f"symmetries-{name}", spec, epochs=4), list(shown)
    steps = len(batches["plain"]) // 4
    for plain, turned in zip(batches["plain"], batches["turned"], strict=True):
        assert torch.equal(plain.targets, turned.targets)
        assert not torch.allclose(plain.images, turned.images)
    first, again = batches["turned"][:steps], batches["turned"][3 * steps :]  # epoch 3 shows view 0 once more
    assert sorted(float(b.images.std()) for b in first) != sorted(float(b.images.std()) for b in again)
    assert runs["turned"].trained().recipe["symmetries"]
    assert "symmetries" not in runs["plain"].trained().recipe, "older runs would be of another recipe"


def test_balance_changes_the_loss_and_the_student(train_student):
    plain, weighted, sampled = (
        train_student(f"balance-{how}", ALONE, epochs=1, balance=how) for how in ("none", "weights", "sampler")
    )
    assert len({_losses(run)[0] for run in (plain, weighted, sampled)}) == 3
    assert _difference(plain, weighted) > 1e-4
    distilled = [train_student(f"soft-{how}", epochs=1, balance=how) for how in ("none", "weights")]
    assert _losses(distilled[0]) != _losses(distilled[1])


@pytest.mark.parametrize("classes", ["seven", "binary"])
def test_a_student_is_read_back_and_its_predictions_come_out_again(small, train_student, classes):
    manifest, splits, part, cache = small
    names = CLASSES if classes == "seven" else BINARY_CLASSES
    run = train_student(f"back-{classes}", {"classes": classes}, epochs=1)
    student, header = load_student(run.folder)
    assert header.classes == names
    assert header.inputs.manifest == manifest_hash(manifest)
    assert header.inputs.splits == splits.sha256
    assert header.parameters == count(student, 32).parameters <= registry.BUDGET
    assert not student.training
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (header.mean, header.std))
    table = pd.read_parquet(run.predictions)
    images = image_sets(manifest, part, 32, names, cache)
    assert table["image_id"].tolist() == [*part["validation"], *part["test"]]
    pixels = torch.cat([images[role].pixels(np.arange(len(images[role]))) for role in ("validation", "test")])
    with torch.no_grad():
        logits = student((pixels.float() / 255 - mean) / std).numpy()
    np.testing.assert_allclose(table[[f"logit_{name}" for name in names]], logits, rtol=1e-4, atol=1e-5)
    assert logits.std() > 1e-4


def test_only_a_finished_student_is_loaded(teachers):
    with pytest.raises(InputError, match="is not a finished student: stage teacher, status complete"):
        load_student(teachers["t32"])


def test_a_student_names_only_the_views_and_teachers_that_it_learned_from(train_student, teachers, make_bank, small):
    """So a bank may gain views and teachers later, and the student's run is still the same run."""
    first = make_bank(("t32",))
    run = train_student("named", given={"bank": first})
    assert run.trained().inputs.bank == first.sha256
    for name, views in (("t32", 5), ("t48", 5)):
        teacher, header = load_teacher(teachers[name])
        images = image_sets(small[0], small[2], header.image_size, CLASSES, small[3])["train"]
        write_teacher(first.folder, first.identity, teacher, header.model_dump(), images, views, device=CPU)
    grown = Bank.open(first.folder, teachers=[first.teachers[0].model_sha256])
    assert grown.views == 5
    again = train_student("named", given={"bank": grown})
    assert again.load() == run.load()


@pytest.mark.parametrize("labels", ["bank", "online"])
def test_a_run_names_the_licences_that_its_teachers_learned_under(train_student, teachers, labels):
    run = train_student(f"licensed-{labels}", {"labels": labels}, epochs=1)
    assert [teacher.licences for teacher in run.trained().taught_by] == [("CC0-1.0",)] * 2
    assert run.trained().data_licences == ("CC0-1.0",)
