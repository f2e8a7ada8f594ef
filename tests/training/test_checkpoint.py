"""A damaged checkpoint costs the epochs since the one before, not the whole training."""

import os

import pytest
import torch
from safetensors.torch import load_file

from dermdistill.errors import IntegrityError
from dermdistill.run import open_run
from dermdistill.training.loop import fit, make_fabric
from dermdistill.training.spec import TrainSpec


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))  # noqa: PTH120
    import toy_task

    return toy_task


def _fit(folder, toy, stop=None):
    """Train for four epochs; with `stop`, be killed in the epoch of that number."""
    torch.set_num_threads(1)

    class Killed(toy.Toy):
        def batch(self, rows, epoch, device):
            if epoch == stop:
                raise RuntimeError("killed")
            return super().batch(rows, epoch, device)

    run = open_run(folder, {"stage": "test"})
    spec = TrainSpec(epochs=4, batch_size=8, learning_rate=0.05, ema=0.9)
    if stop is None:
        fit(toy.Toy(), toy.net(), spec, 0, run, make_fabric("cpu"))
    else:
        with pytest.raises(RuntimeError, match="killed"):
            fit(Killed(), toy.net(), spec, 0, run, make_fabric("cpu"))
    return run


def _halve(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("damage", [_halve, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_the_checkpoint_before_is_used_and_the_result_is_the_same(tmp_path, toy, damage):
    whole, killed = _fit(tmp_path / "whole", toy), _fit(tmp_path / "killed", toy, stop=3)
    damage(killed.checkpoint)
    resumed = _fit(tmp_path / "killed", toy)
    for one, other in ((whole.model, resumed.model), (whole.checkpoint, resumed.checkpoint)):
        a, b = load_file(one), load_file(other)
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert [line["epoch"] for line in resumed.read_metrics()] == [0, 1, 2, 3]
    assert [line["loss"] for line in whole.read_metrics()] == [line["loss"] for line in resumed.read_metrics()]


def test_where_both_are_damaged_it_is_told(tmp_path, toy):
    run = _fit(tmp_path, toy, stop=3)
    _halve(run.checkpoint)
    _halve(run.previous_checkpoint)
    with pytest.raises(IntegrityError, match=r"last\.safetensors and .*previous\.safetensors cannot be read; remove"):
        _fit(tmp_path, toy)


def test_an_epoch_is_told_in_a_line_of_80_columns_with_the_name_of_its_network(tmp_path, toy, capsys):
    run = _fit(tmp_path / "student-with-name-20", toy)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(lines) == 4
    for number, line in enumerate(lines, 1):
        assert line.startswith(f"student-with-name-20 epoch {number}/4 ")
        assert len(line) <= 80
        assert "s (total " in line
    assert "seconds" in run.read_metrics()[-1]
