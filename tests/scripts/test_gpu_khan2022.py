"""The rows of the paper on a GPU in several calls, on the CPU with 60 generated images."""

import importlib
import json
import os
import signal
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from dermdistill.data.splits import make_splits, write_splits
from dermdistill.data.synthetic.generate import generate
from dermdistill.khan2022.study import PaperTask, run_row
from dermdistill.recipe.pack import Coding, write_pack

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
RECIPE = """name = "tiny"
image_size = 24
weights = "none"
teacher = "dsnet"
students = ["dsnet"]
teaching = { optimizer = "adam", learning_rate = 1e-3, epochs = 1, batch_size = 8 }
student = { optimizer = "adadelta", learning_rate = 1.0, epochs = 3, batch_size = 8 }
pool = { train_benign = 14, train_malignant = 6, test_benign = 22, test_malignant = 6 }
timing = { images = 8, batch_size = 4, repeats = 1 }
"""


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("gpu_khan2022")
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A folder with pack/ and tiny.toml."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("paper")
    manifest = generate(folder / "work", n=60, size=48, seed=0)
    write_splits(make_splits(manifest, 3), folder / "work" / "splits.json")
    write_pack(folder / "work", folder / "pack", coding=Coding(40))
    (folder / "tiny.toml").write_text(RECIPE)
    return folder


def _options(packed, state, *more):
    return [str(packed / "tiny.toml"), "--pack", str(packed / "pack"), "--state", str(state), "--out",
            str(state / "out"), "--accelerator", "cpu", *more]  # fmt: skip


def test_a_row_that_the_time_cuts_goes_on_and_ends_as_if_it_had_not_been_cut(
    script, packed, tmp_path, monkeypatch, capsys
):
    chosen = ("--table", "2", "--row", "dsnet-distilled", "--row", "dsnet-alone", "--protocol", "corrected")
    cut, whole = (_options(packed, tmp_path / name, *chosen) for name in ("cut", "whole"))
    batch = PaperTask.batch

    def timed_out(self, rows, epoch, device):
        if epoch == 1 and self.targets is not None:
            os.kill(os.getpid(), signal.SIGALRM)
        return batch(self, rows, epoch, device)

    with monkeypatch.context() as patch:
        patch.setattr(PaperTask, "batch", timed_out)
        assert script.main(cut) == 0
    said = capsys.readouterr().out
    assert "stopped; the same command goes on" in said
    assert "2 dsnet-distilled, seed 0: 1 of 3 epochs" in said
    assert "2 dsnet-alone, seed 0: to do" in said
    assert script.main([*cut, "--clock"]) == 0
    assert "all rows are done" in capsys.readouterr().out
    assert script.main(whole) == 0
    (one, other) = (
        json.loads((tmp_path / name / "report.json").read_text())["tables"]["2"] for name in ("cut", "whole")
    )
    tested = [[entry["seeds"][0]["test"] for entry in entries if entry["seeds"]] for entries in (one, other)]
    assert tested[0] == tested[1]
    assert len(tested[0]) == 3, "the teacher and two rows"
    names = {name for path in (tmp_path / "cut" / "out").glob("khan2022-*.zip")
             for name in zipfile.ZipFile(path).namelist()}  # fmt: skip
    assert {"report.json", "report.html", "log.txt", "timing.json"} < names
    assert sum(name.endswith("result-best.json") for name in names) == 3
    assert not any(name.endswith(".safetensors") for name in names)


def test_the_images_in_memory_are_those_of_the_cache(script, packed, tmp_path):
    asked = script._arguments(_options(packed, tmp_path, "--model-weights"))
    study, rows = script.prepare(asked)
    pixels = study.pool.pixels
    some = torch.tensor([7, 0, 31]).numpy()
    assert torch.equal(pixels.read(some), pixels._pixels.read(some))
    assert pixels.images.dtype == torch.uint8
    assert pixels.decode(some, 30).shape == (3, 3, 30, 30)
    assert len(rows) == len(set(rows))
    assert {row.table for row in rows} == {"2", "temperature", "batch", "ablation"}
    assert not script.carry_out(study, rows, time.monotonic() - 1), "there was no time"
    assert not (tmp_path / "runs").exists()
    run_row(study, next(row for row in rows if row.name == "dsnet-alone"), 0)
    script.report(study, rows, asked)
    names = [name for path in (tmp_path / "out").glob("*.zip") for name in zipfile.ZipFile(path).namelist()]
    assert sum(name.endswith("model.safetensors") for name in names) == 1


def test_what_does_not_fit_is_told(script, packed, tmp_path, capsys):
    options = _options(packed, tmp_path)
    assert script.main([*options, "--data", str(packed)]) == 1
    assert "give either --pack" in capsys.readouterr().err
    assert script.main([*options, "--row", "nobody"]) == 1
    assert "no row is called 'nobody'" in capsys.readouterr().err
