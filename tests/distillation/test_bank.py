import doctest
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.distillation import bank as bank_module
from dermdistill.distillation import bank_files, soften
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.labels import BankLabels, OnlineLabels, ensemble, to_classes
from dermdistill.distillation.soften import write_teacher
from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import sha256_file
from dermdistill.images.view_spec import ViewSpec
from dermdistill.training.task import image_sets

CPU = torch.device("cpu")
IDENTITY = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES)


def _write(folder, teachers, views=3, which=(0, 1), **keys):
    """A bank of some of the two teachers."""
    frozen, headers, images = teachers
    identity = IDENTITY.model_copy(update=keys)
    for place in which:
        write_teacher(
            folder, identity, frozen[place], headers[place], images[place], views, device=CPU, batch_size=16
        )  # fmt: skip
    return Bank.open(folder, teachers=[headers[place]["model_sha256"] for place in which])


def _contents(folder):
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def _log_probabilities(teacher, images):
    """Of the plain images, in the order of a bank."""
    pixels = images.pixels(np.argsort(images.sha256s)).float() / 255
    side = (teacher.image_size,) * 2
    pixels = torch.nn.functional.interpolate(pixels, side, mode="bilinear", antialias=True)
    return teacher(pixels).log_softmax(1)


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
    stored = BankLabels(bank, images[0], CLASSES, IDENTITY)
    online = OnlineLabels(frozen, images, CLASSES, CLASSES, ViewSpec(), 0)
    rows = np.random.default_rng(0).permutation(len(images[0]))[:11]
    for view in range(3):
        given, live = stored(rows, view, CPU).exp(), online(rows, view, CPU).exp()
        torch.testing.assert_close(given, live, rtol=0, atol=1e-3)
    assert not torch.allclose(stored(rows, 1, CPU), stored(rows, 2, CPU), atol=1e-3)


def test_view_zero_is_the_plain_image(tmp_path, teachers):
    frozen, _, images = teachers
    bank = _write(tmp_path / "bank", teachers, views=1)
    stored = torch.from_numpy(bank.logits(0))
    assert stored.shape == (len(images[0]), 2, 7)
    assert stored.dtype == torch.float32
    assert (stored.amax(-1) == 0).all()
    for place in range(2):
        expected = _log_probabilities(frozen[place], images[place])
        torch.testing.assert_close(stored[:, place].log_softmax(1), expected, rtol=1e-3, atol=1e-3)


def test_float16_changes_the_probabilities_of_the_ensemble_by_less_than_a_thousandth():
    """For logits of any size, also near ties far from zero, where float16 of the bare logits would not do."""
    generator, worst, bare = np.random.default_rng(0), 0.0, 0.0
    for scale in (0.1, 1, 10, 100, 1000):
        logits = generator.normal(scale, scale, (4000, 2, 7))
        logits[:1000] = np.sort(logits[:1000], -1)
        logits[:1000, :, -2] = logits[:1000, :, -1] - generator.random((1000, 2)) * 0.1
        stored = np.stack([bank_files.to_half(logits[:, one], "t") for one in range(2)], 1)
        for temperature in (1, 4, 20):
            exact = (ensemble(torch.from_numpy(logits)) / temperature).softmax(1)
            given = (ensemble(torch.from_numpy(stored.astype(np.float32))) / temperature).softmax(1)
            worst = max(worst, float((exact - given).abs().max()))
        rounded = ensemble(torch.from_numpy(logits.astype(np.float16).astype(np.float32))).softmax(1)
        bare = max(bare, float((rounded - ensemble(torch.from_numpy(logits)).softmax(1)).abs().max()))
    assert worst < 1e-3
    assert bare > 1e-3, "the shift would not be needed"


def test_large_logits_are_clipped_and_those_that_are_not_finite_refused(tmp_path, teachers):
    half = bank_files.to_half(np.array([[1e6, 0.0], [-3e38, 3e38]]), "t")
    np.testing.assert_array_equal(half, [[0, -65504], [-65504, 0]])
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match=r"'sick' gives logits that are not finite for 1 of 2 images.*position 1"):
            bank_files.to_half(np.array([[0.0, 1.0], [0.0, value]]), "sick")
    frozen, _, _ = teachers
    with torch.no_grad():
        frozen[0].model[-1].weight.fill_(torch.nan)
    with pytest.raises(InputError, match="'t0' gives logits that are not finite"):
        _write(tmp_path / "bank", teachers)


