"""Logits from elsewhere, as a table."""

import numpy as np
import pandas as pd
import pytest
import torch

from dermdistill.classes import CLASSES
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.labels import BankLabels
from dermdistill.distillation.soften import write_teacher
from dermdistill.errors import InputError

CPU = torch.device("cpu")
IDENTITY = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES)
COLUMNS = [f"logit_{name}" for name in CLASSES]


@pytest.fixture
def bank(tmp_path, teachers):
    frozen, headers, images = teachers
    write_teacher(tmp_path / "bank", IDENTITY, frozen[0], headers[0], images[0], 2, device=CPU)
    return Bank.open(tmp_path / "bank")


def _table(images, views=2):
    rows = [(sha256, view) for view in range(views) for sha256 in images]
    values = np.random.default_rng(0).normal(0, 5, (len(rows), 7)).astype(np.float32)
    table = pd.DataFrame(values, columns=COLUMNS)
    table["sha256"], table["view"] = zip(*rows, strict=True)
    return table.sample(frac=1, random_state=0, ignore_index=True)


@pytest.mark.parametrize("by_id", [False, True])
def test_a_table_is_one_more_teacher(tmp_path, bank, teachers, by_id):
    images = teachers[2][0]
    table, ids = _table([*images.sha256s, "f" * 64]), None
    expected = table.set_index(["sha256", "view"])
    if by_id:
        ids = dict(zip([*images.ids, "other"], [*images.sha256s, "f" * 64], strict=True))
        back = {sha256: name for name, sha256 in ids.items()}
        table = table.assign(image_id=table["sha256"].map(back)).drop(columns="sha256")
    table.to_parquet(tmp_path / "logits.parquet")
    added = Bank.add_logits(bank.folder, IDENTITY, "elsewhere", tmp_path / "logits.parquet", image_ids=ids)
    assert [(one.name, one.model, one.image_size) for one in added.teachers] == [("elsewhere", "table", None)]
    both = Bank.open(bank.folder)
    assert {one.name for one in both.teachers} == {"t0", "elsewhere"}
    for view in range(2):
        given = torch.from_numpy(expected.loc[[(sha256, view) for sha256 in bank.images], COLUMNS].to_numpy().copy())
        found = torch.from_numpy(added.logits(view)[:, 0])
        torch.testing.assert_close(found.softmax(1), given.softmax(1), rtol=0, atol=1e-3)
    assert BankLabels(both, images, CLASSES, IDENTITY)(np.arange(4), 1, CPU).shape == (4, 7)
    again = Bank.add_logits(bank.folder, IDENTITY, "elsewhere", table, image_ids=ids)
    assert again.sha256 == added.sha256


def test_a_bank_that_a_table_began_takes_a_network(tmp_path, teachers):
    frozen, headers, images = teachers
    Bank.add_logits(tmp_path / "new", IDENTITY, "elsewhere", _table(images[1].sha256s))
    write_teacher(tmp_path / "new", IDENTITY, frozen[1], headers[1], images[1], 2, device=CPU)
    assert Bank.open(tmp_path / "new").logits(1).shape == (len(images[1]), 2, 7)


@pytest.mark.parametrize(("change", "told"), [
    (lambda t: t.drop(columns="logit_mel"), r"lacks the columns \['logit_mel'\]"),
    (lambda t: t.drop(columns="view"), r"lacks the columns \['view'\]"),
    (lambda t: t.drop(columns="sha256"), "needs a column 'sha256'"),
    (lambda t: t.assign(logit_mel=np.nan), "empty cells, or values that are no finite numbers"),
    (lambda t: t.assign(logit_mel="high"), "no finite numbers"),
    (lambda t: t.assign(view=0.5), "whole views"),
    (lambda t: pd.concat([t, t.head(3)]), "3 rows of an image and view that it has already"),
    (lambda t: t[t["view"] != 0], r"must be 0, 1, 2, …, got \[1\]"),
    (lambda t: t[(t["view"] == 0) | (t.index % 2 == 0)], r"lacks \d+ of the \d+ images in view 1, e\.g\. "),
])  # fmt: skip
def test_tables_that_do_not_fit_are_refused(bank, change, told):
    with pytest.raises(InputError, match=told):
        Bank.add_logits(bank.folder, IDENTITY, "elsewhere", change(_table(bank.images)))
    assert len(Bank.open(bank.folder).teachers) == 1


def test_a_table_for_another_bank_is_refused(tmp_path, bank):
    with pytest.raises(InputError, match="seed is 0 there, 3 is asked for"):
        Bank.add_logits(
            bank.folder, IDENTITY.model_copy(update={"seed": 3}), "elsewhere", _table(bank.images)
        )  # fmt: skip
    table = _table(bank.images).assign(sha256=None, image_id="x")
    with pytest.raises(InputError, match=r"1 images of the table are not known, e\.g\. 'x'"):
        Bank.add_logits(bank.folder, IDENTITY, "elsewhere", table.drop(columns="sha256"), image_ids={"y": "0" * 64})
    (tmp_path / "no.parquet").write_text("nothing")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        Bank.add_logits(bank.folder, IDENTITY, "elsewhere", tmp_path / "no.parquet")
