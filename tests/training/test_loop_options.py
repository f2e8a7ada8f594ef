"""What the options of training do: processes, precision, clipping, averaging."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dermdistill.run import Run, open_run
from dermdistill.training.loop import fit, make_fabric
from dermdistill.training.spec import TrainSpec

HERE = os.path.dirname(__file__)  # noqa: PTH120
PAIR = """
import os, signal, sys
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from pathlib import Path
from safetensors.torch import save_file
from toy_task import Toy, net, smooth_net
from dermdistill.training.spec import TrainSpec
from dermdistill.run import Run, open_run
from dermdistill.training.loop import fit, make_fabric

class Watched(Toy):
    def __init__(self, stop_at):
        super().__init__()
        self.rows, self.stop_at = [], stop_at
    def batch(self, rows, epoch, device):
        self.rows.append(torch.tensor(rows))
        if self.stop_at == (fabric.global_rank, len(self.rows)):
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(rows, epoch, device)

def train(name, model, stop_at=None, **options):
    folder = Path({root!r}) / name
    if fabric.is_global_zero:
        open_run(folder, {{"stage": "test"}})
    fabric.barrier()
    task = Watched(stop_at)
    try:
        fit(task, model, TrainSpec(**{options!r} | options), 0, Run(folder), fabric)
    except KeyboardInterrupt:
        (folder / f"stopped-{{fabric.global_rank}}").write_text(str(len(task.rows)))
        return
    own = {{"rows": torch.stack(task.rows), **model.state_dict()}}
    save_file(own, folder / f"rank-{{fabric.global_rank}}.safetensors")

fabric = make_fabric("cpu", 2)
fabric.launch()
train("two", smooth_net())
train("cut", smooth_net(), stop_at=(1, 11))
train("cut", smooth_net())
train("norm", net(), optimizer="adamw", checkpoint_seconds=0)
"""
OPTIONS = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "ema": 0.9, "optimizer": "sgd"}


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    import toy_task

    torch.set_num_threads(1)
    return toy_task


def _fit(folder, task, net, precision="32-true", **options):
    run = open_run(folder, {"stage": "test"})
    fit(task, net, TrainSpec(**OPTIONS | options), 0, run, make_fabric("cpu", precision=precision))
    return run


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder of what two processes trained: `two`, `cut` (by a SIGTERM to one of them) and `norm`."""
    root = tmp_path_factory.mktemp("pair")
    code = root / "pair.py"
    code.write_text(PAIR.format(here=HERE, root=str(root), options=OPTIONS))
    done = subprocess.run(
        [sys.executable, str(code)], env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return root


def _ranks(folder):
    """What each of the two processes ended with."""
    return [load_file(folder / f"rank-{rank}.safetensors") for rank in range(2)]


@pytest.mark.slow
def test_two_processes_share_each_batch_and_learn_what_one_learns(tmp_path, toy, pair):
    """Without BatchNorm and dropout, which see each half by itself, the mean of two gradients is the whole one."""
    one = _fit(tmp_path / "one", toy.Toy(), toy.smooth_net())
    ranks = _ranks(pair / "two")
    rows = [rank.pop("rows") for rank in ranks]
    for first, second in zip(*(part.split(8) for part in rows), strict=True):  # an epoch is eight steps
        assert sorted([*first.flatten().tolist(), *second.flatten().tolist()]) == list(range(64))
    alone = {name.removeprefix("model."): value for name, value in load_file(one.checkpoint).items()}
    for name, value in ranks[0].items():
        assert torch.equal(value, ranks[1][name])
        torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-6)
    kept = load_file(pair / "two" / "model.safetensors")
    for name, value in load_file(one.model).items():
        torch.testing.assert_close(kept[name], value, rtol=1e-4, atol=1e-6)