def test_a_teacher_that_joins_or_leaves_moves_no_others_logits(tmp_path, teachers):
    first = _write(tmp_path / "bank", teachers, which=[0])
    before, content, sha256 = first.logits(2), _contents(first.folder), first.sha256
    both = _write(tmp_path / "bank", teachers)
    after = _contents(first.folder)
    assert {name: after[name] for name in content} == content
    np.testing.assert_array_equal(both.logits(2)[:, :1], before)
    assert both.select([first.teachers[0].model_sha256]).sha256 == sha256
    assert both.sha256 != sha256
    shutil.rmtree(first.folder / first.teachers[0].folder)
    left = Bank.open(first.folder)
    assert [teacher.name for teacher in left.teachers] == ["t1"]
    np.testing.assert_array_equal(left.logits(2)[:, 0], both.stored.read(both.teachers[1], 2).astype(np.float32))
    with pytest.raises(InputError, match=r"lacks the teachers 0000000000000000, it has t1 1111.*dermdistill soften"):
        Bank.open(first.folder, teachers=["0" * 64])


def test_the_caller_chooses_teachers_and_their_order(tmp_path, teachers):
    bank = _write(tmp_path / "bank", teachers)
    one, other = (teacher.model_sha256 for teacher in bank.teachers)
    np.testing.assert_array_equal(bank.logits(1, [other, one]), bank.logits(1)[:, ::-1])
    assert Bank.open(bank.folder, teachers=[other]).logits(1).shape == (len(bank.images), 1, 7)


def test_views_can_be_added_and_fewer_be_read(tmp_path, teachers, monkeypatch):
    monkeypatch.setattr(bank_files, "SHARD", 4)
    two = _write(tmp_path / "bank", teachers, views=2)
    before, sha256 = two.logits(1), two.sha256
    six = _write(tmp_path / "bank", teachers, views=6)
    assert six.views == 6
    assert len(list((tmp_path / "bank").glob("*/*.safetensors"))) == 2 * 2
    np.testing.assert_array_equal(six.logits(1), before)
    assert six.select(views=2).sha256 == sha256 != six.sha256
    assert _write(tmp_path / "bank", teachers, views=3).views == 6
    reads, real = [], bank_files.read_view
    monkeypatch.setattr(bank_files, "read_view", lambda *a: (reads.append(a[3]), real(*a))[1])
    few = Bank.open(tmp_path / "bank", views=2)
    for view in range(few.views):
        few.logits(view)
    assert sorted(set(reads)) == [0, 1]
    for folder in (tmp_path / "bank").glob("*/"):
        (folder / "views-00004.safetensors").unlink()  # the views that are not asked for may be gone
    assert few.logits(1).shape[1] == 2
    with pytest.raises(InputError, match="holds views 0 to 1, asked for 2"):
        few.logits(2)
    with pytest.raises(InputError, match=r"holds 6 views of the teacher 't0', 7 are asked for; run `dermdistill soft"):
        Bank.open(tmp_path / "bank", views=7)


def test_hundreds_of_views_are_few_small_files(tmp_path):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(50 * 200, 7)), columns=[f"logit_{c}" for c in CLASSES])
    table["sha256"], table["view"] = [f"{row % 50:064x}" for row in range(len(table))], np.arange(len(table)) // 50
    bank = Bank.add_logits(tmp_path / "bank", IDENTITY, "elsewhere", table)
    files = list((tmp_path / "bank").glob("*/*.safetensors"))
    assert bank.views == 200
    assert len(files) == 13
    assert sum(path.stat().st_size for path in files) < 200 * 50 * 7 * 2 * 1.02


