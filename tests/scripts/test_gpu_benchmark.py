"""The benchmark for a GPU, on the CPU: it runs, and its steps are those of the package."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dermdistill.run import open_run
from dermdistill.training.loop import fit, make_fabric
from dermdistill.training.spec import TrainSpec

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
CPU = torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "gpu", raising=False)
    return importlib.import_module("gpu")


def test_its_batches_are_those_of_the_package(gpu):
    task, model = gpu.make_task(gpu.SMALL, CPU)
    steps = gpu.Steps(task, model, TrainSpec(batch_size=16), fast=True)
    rows = np.array([5, 1, 40])
    for epoch in (0, 1):
        batch = task.batch(rows, epoch, CPU)
        for found, expected in zip(steps.batch(rows, epoch), (batch.images, batch.labels, batch.targets), strict=True):
            assert torch.equal(found, expected)


def without_dropout(made):
    """A task and its network without dropout, whose masks the loop draws from seeds of its own."""
    task, model = made
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return task, model


def test_its_epochs_give_the_weights_of_the_packages_loop(gpu, tmp_path):
    torch.set_num_threads(1)
    spec = TrainSpec(epochs=2, batch_size=16, optimizer="sgd", learning_rate=1e-3, ema=0.9)
    task, model = without_dropout(gpu.make_task(gpu.SMALL, CPU))
    start = {key: value.clone() for key, value in model.state_dict().items()}
    steps = gpu.Steps(task, model, spec, fast=False)
    for epoch in range(2):
        losses = list(steps.epoch(epoch))
    task, normal = without_dropout(gpu.make_task(gpu.SMALL, CPU))
    run = open_run(tmp_path / "run", {"stage": "test"})
    fit(task, normal, spec, 0, run, make_fabric("cpu"))
    assert run.read_metrics()[-1]["loss"] == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)
    for key, value in normal.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, atol=1e-4, rtol=1e-3)
    assert any((value != start[key]).any() for key, value in normal.state_dict().items())


def test_half_precision_is_near(gpu):
    spec = TrainSpec(epochs=1, batch_size=16)
    found = []
    for fast in (True, False):
        task, model = gpu.make_task(gpu.SMALL, CPU)
        found.append(float(next(gpu.Steps(task, model, spec, fast=fast).epoch(0))))
    assert found[0] != found[1]
    assert found[0] == pytest.approx(found[1], rel=0.02)


@pytest.mark.parametrize("arguments", [["--small"], []], ids=["asked for", "no GPU"])
def test_the_small_size_runs_and_says_what_bounds_it(gpu, capsys, monkeypatch, arguments):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "SMALL", replace(gpu.SMALL, images=16, batch=8))
    assert gpu.main(arguments) == 0
    said = capsys.readouterr().out
    assert ("no GPU that PyTorch can use" in said) is (arguments == [])
    assert "2 epochs: " in said
    assert "(measured)" in said
    assert "profile of" in said
