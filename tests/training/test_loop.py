import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from dermdistill.errors import DermdistillError, InputError, IntegrityError
from dermdistill.run import Run, open_run
from dermdistill.training.loop import fit, learning_rate, make_fabric
from dermdistill.training.spec import TrainSpec

ENDS = """
import json, os, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
import torch
torch.set_num_threads(1)
from toy_task import Toy, net
from dermdistill.run import open_run
from dermdistill.training.loop import fit, make_fabric
from dermdistill.training.spec import TrainSpec

class Ended(Toy):
    batches = 0
    def batch(self, rows, epoch, device):
        self.batches += 1
        if self.batches == 13:  # in the middle of the second epoch
            os.kill(os.getpid(), self.number)
        return super().batch(rows, epoch, device)

codes = {{}}
for name, seconds in (("SIGKILL", 0), ("SIGTERM", 3600)):
    child = os.fork()
    if child == 0:
        task = Ended(); task.number = getattr(signal, name)
        spec = TrainSpec(**{options!r}, checkpoint_seconds=seconds)
        run = open_run(Path({folder!r}) / name, {{"stage": "test"}})
        try:
            fit(task, net(), spec, 0, run, make_fabric("cpu"))
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(0)
    codes[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
Path({folder!r}, "codes.json").write_text(json.dumps(codes))
"""
OPTIONS = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "ema": 0.9, "optimizer": "adamw"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of two trainings whose processes got a signal in mid-epoch, and their exit codes in codes.json."""
    folder = tmp_path_factory.mktemp("ended")
    here = os.path.dirname(__file__)  # noqa: PTH120
    code = ENDS.format(here=here, folder=str(folder), options=OPTIONS)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
    return folder


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))  # noqa: PTH120
    import toy_task

    return toy_task


def _fit(folder, toy, **options):
    torch.set_num_threads(1)
    spec = TrainSpec(**({"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "ema": 0.9} | options))
    run = open_run(folder, {"stage": "test"})
    done = fit(toy.Toy(), toy.net(), spec, 0, run, make_fabric("cpu"))
    return run, done


def _same(one, other):
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_writes_what_it_should(tmp_path, toy):
    run, done = _fit(tmp_path / "run", toy, epochs=12)
    lines = run.read_metrics()
    assert [line["epoch"] for line in lines] == list(range(12))
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]
    assert done.best == max(line["auroc"] for line in lines) > 0.9
    assert lines[done.best_epoch]["auroc"] == done.best


def test_the_same_seed_gives_the_same_weights(tmp_path, toy):
    one, _ = _fit(tmp_path / "one", toy)
    other, _ = _fit(tmp_path / "other", toy)
    assert _same(one.checkpoint, other.checkpoint)


def test_the_curves_go_to_tensorboard_if_wanted(tmp_path, toy):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fabric = make_fabric("cpu", tensorboard=tmp_path / "tensorboard")
    run = open_run(tmp_path / "run", {"stage": "test"})
    fit(toy.Toy(), toy.net(), TrainSpec(epochs=3, batch_size=8), 0, run, fabric)
    fabric.logger.finalize("success")
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = [event.value for event in events.Scalars("auroc/run")]
    assert shown == pytest.approx([line["auroc"] for line in run.read_metrics()])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adadelta"])
def test_every_optimizer_resumes_bit_for_bit(tmp_path, toy, optimizer):
    class Cut(toy.Toy):
        batches = 0

        def batch(self, rows, epoch, device):
            self.batches += 1
            if self.batches > 12:  # in the middle of the second epoch
                raise RuntimeError("cut")
            return super().batch(rows, epoch, device)

    whole, _ = _fit(tmp_path / "whole", toy, optimizer=optimizer)
    spec = TrainSpec(epochs=3, batch_size=8, learning_rate=0.05, ema=0.9, optimizer=optimizer, checkpoint_seconds=0)
    with pytest.raises(RuntimeError, match="cut"):
        fit(Cut(), toy.net(), spec, 0, open_run(tmp_path / "cut", {"stage": "test"}), make_fabric("cpu"))
    resumed, _ = _fit(tmp_path / "cut", toy, optimizer=optimizer)
    assert _same(whole.checkpoint, resumed.checkpoint)
    assert _same(whole.model, resumed.model)
    assert [line["loss"] for line in whole.read_metrics()] == [line["loss"] for line in resumed.read_metrics()]


def _steps(folder):
    """How many steps the last checkpoint of a run holds."""
    with safe_open(Run(folder).checkpoint, "pt") as file:
        done = json.loads(file.metadata()["progress"])
    return 8 * done["epoch"] + done["step"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(("name", "code", "epochs", "step"), [("SIGKILL", -9, 1, 4), ("SIGTERM", 130, 1, 5)])
def test_a_run_that_got_a_signal_resumes_bit_for_bit(tmp_path, toy, ended, name, code, epochs, step):
    """A kill loses the step that it hits; SIGTERM lets it end and leaves a checkpoint, whenever the last one was."""
    assert json.loads((ended / "codes.json").read_text())[name] == code
    folder = tmp_path / "resumed"
    shutil.copytree(ended / name, folder)
    assert len(Run(folder).read_metrics()) == epochs
    assert _steps(folder) == 8 * epochs + step
    resumed, _ = _fit(folder, toy, **OPTIONS)
    whole, _ = _fit(tmp_path / "whole", toy, **OPTIONS)
    assert _same(whole.model, resumed.model)
    assert _same(whole.checkpoint, resumed.checkpoint)
    assert [line["loss"] for line in whole.read_metrics()] == [line["loss"] for line in resumed.read_metrics()]


PAIR = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from toy_task import Toy, smooth_net
from dermdistill.run import Run, open_run
from dermdistill.training.loop import fit, make_fabric
from dermdistill.training.spec import TrainSpec

fabric = make_fabric("cpu")
fabric.launch()
if fabric.is_global_zero:
    open_run({folder!r}, {{"stage": "test"}})
fabric.barrier()
Path({folder!r} + f"-world-{{fabric.global_rank}}").write_text(str(fabric.world_size))
fit(Toy(), smooth_net(), TrainSpec(**{options!r}), 0, Run(Path({folder!r})), fabric)
"""


