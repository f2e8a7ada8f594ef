"""Several teachers, each with its own input size, mean and standard deviation, make one probability."""

import hashlib

import numpy as np
import pytest
import torch
from torch.nn import functional

from dermdistill.classes import CLASSES
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.distillation.labels import ensemble, teacher_logits
from dermdistill.distillation.soften import write_teacher
from dermdistill.images.view_spec import ViewSpec
from dermdistill.images.views import PLAIN, sample_views
from dermdistill.networks.pretrained import build_teacher, normalisation
from dermdistill.training.task import image_sets

CPU = torch.device("cpu")
MODELS = {"mobilenetv3_small_050": 32, "tf_efficientnet_lite0": 48}


@pytest.fixture(scope="module")
def teachers(small):
    """Frozen teachers of two kinds, their run headers, and the training images at each one's size."""
    manifest, _, part, cache = small
    torch.manual_seed(0)
    frozen, headers, images = [], [], []
    for name, size in MODELS.items():
        mean, std = normalisation(name)
        frozen.append(FrozenTeacher(build_teacher(name, 7, weights="none"), mean, std, size))
        headers.append({
            "name": name, "model": name, "classes": list(CLASSES), "image_size": size, "mean": list(mean),
            "std": list(std), "model_sha256": hashlib.sha256(name.encode()).hexdigest(),
        })  # fmt: skip
        images.append(image_sets(manifest, part, size, CLASSES, cache)["train"])
    return frozen, headers, images


def own(teacher, images, rows):
    """A teacher's logits of plain images, by hand: shrunk to its size, with its mean and deviation."""
    pixels = images.pixels(rows).float() / 255
    assert pixels.shape[-1] == 2 * teacher.image_size
    pixels = functional.interpolate(pixels, (teacher.image_size,) * 2, mode="bilinear", antialias=True)
    with torch.no_grad():
        return teacher.model((pixels - teacher.mean) / teacher.std)


def test_each_teacher_sees_its_own_size_and_normalisation(teachers):
    frozen, _, images = teachers
    rows = np.arange(6)
    plain = sample_views([images[0].sha256s[row] for row in rows], PLAIN, ViewSpec())
    found = teacher_logits(frozen, images, rows, plain, CPU)
    assert found.shape == (6, 2, 7)
    assert not torch.allclose(frozen[0].mean, frozen[1].mean)
    for place, (teacher, own_images) in enumerate(zip(frozen, images, strict=True)):
        torch.testing.assert_close(found[:, place], own(teacher, own_images, rows), rtol=1e-4, atol=1e-5)
    other = functional.interpolate(images[0].pixels(rows).float() / 255, (48, 48), mode="bilinear", antialias=True)
    assert not torch.allclose(found[:, 1], frozen[1](other), rtol=1e-4, atol=1e-5), "the sizes do not matter here"


def test_the_bank_keeps_each_and_the_target_is_the_average_of_their_probabilities(teachers, tmp_path):
    frozen, headers, images = teachers
    identity = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES)
    for teacher, header, part in zip(frozen, headers, images, strict=True):
        write_teacher(tmp_path / "bank", identity, teacher, header, part, 1, device=CPU, batch_size=16)
    bank = Bank.open(tmp_path / "bank", teachers=[header["model_sha256"] for header in headers])
    assert [(one.model, one.image_size) for one in bank.teachers] == list(MODELS.items())
    assert [one.mean for one in bank.teachers] == [tuple(normalisation(name)[0]) for name in MODELS]
    rows = np.argsort(images[0].sha256s)
    by_hand = torch.stack([own(*pair, rows).softmax(1) for pair in zip(frozen, images, strict=True)]).mean(0)
    target = ensemble(torch.from_numpy(bank.logits(0))).softmax(1)
    torch.testing.assert_close(target, by_hand, rtol=0, atol=1e-3)
