"""A bank that is killed, by SIGKILL, at each point where it touches the disk, and what it holds in memory."""

import json
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch

from dermdistill.classes import CLASSES
from dermdistill.distillation import bank_files, labels, soften
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.distillation.labels import BankLabels
from dermdistill.distillation.soften import write_teacher
from dermdistill.files import sha256_file
from dermdistill.images.cache import ImageCache
from dermdistill.training.task import ImageSet

CPU = torch.device("cpu")

PROGRAM = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from dermdistill.distillation import soften
from test_bank_kill import write

compute, computed = soften._view, {{}}

def known(teacher, images, rows, view, *how):
    # computed once for all children: what is killed is the writing
    key = (view, next(teacher.parameters()).sum().item(), rows.tobytes())
    if key not in computed:
        computed[key] = compute(teacher, images, rows, view, *how)
    return computed[key]

soften._view = known
os.fsync = lambda number: None  # a kill, unlike a loss of power, loses nothing that was written

folder = Path({folder!r})
seen, last = 0, None

def count(event, arguments):
    global seen
    if last is not None and event in ("open", "os.rename") and str(arguments[0]).startswith(str(folder)):
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

def apart(out, point):
    global last
    child = os.fork()
    if child == 0:
        last = point
        write(out)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

write(folder / "first")
sys.addaudithook(count)
ends = []
while not ends or ends[-1][0] == -signal.SIGKILL:
    out = folder / str(len(ends))
    ends.append((apart(out, len(ends)), apart(out, None)))
print(json.dumps(ends))
"""


def _images(count=12, size=16):
    """A set of images of noise, without files."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), np.uint8)
    names = tuple(f"{row:064d}" for row in range(count))
    return ImageSet(names, names, np.arange(count), np.zeros(count, np.int64), ImageCache(pixels, names, {}))


IDENTITY = BankIdentity(manifest_sha256="a" * 64, classes=CLASSES)


def write(folder, views=3, count=12):
    """A bank of two tiny teachers, two views a file."""
    bank_files.SHARD = 2
    for seed in range(2):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 7))
        header = {"name": f"t{seed}", "model": "net", "classes": list(CLASSES), "image_size": 16, "mean": [0.5] * 3,
                  "std": [0.5] * 3, "model_sha256": f"{seed}" * 64}  # fmt: skip
        teacher = FrozenTeacher(net, (0.5,) * 3, (0.5,) * 3, 16)
        write_teacher(folder, IDENTITY, teacher, header, _images(count), views, device=CPU)
    return Bank.open(folder)


@pytest.fixture(autouse=True)
def _shard(monkeypatch):
    monkeypatch.setattr(bank_files, "SHARD", 2)


def _contents(folder):
    names = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): sha256_file(path) for path in names}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_any_point_it_ends_the_same(tmp_path):
    whole = write(tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    code = PROGRAM.format(here=os.path.dirname(__file__), folder=str(folder))  # noqa: PTH120
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    views = sum(teacher.views for teacher in whole.teachers)
    assert views == 6
    assert len(ends) > 4 * views  # each file and each header are opened and renamed
    assert ends[-1] == [0, 0]
    assert {first for first, _ in ends[:-1]} == {-9}
    for point, (_, second) in enumerate(ends):
        assert second == 0, f"it could not go on after a kill at point {point}"
        assert _contents(folder / str(point)) == _contents(tmp_path / "whole"), f"killed at point {point}"


def _watch(monkeypatch, owner, name, part=lambda value: value):
    """The number of earlier results of owner.name that are still in memory, at each call."""
    real, made, alive = getattr(owner, name), [], []

    def watched(*arguments):
        alive.append(sum(one() is not None for one in made))
        value = real(*arguments)
        made.append(weakref.ref(part(value)))
        return value

    monkeypatch.setattr(owner, name, watched)
    return alive


def test_writing_holds_one_view_beside_a_file_whatever_the_number_of_views(tmp_path, monkeypatch):
    alive = _watch(monkeypatch, soften, "_view")
    shards = _watch(monkeypatch, bank_files, "load_file", lambda value: value["logits"])
    bank = write(tmp_path / "bank", views=12)
    assert bank.views == 12
    assert len(alive) == 2 * 12
    assert max(alive) <= 1
    assert max(shards) <= 1
    assert len(list((tmp_path / "bank").glob("*/*.safetensors"))) == 2 * 6


def test_reading_holds_one_view_whatever_the_number_of_views(tmp_path, monkeypatch):
    targets = BankLabels(write(tmp_path / "bank", views=12), _images(), CLASSES, IDENTITY)
    read = _watch(monkeypatch, bank_files, "read_view")
    views = _watch(monkeypatch, labels, "to_classes")
    for view in range(12):
        for _ in range(3):  # batches of an epoch
            targets(np.arange(5), view, CPU)
    assert len(views) == 12  # each view is read once an epoch
    assert len(read) == 12 * 2
    assert max(views) <= 1
    assert max(read) <= 2