def test_two_processes_learn_with_batchnorm_and_dropout(pair):
    losses = [line["loss"] for line in Run(pair / "norm").read_metrics()]
    assert len(losses) == 3
    assert losses[-1] < losses[0]


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(tmp_path, toy):
    seen = []

    class Watched(toy.Toy):
        def loss(self, model, batch):
            hook = nn.modules.module.register_module_forward_hook(lambda *a: seen.append(a[2].dtype))
            with hook:
                return super().loss(model, batch)

    run = _fit(tmp_path / "mixed", Watched(), toy.smooth_net(), "bf16-mixed", epochs=12)
    assert torch.bfloat16 in seen
    assert {value.dtype for value in load_file(run.model).values()} == {torch.float32}
    lines = run.read_metrics()
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]


def test_a_compiled_network_learns_the_same_and_goes_on_after_a_stop(tmp_path, toy, monkeypatch):
    compiled = []

    def backend(graph, _):  # the operations of the graph as they are; a machine need not have a C++ compiler
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    plain = _fit(tmp_path / "plain", toy.Toy(), toy.net())
    assert not compiled
    run = _fit(tmp_path / "compiled", toy.Toy(), toy.net(), compile=True)
    assert compiled
    expected, found = load_file(plain.model), load_file(run.model)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    cut = _fit(tmp_path / "cut", toy.Toy(), toy.net(), compile=True, epochs=2, schedule="constant")
    fit(
        toy.Toy(),
        toy.net(),
        TrainSpec(**OPTIONS | {"compile": True, "schedule": "constant"}),
        0,
        cut,
        make_fabric("cpu"),
    )
    whole = _fit(tmp_path / "whole", toy.Toy(), toy.net(), compile=True, schedule="constant")
    for name, value in load_file(whole.checkpoint).items():
        assert torch.equal(load_file(cut.checkpoint)[name], value), name


def test_clipping_bounds_each_step(tmp_path, toy):
    class Steep(toy.Toy):
        def loss(self, model, batch):
            return 1e6 * super().loss(model, batch)

    start = toy.smooth_net().state_dict()
    moved = {}
    for clip in (0.0, 0.5):
        net = toy.smooth_net()
        options = {"epochs": 1, "batch_size": 64, "warmup_epochs": 0, "weight_decay": 0, "clip": clip}
        _fit(tmp_path / str(clip), Steep(), net, **options)  # a single step
        moved[clip] = np.sqrt(sum(float((net.state_dict()[name] - start[name]).square().sum()) for name in start))
    assert moved[0.5] == pytest.approx(0.05 * 0.5 * 1.9, rel=1e-3)  # rate · norm · (1 + Nesterov's 0.9)
    assert moved[0.0] > 1e3


def test_the_averaged_weights_are_validated_and_kept(tmp_path, toy):
    judged = []

    class Watched(toy.Toy):
        def score(self, model, device):
            judged.append({name: value.clone() for name, value in model.state_dict().items()})
            return {"auroc": float(len(judged))}  # so that the last epoch is the best

    averaged = _fit(tmp_path / "averaged", Watched(), toy.net())
    plain = _fit(tmp_path / "plain", Watched(), toy.net(), ema=0.0)
    for run, prefix, validated in ((averaged, "average.", judged[2]), (plain, "model.", judged[5])):
        kept, last = load_file(run.model), load_file(run.checkpoint)
        assert all(torch.equal(kept[name], last[prefix + name]) for name in kept)
        assert all(torch.equal(kept[name], validated[name]) for name in kept)
    last = load_file(averaged.checkpoint)
    assert not torch.equal(last["average.0.weight"], last["model.0.weight"])
    assert not any(name.startswith("average.") for name in load_file(plain.checkpoint))


def test_a_stop_that_reaches_one_process_stops_all_after_the_same_step(pair):
    assert [(pair / "cut" / f"stopped-{rank}").read_text() for rank in range(2)] == ["11", "11"]
    for whole, resumed in zip(_ranks(pair / "two"), _ranks(pair / "cut"), strict=True):
        assert [ended.pop("rows").shape[0] for ended in (whole, resumed)] == [24, 24 - 11]
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
