import json

import numpy as np
import pytest
import torch

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.distillation import bank as bank_module
from dermdistill.distillation.bank import BankLabels, BankSpec, is_written, knows_some, read_bank, write_bank
from dermdistill.distillation.labels import OnlineLabels, ensemble, to_classes
from dermdistill.errors import InputError, IntegrityError
from dermdistill.images.views import ViewSpec
from dermdistill.training.task import image_sets

CPU = torch.device("cpu")
MANIFEST = "a" * 64


def _write(folder, teachers, views=3, seed=0, spec=None, **options):
    frozen, headers, images = teachers
    wanted = BankSpec(views, seed, spec or ViewSpec())
    return write_bank(folder, wanted, frozen, headers, images, MANIFEST, device=CPU, batch_size=16, **options)


def test_the_ensemble_is_the_average_of_probabilities():
    logits = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 0.0, -1.0]]])
    expected = logits.softmax(-1).mean(1)
    torch.testing.assert_close(ensemble(logits).softmax(1), expected)
    torch.testing.assert_close(ensemble(logits).exp(), expected)


def test_seven_classes_are_read_out_as_melanoma_and_the_rest():
    log_probabilities = torch.randn(5, 7).log_softmax(1)
    binary = to_classes(log_probabilities, CLASSES, BINARY_CLASSES)
    torch.testing.assert_close(binary.exp()[:, 1], log_probabilities.exp()[:, CLASSES.index("mel")])
    torch.testing.assert_close(binary.exp().sum(1), torch.ones(5))
    with pytest.raises(InputError, match="do not fit a student"):
        to_classes(binary, BINARY_CLASSES, CLASSES)


