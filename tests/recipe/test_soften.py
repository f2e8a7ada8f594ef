"""The banks of a recipe's parts share the logits of the views and images that they have in common."""

import lightning_fabric as lightning
import pytest
import torch
from torch import nn

from dermdistill.data.manifest import write_manifest
from dermdistill.data.splits import write_splits
from dermdistill.distillation import teach
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.frozen import FrozenTeacher
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
scheme = "cross"
tested = [0]
final = true
final_teachers = "tested"
[[teachers]]
name = "teacher"
weights = "none"
model = "mobilenetv3_small_050"
image_size = 32
[soften]
views = 2
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


def test_the_bank_of_all_images_computes_only_what_the_tested_folds_bank_lacks(small, tmp_path, fake, shown):
    manifest, splits, _, cache = small
    (tmp_path / "shared.toml").write_text(RECIPE)
    work = Work(load_recipe(tmp_path / "shared.toml"), tmp_path / "out", cache=cache)
    write_manifest(manifest, work.manifest)
    write_splits(splits, work.splits)
    fold, final = work.of("fold-0"), work.of("final")
    session = Session(work, lightning.Fabric(accelerator="cpu", devices=1))
    fake.teach_one(fold, work.recipe.teachers[0], session)

    header = Run(fold.teacher("teacher")).trained()
    assert header.data_licences is None  # as in runs from before licences were recorded

    fill_bank(fold, session)
    of_fold = sum(shown)
    assert fill_bank(final, session).startswith("soften: 2 views of 60 images in ")
    assert of_fold < sum(shown) == 2 * 60
    assert Bank.open(final.bank).teachers[0].licences == ("CC0-1.0",)  # of the manifest, which is the teacher's too
    part, whole = Bank.open(fold.bank), Bank.open(final.bank)
    rows = [whole.images.index(sha256) for sha256 in part.images]
    assert (whole.logits(1)[rows] == part.logits(1)).all()