def test_a_stale_bank_is_never_used_in_silence(tmp_path, teachers):
    """Each key of the identity by itself, for writing, reading and asking what is missing."""
    folder = _write(tmp_path / "bank", teachers, views=1).folder
    content = _contents(folder)
    hashes = [header["model_sha256"] for header in teachers[1]]
    changes = {
        "seed": (5, "seed is 0 there, 5 is asked for"),
        "spec": (ViewSpec(rotation=10), "spec.rotation is 180.0 there, 10.0 is asked for"),
        "manifest_sha256": ("b" * 64, "manifest_sha256 is aaaaaaaaaaaa there, bbbbbbbbbbbb is asked for"),
        "preprocess": ("new/9", "preprocess is squash-bilinear/1 there, new/9 is asked for"),
        "render": ("new/9", "render is .* there, new/9 is asked for"),
        "classes": (CLASSES[::-1], "classes is .* there, .* is asked for"),
        "turns": (8, "turns is 1 there, 8 is asked for"),
        "synthetic": (True, "synthetic is False there, True is asked for"),
    }
    assert set(changes) == set(BankIdentity.model_fields)
    frozen, headers, images = teachers
    for key, (value, told) in changes.items():
        asked = IDENTITY.model_copy(update={key: value})
        message = rf"holds another bank: {told}; choose another folder with --out, .*`dermdistill run RECIPE --redo"
        header = {**headers[0], "classes": list(asked.classes)}
        with pytest.raises(InputError, match=message):
            write_teacher(folder, asked, frozen[0], header, images[0], 1, device=CPU)
        with pytest.raises(InputError, match=message):
            Bank.open(folder, identity=asked)
        with pytest.raises(InputError, match=message):
            Bank.missing(folder, asked, hashes, 1)
    assert _contents(folder) == content
    Bank.open(folder, identity=IDENTITY)


def test_other_images_or_classes_are_refused(tmp_path, teachers, small):
    manifest, _, part, cache = small
    frozen, headers, images = teachers
    bank = _write(tmp_path / "bank", teachers, views=1)
    others = image_sets(manifest, {**part, "train": part["train"][1:]}, 32, CLASSES, cache)["train"]
    with pytest.raises(InputError, match=r"other images than the bank .* 1 of its .*, and 0 are new.*data check"):
        write_teacher(bank.folder, IDENTITY, frozen[0], headers[0], others, 1, device=CPU)
    header = {**headers[0], "classes": list(BINARY_CLASSES)}
    with pytest.raises(InputError, match="must share their classes: 't0' has"):
        write_teacher(bank.folder, IDENTITY, frozen[0], header, images[0], 1, device=CPU)
    with pytest.raises(InputError, match="is of another teacher: image_size is 32 there, 40 is asked for"):
        write_teacher(bank.folder, IDENTITY, frozen[0], {**headers[0], "image_size": 40}, images[0], 1, device=CPU)


def test_the_order_of_the_images_does_not_matter(tmp_path, teachers, small):
    manifest, _, part, cache = small
    frozen, headers, _ = teachers
    whole = _write(tmp_path / "bank", teachers, which=[0])
    turned = image_sets(manifest, {**part, "train": part["train"][::-1]}, 32, CLASSES, cache)["train"]
    write_teacher(tmp_path / "turned", IDENTITY, frozen[0], headers[0], turned, 3, device=CPU, batch_size=16)
    assert _contents(tmp_path / "turned") == _contents(whole.folder)


def test_a_bank_that_does_not_fit_is_refused_saying_which(tmp_path, teachers, small):
    manifest, _, part, cache = small
    _, _, images = teachers
    bank = _write(tmp_path / "bank", teachers, views=1)
    with pytest.raises(InputError, match=r"manifest_sha256 is aaaa.* there, bbbb.* is asked for"):
        BankLabels(bank, images[0], CLASSES, IDENTITY.model_copy(update={"manifest_sha256": "b" * 64}))
    with pytest.raises(InputError, match=r"spec.rotation is 180\.0 there, 5\.0 is asked for"):
        BankLabels(bank, images[0], CLASSES, IDENTITY.model_copy(update={"spec": ViewSpec(rotation=5)}))
    with pytest.raises(InputError, match="do not fit a student with"):
        BankLabels(bank, images[0], ("a", "b"), IDENTITY)
    others = image_sets(manifest, {**part, "train": part["test"]}, 32, CLASSES, cache)["train"]
    with pytest.raises(InputError, match=rf"it lacks {len(others)} of the {len(others)} training images"):
        BankLabels(bank, others, CLASSES, IDENTITY)