def test_bank_and_teacher_in_the_loop_give_the_same_targets(tmp_path, teachers):
    frozen, _, images = teachers
    bank = _write(tmp_path / "bank", teachers)
    stored = BankLabels(bank, images[0], CLASSES, MANIFEST)
    online = OnlineLabels(frozen, images, CLASSES, CLASSES, ViewSpec(), 0)
    rows = np.random.default_rng(0).permutation(len(images[0]))[:11]
    for view in range(3):
        torch.testing.assert_close(stored(rows, view, CPU), online(rows, view, CPU), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(stored(rows, 1, CPU), stored(rows, 2, CPU), atol=1e-4)


def test_view_zero_is_the_plain_image(tmp_path, teachers):
    frozen, _, images = teachers
    bank = _write(tmp_path / "bank", teachers, views=1)
    plain = images[0].pixels(np.arange(len(images[0]))).float() / 255
    np.testing.assert_allclose(bank.logits(0)[:, 0], frozen[0](plain).numpy(), rtol=1e-4, atol=1e-5)


def test_a_killed_writer_goes_on_and_ends_the_same(tmp_path, teachers, monkeypatch):
    monkeypatch.setattr(bank_module, "BLOCK", 8)
    whole = _write(tmp_path / "whole", teachers)
    real, made = bank_module._shard, []

    def dies(*arguments):
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(1)
        return real(*arguments)

    monkeypatch.setattr(bank_module, "_shard", dies)
    with pytest.raises(KeyboardInterrupt):
        _write(tmp_path / "killed", teachers)
    with pytest.raises(InputError, match="not finished"):
        read_bank(tmp_path / "killed")
    torn = next((tmp_path / "killed").glob("*.safetensors"))
    torn.write_bytes(torn.read_bytes()[:-7])
    made.clear()
    monkeypatch.setattr(bank_module, "_shard", lambda *arguments: (made.append(1), real(*arguments))[1])
    resumed = _write(tmp_path / "killed", teachers)
    assert 0 < len(made) < len(whole.header["shards"])
    assert resumed.header == whole.header
    assert resumed.sha256 == whole.sha256


def test_views_can_be_added_and_the_first_ones_stay(tmp_path, teachers):
    before = _write(tmp_path / "bank", teachers, views=2).logits(1)
    more = _write(tmp_path / "bank", teachers, views=4)
    assert more.views == 4
    np.testing.assert_array_equal(more.logits(1), before)


def test_memory_holds_one_shard_while_writing(tmp_path, teachers, monkeypatch):
    monkeypatch.setattr(bank_module, "BLOCK", 8)
    shapes = []
    real = bank_module._shard
    monkeypatch.setattr(bank_module, "_shard", lambda *a: (lambda x: (shapes.append(x.shape), x)[1])(real(*a)))
    _write(tmp_path / "bank", teachers, views=6)
    assert {shape[0] for shape in shapes} <= {8, len(teachers[2][0]) % 8}
    assert len(shapes) == 6 * -(-len(teachers[2][0]) // 8)


def test_another_bank_in_the_folder_is_refused(tmp_path, teachers):
    _write(tmp_path / "bank", teachers)
    with pytest.raises(InputError, match="spec differ"):
        _write(tmp_path / "bank", teachers, spec=ViewSpec(rotation=10))
    with pytest.raises(InputError, match="seed differ"):
        _write(tmp_path / "bank", teachers, seed=5)


def test_a_bank_that_does_not_fit_is_refused_saying_which(tmp_path, teachers, small):
    manifest, _, part, cache = small
    _, _, images = teachers
    bank = _write(tmp_path / "bank", teachers, views=1)
    with pytest.raises(InputError, match=r"its manifest is aaaa.*the data's bbbb"):
        BankLabels(bank, images[0], CLASSES, "b" * 64)
    with pytest.raises(InputError, match=r"augmentation spec differs: rotation 180\.0 there, 5\.0 here"):
        BankLabels(bank, images[0], CLASSES, MANIFEST, ViewSpec(rotation=5))
    with pytest.raises(InputError, match="do not fit a student with"):
        BankLabels(bank, images[0], ("a", "b"), MANIFEST)
    others = image_sets(manifest, {**part, "train": part["test"]}, 32, CLASSES, cache)["train"]
    with pytest.raises(InputError, match=rf"it lacks {len(others)} of the {len(others)} training images"):
        BankLabels(bank, others, CLASSES, MANIFEST)


def test_a_bank_of_blurred_views_is_refused_but_not_one_of_plain_images(tmp_path, teachers):
    """Banks of the first rendering do not name it; their plain images are the same."""
    images = teachers[2][0]
    hashes = [header["model_sha256"] for header in teachers[1]]
    for views in (1, 2):
        folder = _write(tmp_path / f"bank{views}", teachers, views=views).folder
        header = json.loads((folder / "bank.json").read_text())
        del header["render"]
        (folder / "bank.json").write_text(json.dumps(header))
    BankLabels(read_bank(tmp_path / "bank1"), images, CLASSES, MANIFEST)
    assert is_written(tmp_path / "bank1", 1, hashes)
    with pytest.raises(InputError, match=r"rendered by the first version, expected .* run `dermdistill soften` again"):
        BankLabels(read_bank(tmp_path / "bank2"), images, CLASSES, MANIFEST)
    assert not is_written(tmp_path / "bank2", 2, hashes)
    assert not knows_some(tmp_path / "bank2", BankSpec(2, 0, ViewSpec()), [*hashes, "c" * 64])
    with pytest.raises(InputError, match="holds another bank: render differ"):
        _write(tmp_path / "bank2", teachers, views=2)
    some = ([None, *teachers[0][1:]], *teachers[1:])
    with pytest.raises(InputError, match="cannot be taken over: render differ"):
        _write(tmp_path / "new", some, views=2, known=read_bank(tmp_path / "bank2"))


def test_damage_is_noticed(tmp_path, teachers):
    bank = _write(tmp_path / "bank", teachers, views=1)
    shard = next((tmp_path / "bank").glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(IntegrityError, match="missing or damaged"):
        bank.logits(0)
    with pytest.raises(InputError, match="views 0 to 0, asked for 3"):
        bank.logits(3)
    header = json.loads((tmp_path / "bank" / "bank.json").read_text())
    (tmp_path / "bank" / "bank.json").write_text(json.dumps({**header, "format": "other"}))
    with pytest.raises(IntegrityError, match="is not a dermdistill-bank/1 file"):
        read_bank(tmp_path / "bank")


def test_a_whole_bank_of_the_same_teachers_needs_them_no_more(tmp_path, teachers):
    folder, hashes = tmp_path / "bank", [header["model_sha256"] for header in teachers[1]]
    assert not is_written(folder, 2, hashes)
    _write(folder, teachers, views=2)
    assert is_written(folder, 2, hashes)
    assert not is_written(folder, 3, hashes)
    assert not is_written(folder, 2, ["f" * 64, *hashes[1:]])
    shard = next(folder.glob("*.safetensors"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    assert not is_written(folder, 2, hashes)
    shard.write_bytes(content)
    header = json.loads((folder / "bank.json").read_text())
    (folder / "bank.json").write_text(json.dumps({**header, "status": "running"}))
    assert not is_written(folder, 2, hashes)


def test_a_bank_of_teachers_of_synthetic_images_says_so(teachers, tmp_path):
    frozen, headers, images = teachers
    assert "synthetic" not in _write(tmp_path / "real", teachers).header
    drawn = [{**header, "data_sources": ["synthetic"]} for header in headers]
    assert _write(tmp_path / "drawn", (frozen, drawn, images)).header["synthetic"] is True


@pytest.mark.parametrize("there", [0, 1])
def test_a_bank_gains_a_teacher_without_the_other_ones_weights(tmp_path, teachers, monkeypatch, there):
    monkeypatch.setattr(bank_module, "BLOCK", 8)
    frozen, headers, images = teachers
    whole = _write(tmp_path / "whole", teachers)
    hashes = [header["model_sha256"] for header in headers]
    known = _write(tmp_path / "known", tuple(part[there : there + 1] for part in teachers))
    assert knows_some(known.folder, BankSpec(2, 0, ViewSpec()), hashes)
    assert not knows_some(known.folder, BankSpec(4, 0, ViewSpec()), hashes)
    assert not knows_some(known.folder, BankSpec(2, 1, ViewSpec()), hashes)
    assert not knows_some(whole.folder, BankSpec(2, 0, ViewSpec()), hashes)
    assert not knows_some(tmp_path / "none", BankSpec(2, 0, ViewSpec()), hashes)
    some = [None if place == there else teacher for place, teacher in enumerate(frozen)]
    joined = _write(tmp_path / "joined", (some, headers, images), known=known)
    assert joined.header["teachers"] == whole.header["teachers"]
    for view in range(3):
        np.testing.assert_array_equal(joined.logits(view), whole.logits(view))


def test_stored_logits_of_other_views_or_teachers_are_refused(tmp_path, teachers):
    frozen, headers, images = teachers
    some = ([None, frozen[1]], headers, images)
    with pytest.raises(InputError, match="no bank was given"):
        _write(tmp_path / "new", some)
    second = _write(tmp_path / "second", (frozen[1:], headers[1:], images[1:]))
    with pytest.raises(InputError, match="lacks a teacher"):
        _write(tmp_path / "new", some, known=second)
    first = _write(tmp_path / "first", (frozen[:1], headers[:1], images[:1]), views=2, seed=7)
    with pytest.raises(InputError, match="seed, views differ"):
        _write(tmp_path / "new", some, known=first)
    assert not (tmp_path / "new").exists()