@pytest.mark.slow
def test_two_processes_of_torchrun_learn_what_one_does_from_the_whole_batch(tmp_path, toy):
    """Each takes every second image of a batch, so that both together see the batch that one process sees."""
    options = {"epochs": 3, "batch_size": 16, "learning_rate": 0.05, "ema": 0.9, "clip": 1.0}
    torch.set_num_threads(1)
    alone = open_run(tmp_path / "alone", {"stage": "test"})
    fit(toy.Toy(), toy.smooth_net(), TrainSpec(**options), 0, alone, make_fabric("cpu"))
    here, program = str(os.path.dirname(__file__)), tmp_path / "pair.py"  # noqa: PTH120
    program.write_text(PAIR.format(here=here, folder=str(tmp_path / "pair"), options=options))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d",
               "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1", str(program)]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"pair-world-{rank}").read_text() for rank in range(2)] == ["2", "2"]
    pair = Run(tmp_path / "pair")
    for name in ("loss", "auroc"):
        found = [line[name] for line in pair.read_metrics()]
        assert found == pytest.approx([line[name] for line in alone.read_metrics()], abs=1e-5), name
    own, both = load_file(alone.model), load_file(pair.model)
    assert max(float((own[key] - both[key]).abs().max()) for key in own) < 1e-5


def test_a_batch_that_does_not_divide_is_refused(tmp_path, toy):
    class Two:
        world_size = 2
        device = torch.device("cpu")

    with pytest.raises(InputError, match="multiple of the 2 devices"):
        fit(toy.Toy(), toy.net(), TrainSpec(batch_size=7), 0, open_run(tmp_path, {}), Two())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, toy):
    class Broken(toy.Toy):
        def loss(self, model, batch):
            return super().loss(model, batch) * math.nan

    with pytest.raises(DermdistillError, match=r"loss became nan in epoch 1, step 1.*learning_rate"):
        fit(Broken(), toy.net(), TrainSpec(batch_size=8), 0, open_run(tmp_path, {}), make_fabric("cpu"))


def test_patience_ends_early(tmp_path, toy):
    class Flat(toy.Toy):
        def score(self, model, device):
            return {"auroc": 0.5}

    run = open_run(tmp_path, {})
    fit(Flat(), toy.net(), TrainSpec(epochs=20, batch_size=8, patience=2), 0, run, make_fabric("cpu"))
    assert len(run.read_metrics()) == 3


def test_without_a_score_the_last_epoch_is_kept(tmp_path, toy):
    class Undefined(toy.Toy):
        def score(self, model, device):
            return {"auroc": None}

    run = open_run(tmp_path, {})
    net = toy.net()
    done = fit(Undefined(), net, TrainSpec(epochs=2, batch_size=8, ema=0), 0, run, make_fabric("cpu"))
    assert (done.best, done.best_epoch) == (None, 1)
    kept = load_file(run.model)
    assert all(torch.equal(kept[name], tensor) for name, tensor in net.state_dict().items())


def test_a_checkpoint_of_another_model_is_refused(tmp_path, toy):
    run, _ = _fit(tmp_path, toy)
    with pytest.raises(IntegrityError, match="does not fit this model"):
        fit(toy.Toy(), nn.Linear(3, 2), TrainSpec(batch_size=8), 0, run, make_fabric("cpu"))


def test_another_identity_in_the_same_folder_is_refused(tmp_path):
    open_run(tmp_path, {"seed": 1})
    run = open_run(tmp_path, {"seed": 2})  # nothing was learned yet, so nothing is lost
    assert run.load().seed == 2
    run.checkpoint.parent.mkdir()
    run.checkpoint.touch()
    with pytest.raises(InputError, match="seed was 2 and is 3 now"):
        open_run(tmp_path, {"seed": 3})
    assert open_run(tmp_path, {"seed": 2}).load().seed == 2


def test_the_learning_rate_warms_up_and_falls():
    spec = TrainSpec(epochs=10, warmup_epochs=1, learning_rate=1.0)
    rates = [learning_rate(epoch, spec) for epoch in np.linspace(0, 10, 101)]
    assert rates[5] == pytest.approx(0.5)
    assert max(rates) == pytest.approx(1.0)
    assert np.all(np.diff(rates[10:]) <= 0)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert learning_rate(7, spec.model_copy(update={"schedule": "constant"})) == 1.0
