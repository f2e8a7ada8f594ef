"""A bank that several calls compute in parts is the bank that one call computes, byte for byte."""

import lightning_fabric as lightning
import pytest
import torch
from torch import nn

from dermdistill.data.manifest import write_manifest
from dermdistill.data.splits import write_splits
from dermdistill.distillation import teach
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.distillation.share import Share, shares_of
from dermdistill.recipe.session import Session
from dermdistill.recipe.soften import fill_bank
from dermdistill.recipe.spec import load_recipe
from dermdistill.recipe.work import Work
from dermdistill.run import Run

RECIPE = """
name = "shared"
[data]
synthetic = { images = 60, size = 48 }
[split]
folds = 3
[[teachers]]
name = "teacher"
weights = "none"
model = "mobilenetv3_small_050"
image_size = 32
[soften]
views = 2
batch_size = 7
[[students]]
name = "taught"
model = "repds"
image_size = 32
"""


@pytest.fixture
def shown(monkeypatch):
    """The numbers of images that the teacher was shown; an untrained network stands in for the one of the run."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))
    frozen, found = FrozenTeacher(network, (0.5,) * 3, (0.5,) * 3, 32), []
    frozen.register_forward_pre_hook(lambda _, inputs: found.append(len(inputs[0])))
    monkeypatch.setattr(teach, "load_teacher", lambda folder: (frozen, Run(folder).trained()))
    return found


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_parts_make_the_whole(small, tmp_path, fake, shown):
    manifest, splits, _, cache = small
    (tmp_path / "shared.toml").write_text(RECIPE)

    def made(name, *shares):
        """The bank after a call for each share."""
        work = Work(load_recipe(tmp_path / "shared.toml"), tmp_path / name, cache=cache)
        write_manifest(manifest, work.manifest)
        write_splits(splits, work.splits)
        fabric = lightning.Fabric(accelerator="cpu", devices=1)
        fake.teach_one(work, work.recipe.teachers[0], Session(work, fabric))
        for share in shares:
            said = fill_bank(work, Session(work, fabric, share=share and Share.read(share)))
            assert ("without --part joins them" in said) is (share is not None)
        return work

    whole = made("whole", None)
    images, batches = len(Bank.open(whole.bank).images), list(shown)
    shown.clear()
    joined = made("joined", "1/2", "2/2")
    assert sorted(shown) == sorted(batches)
    assert not joined.bank.exists()
    parts = [Bank.open(folder).images for folder in shares_of(joined.bank)]
    assert [image for part in parts for image in part] == list(Bank.open(whole.bank).images)
    assert all(0 < len(part) < images for part in parts)
    shown.clear()
    fill_bank(joined, Session(joined, lightning.Fabric(accelerator="cpu", devices=1)))
    assert shown == []
    assert contents(joined.bank) == contents(whole.bank)

    rest = made("rest", "2/3", None)  # what no call has computed, the last one does
    assert contents(rest.bank) == contents(whole.bank)
