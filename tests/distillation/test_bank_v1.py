"""Banks of the first format, of which some are published, are read."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from dermdistill.classes import CLASSES
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.labels import BankLabels
from dermdistill.distillation.soften import write_teacher
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import sha256_file, sha256_json
from dermdistill.images.view_spec import RENDER_VERSION, ViewSpec

CPU = torch.device("cpu")
IDENTITY = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES)


@pytest.fixture
def first(tmp_path, teachers):
    """first(views, header's keys): a folder as version 0.1 wrote it, and its logits [views, N, 2, 7]."""
    _, headers, images = teachers

    def make(views=2, **keys):
        folder, shards = tmp_path / f"first-{views}", {}
        folder.mkdir()
        logits = np.random.default_rng(0).normal(size=(views, len(images[0]), 2, 7)).astype(np.float32)
        for view in range(views):
            for block, start in enumerate(range(0, len(images[0]), 8)):
                name = f"view-{view:05d}-block-{block:05d}.safetensors"
                save_file({"logits": logits[view, start : start + 8]}, folder / name)
                shards[name] = sha256_file(folder / name)
        kept = ("name", "model", "image_size", "mean", "std", "model_sha256")
        header = {
            "format": "dermdistill-bank/1", "manifest_sha256": "a" * 64, "classes": list(CLASSES),
            "teachers": [{key: header[key] for key in kept} for header in headers],
            "spec": ViewSpec().model_dump(mode="json"), "seed": 0, "preprocess": "squash-bilinear/1",
            "render": RENDER_VERSION, "block": 8, "images": list(images[0].sha256s), "views": views,
            "status": "complete", "shards": shards,
        } | keys  # fmt: skip
        header = {key: value for key, value in header.items() if value is not None}
        (folder / "bank.json").write_text(json.dumps(header))
        return folder, logits, header

    return make


def test_it_gives_the_same_interface(first, teachers):
    folder, logits, header = first()
    images = teachers[2][0]
    bank = Bank.open(folder, identity=IDENTITY)
    assert (bank.views, bank.classes, bank.images) == (2, CLASSES, images.sha256s)
    np.testing.assert_array_equal(bank.logits(1), logits[1])
    hashes = [teacher.model_sha256 for teacher in bank.teachers]
    np.testing.assert_array_equal(bank.logits(0, hashes[1:]), logits[0][:, 1:])
    assert Bank.open(folder, teachers=hashes[:1], views=1).logits(0).shape[1] == 1
    assert BankLabels(bank, images, CLASSES, IDENTITY)(np.arange(5), 1, CPU).shape == (5, 7)
    assert Bank.missing(folder, IDENTITY, hashes, 2) == []
    del header["status"]
    assert bank.sha256 == bank.select(views=1).sha256 == sha256_json(header)  # as the runs of its students name it
    assert bank.select(hashes[:1]).sha256 != bank.sha256


def test_it_is_never_written(first, teachers):
    folder, _, _ = first()
    frozen, headers, images = teachers
    message = r"is of the format dermdistill-bank/1, which is only read; choose another folder with --out"
    with pytest.raises(InputError, match=message):
        write_teacher(folder, IDENTITY, frozen[0], headers[0], images[0], 2, device=CPU)
    with pytest.raises(InputError, match=message):
        Bank.missing(folder, IDENTITY, [headers[0]["model_sha256"]], 3)
    with pytest.raises(InputError, match="seed is 0 there, 7 is asked for"):
        Bank.missing(folder, IDENTITY.model_copy(update={"seed": 7}), [headers[0]["model_sha256"]], 2)


def test_one_of_blurred_views_is_refused_but_not_one_of_plain_images(first, teachers):
    """Banks of the first rendering do not name it; their plain images are the same."""
    images = teachers[2][0]
    hashes = [header["model_sha256"] for header in teachers[1]]
    plain, blurred = first(1, render=None)[0], first(2, render=None)[0]
    BankLabels(Bank.open(plain), images, CLASSES, IDENTITY)
    assert Bank.missing(plain, IDENTITY, hashes, 1) == []
    with pytest.raises(InputError, match=r"render is the first rendering there, .* is asked for; choose another"):
        BankLabels(Bank.open(blurred), images, CLASSES)
    with pytest.raises(InputError, match="holds another bank: render is the first rendering there"):
        Bank.missing(blurred, IDENTITY, hashes, 2)


def test_damage_is_noticed(first):
    folder, _, _ = first()
    bank = Bank.open(folder)
    shard = next(folder.glob("view-00001-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    bank.logits(0)
    with pytest.raises(IntegrityError, match="missing or damaged"):
        bank.logits(1)
    with pytest.raises(InputError, match="not finished, and its format dermdistill-bank/1 is only read"):
        Bank.open(first(3, status="running")[0])