def test_damage_is_noticed_and_mended_alone(tmp_path, teachers, monkeypatch):
    monkeypatch.setattr(bank_files, "SHARD", 4)
    bank = _write(tmp_path / "bank", teachers, views=6)
    content, hashes = _contents(bank.folder), [teacher.model_sha256 for teacher in bank.teachers]
    shard = bank.folder / bank.teachers[0].folder / "views-00000.safetensors"
    whole = shard.read_bytes()
    for damaged, views in ((whole[:-1] + bytes([whole[-1] ^ 1]), [3]), (whole[:-7], range(4)), (b"", range(4))):
        shard.write_bytes(damaged)
        for view in views:
            with pytest.raises(IntegrityError, match=rf"view {view} in .* is missing or damaged; run `dermdistill sof"):
                bank.logits(view)
        assert Bank.missing(bank.folder, IDENTITY, hashes, 4) == hashes[:1]
        made, real = [], soften._view
        monkeypatch.setattr(soften, "_view", lambda *a, made=made, real=real: (made.append(a[3]), real(*a))[1])
        _write(bank.folder, teachers, views=6)
        monkeypatch.setattr(soften, "_view", real)
        assert made == list(views)
        assert _contents(bank.folder) == content


def test_damaged_headers_are_told(tmp_path, teachers):
    bank = _write(tmp_path / "bank", teachers, views=1)
    path, images = bank.folder / "bank.json", bank.folder / "images.txt"
    header, names = json.loads(path.read_text()), images.read_text()
    images.write_text(names[:-65])
    with pytest.raises(IntegrityError, match=r"images\.txt is missing or damaged"):
        Bank.open(bank.folder)
    images.write_text(names)
    for changed, told in (
        ({"format": "other"}, "is not a dermdistill-bank/2 file, its format is 'other'"),
        ({"seed": "x"}, "bank.json is damaged:\n  seed: .*'x'"),
        ({"more": 1}, "more: unknown key"),
    ):
        path.write_text(json.dumps({**header, **changed}))
        with pytest.raises(IntegrityError, match=told):
            Bank.open(bank.folder)
    with pytest.raises(InputError, match="no such file"):
        Bank.open(tmp_path / "none")


def test_what_is_missing_is_told_by_teacher(tmp_path, teachers):
    folder, hashes = tmp_path / "bank", [header["model_sha256"] for header in teachers[1]]
    assert Bank.missing(folder, IDENTITY, hashes, 2) == hashes
    _write(folder, teachers, views=2, which=[1])
    assert Bank.missing(folder, IDENTITY, hashes, 2) == hashes[:1]
    assert Bank.missing(folder, IDENTITY, hashes, 3) == hashes
    _write(folder, teachers, views=3, which=[0])
    assert Bank.missing(folder, IDENTITY, hashes, 2) == []
    assert Bank.open(folder).views == 2


def test_a_bank_of_teachers_of_synthetic_images_says_so(teachers, tmp_path):
    frozen, headers, images = teachers
    assert not _write(tmp_path / "real", teachers).synthetic
    drawn = [{**header, "data_sources": ["synthetic"]} for header in headers]
    assert _write(tmp_path / "drawn", (frozen, drawn, images)).synthetic
    assert _write(tmp_path / "images", teachers, synthetic=True).synthetic


def test_the_hash_outlives_keys_that_the_views_gain(monkeypatch):
    """New ranges come with defaults that change nothing, and old students keep their bank."""

    class Later(ViewSpec):
        fog: float = 0.0

    later = IDENTITY.model_copy(update={"spec": Later(rotation=90)})
    assert later.sha256() == IDENTITY.model_copy(update={"spec": ViewSpec(rotation=90)}).sha256()
    assert later.sha256() != IDENTITY.sha256()
    assert later.sha256() != IDENTITY.model_copy(update={"spec": Later(rotation=90, fog=0.5)}).sha256()


def test_banks_are_read_without_torch():
    code = "import sys, dermdistill.distillation.bank; assert 'torch' not in sys.modules, 'torch'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_example_in_the_docstring_runs():
    found = doctest.testmod(bank_module)
    assert found.attempted > 5
    assert found.failed == 0
