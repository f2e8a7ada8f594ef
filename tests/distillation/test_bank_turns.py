"""Teachers that label each view in several of the square's symmetries."""

import numpy as np
import pytest
import torch

from dermdistill.classes import CLASSES
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.identity import Origin, student_identity
from dermdistill.distillation.labels import teacher_logits
from dermdistill.distillation.soften import write_teacher
from dermdistill.distillation.spec import SoftenSpec, StudentSpec
from dermdistill.errors import InputError
from dermdistill.images.view_spec import ViewSpec
from dermdistill.images.views import COLUMNS, sample_views, view_seed

CPU = torch.device("cpu")


def test_logits_can_be_averaged_over_symmetries_of_the_views(tmp_path, teachers):
    frozen, headers, images = teachers
    identity = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES, turns=8)
    write_teacher(tmp_path, identity, frozen[0], headers[0], images[0], 2, device=CPU)
    bank = Bank.open(tmp_path)
    place = {sha256: row for row, sha256 in enumerate(bank.images)}
    rows = [place[sha256] for sha256 in images[0].sha256s]
    stored = torch.from_numpy(bank.logits(1)[rows, 0].astype(np.float32)).softmax(1)

    parameters = sample_views(images[0].sha256s, view_seed(0, 1), ViewSpec())
    one = []
    for turn in range(8):
        parameters[:, COLUMNS.index("turn")] = turn
        logits = teacher_logits(frozen[:1], images[:1], np.arange(len(images[0])), parameters, CPU)
        one.append(logits[:, 0].softmax(1))
    torch.testing.assert_close(stored, torch.stack(one).mean(0), atol=1e-3, rtol=0)
    assert len({tuple(turned.flatten().tolist()) for turned in one}) == 8


def test_a_bank_of_other_symmetries_is_refused(tmp_path, teachers):
    frozen, headers, images = teachers
    identity = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES, turns=2)
    write_teacher(tmp_path, identity, frozen[0], headers[0], images[0], 1, device=CPU)
    with pytest.raises(InputError, match="turns is 2 there"):
        Bank.open(tmp_path, identity=identity.model_copy(update={"turns": 1}))


def test_a_bank_of_unturned_views_has_the_hash_that_it_always_had():
    plain = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES)
    assert "turns" not in plain.model_dump()
    assert plain.sha256() != plain.model_copy(update={"turns": 2}).sha256()


@pytest.mark.parametrize(("labels", "differs"), [("none", False), ("bank", True)])
def test_only_a_student_of_the_bank_depends_on_its_symmetries(labels, differs):
    spec = StudentSpec(name="small", model="repds", labels=labels, loss={"kind": "ce" if labels == "none" else "kd"})
    origin = Origin(manifest_sha256="a" * 64, splits_sha256="b" * 64, split=None)
    made = [student_identity(spec, SoftenSpec(turns=turns), origin, 0, ["c" * 64]) for turns in (1, 8)]
    assert (made[0] != made[1]) is differs


def test_a_key_that_the_stored_header_leaves_out_is_compared_at_its_default():
    plain = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES)
    asked = BankIdentity(
        manifest_sha256="a" * 64, classes=CLASSES, turns=4, spec=ViewSpec(hair={"share": 0.5, "range": (1, 9)})
    )
    assert {"turns", "spec.hair"} & set(plain.model_dump(mode="json")) == set()
    first, second = plain.differences(asked)
    assert first == "turns is 1 there, 4 is asked for"
    assert second.startswith("spec.hair is None there, ")
    assert plain.differences(asked, but=("spec", "turns")) == plain.differences(plain) == []
