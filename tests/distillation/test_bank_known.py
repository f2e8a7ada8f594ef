"""A bank copies what another one holds of the same views, and computes the rest."""

import numpy as np
import pytest
import torch

from dermdistill.classes import CLASSES
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.bank_known import known_logits
from dermdistill.distillation.soften import write_teacher
from dermdistill.training.task import image_sets

CPU = torch.device("cpu")
IDENTITY = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES)
VIEWS = 2


@pytest.fixture
def counted(teachers, small):
    """(teacher, its header, images of a fold, all images, the numbers of images that it was shown since)."""
    manifest, _, part, cache = small
    everything = {"train": [name for ids in part.values() for name in ids], "validation": [], "test": []}
    every = image_sets(manifest, everything, 32, CLASSES, cache)["train"]
    shown = []
    teachers[0][0].register_forward_pre_hook(lambda _, inputs: shown.append(len(inputs[0])))
    return teachers[0][0], teachers[1][0], teachers[2][0], every, shown


def _write(folder, teacher, header, images, identity=IDENTITY, views=VIEWS, **more):
    write_teacher(folder, identity, teacher, header, images, views, device=CPU, batch_size=16, **more)
    return Bank.open(folder)


def test_only_what_no_other_bank_holds_is_computed(tmp_path, counted):
    teacher, header, fold, every, shown = counted
    first = _write(tmp_path / "fold-0", teacher, header, fold)
    assert sum(shown) == VIEWS * len(fold) < VIEWS * len(every)
    shown.clear()
    final = _write(tmp_path / "final", teacher, header, every, others=[tmp_path / "none", first.folder])
    assert sum(shown) == VIEWS * (len(every) - len(fold))
    alone = _write(tmp_path / "alone", teacher, header, every)
    copied = [final.images.index(sha256) for sha256 in first.images]
    for view in range(VIEWS):
        assert (final.logits(view)[copied] == first.logits(view)).all()  # to the last digit
        np.testing.assert_allclose(final.logits(view), alone.logits(view), rtol=2**-10, atol=2**-10)
    assert final.logits(1).std() > 0.01


def test_a_bank_that_is_whole_elsewhere_needs_no_forward_pass(tmp_path, counted):
    teacher, header, fold, every, shown = counted
    whole = _write(tmp_path / "whole", teacher, header, every)
    shown.clear()
    part = _write(tmp_path / "part", teacher, header, fold, others=[whole.folder])
    assert shown == []
    rows = [whole.images.index(sha256) for sha256 in part.images]
    assert all((part.logits(view) == whole.logits(view)[rows]).all() for view in range(VIEWS))


def test_views_that_the_other_bank_lacks_are_computed(tmp_path, counted):
    teacher, header, fold, _, shown = counted
    first = _write(tmp_path / "one", teacher, header, fold, views=1)
    shown.clear()
    _write(tmp_path / "two", teacher, header, fold, others=[first.folder])
    assert sum(shown) == len(fold)


@pytest.mark.parametrize("change", [{"seed": 1}, {"manifest_sha256": "b" * 64}, {"turns": 2}, {"render": "another"}])
def test_logits_of_other_views_are_not_copied(tmp_path, counted, change):
    teacher, header, fold, _, shown = counted
    other = _write(tmp_path / "other", teacher, header, fold, IDENTITY.model_copy(update=change))
    shown.clear()
    _write(tmp_path / "bank", teacher, header, fold, others=[other.folder])
    assert sum(shown) == VIEWS * len(fold)


@pytest.mark.parametrize("change", [{"model_sha256": "f" * 64}, {"image_size": 40}, {"mean": [0.4] * 3}])
def test_logits_of_another_teacher_are_not_copied(tmp_path, counted, change):
    teacher, header, fold, _, _ = counted
    other = _write(tmp_path / "other", teacher, header, fold)
    asked = other.teachers[0].model_copy(update=change)
    _, there = known_logits([other.folder], IDENTITY, other.teachers[0], other.images)(1)
    assert there.all()
    _, there = known_logits([other.folder], IDENTITY, asked, other.images)(1)
    assert not there.any()


@pytest.mark.parametrize("damaged", ["bank.json", "images.txt", "teacher.json", "views-00000.safetensors"])
def test_a_damaged_bank_is_passed_over(tmp_path, counted, damaged):
    teacher, header, fold, every, shown = counted
    other = _write(tmp_path / "other", teacher, header, fold)
    (path,) = other.folder.rglob(damaged)
    content = path.read_bytes()
    path.write_bytes(content[:-30] + bytes(byte ^ 1 for byte in content[-30:]))
    shown.clear()
    bank = _write(tmp_path / "bank", teacher, header, every, others=[other.folder])
    computed = sum(shown)
    assert computed > VIEWS * (len(every) - len(fold))  # of the logits' file one view stays whole
    assert computed == VIEWS * len(every) or damaged.endswith("safetensors")
    alone = _write(tmp_path / "alone", teacher, header, every)
    np.testing.assert_allclose(bank.logits(1), alone.logits(1), rtol=2**-10, atol=2**-10)
