"""Rows end to end on tiny images: what is shared, what is skipped, what goes on after a kill, what is told."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dermdistill.errors import DermdistillError, InputError
from dermdistill.khan2022 import study as study_module
from dermdistill.khan2022.drawing import curves, standalone
from dermdistill.khan2022.grid import mean_sd
from dermdistill.khan2022.markdown import grids
from dermdistill.khan2022.recipe import PoolSpec, Row, Settings, TimingSpec, TrainingSpec, named_rows, timed_systems
from dermdistill.khan2022.report import page, sweeps, write_report
from dermdistill.khan2022.study import Study, run_row, targets_of, teacher_of
from dermdistill.khan2022.tables import contents, differences
from dermdistill.khan2022.timing import measure_timing
from dermdistill.run import Run

TINY = Settings(
    name="tiny", image_size=24, weights="none", teacher="dsnet", students=("dsnet",), temperatures=(2.0, 10.0),
    batch_sizes=(16, 64), teaching=TrainingSpec(optimizer="adam", learning_rate=1e-3, epochs=2, batch_size=16),
    student=TrainingSpec(optimizer="adadelta", learning_rate=1.0, epochs=2, batch_size=16),
    pool=PoolSpec(train_benign=40, train_malignant=40, test_benign=15, test_malignant=15),
)  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study of 120 images with a few rows done, and what was said."""
    from dermdistill.training.loop import make_fabric

    torch.set_num_threads(1)
    said = []
    study = Study(TINY, _pool(), tmp_path_factory.mktemp("study"), make_fabric("cpu"), said.append)
    for name in ("corrected", "as-published", "no-distillation", "last-epoch"):
        run_row(study, _row(name), 0)
    return study, said


def _pool(size=24):
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("paper_conftest", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pool_of(size=size)


def _row(name, protocol="corrected") -> Row:
    return named_rows([name], ["2", "temperature", "batch", "ablation"], TINY, protocol)[0]


def _count(study):
    return sorted(path.name for path in (study.folder / "runs").iterdir())


def test_a_row_leaves_its_results_and_no_optimiser(done):
    study, _ = done
    run = study.run(_row("corrected"), 0)
    assert run.is_complete()
    names = {path.name for path in run.folder.iterdir()} - {"last.safetensors"}  # it is there if the best is another
    assert names == {"run.json", "metrics.jsonl", "model.safetensors", "result-best.json"}
    found = study.result(_row("corrected"), 0)
    assert found["parameters"] == found["keras_parameters"] == sum(p.numel() for p in load_file(run.model).values())
    assert found["macs"] > 0
    assert [line["epoch"] for line in found["history"]] == [0, 1]
    assert {"loss", "accuracy", "validation_loss", "train_accuracy"} <= set(found["history"][0])
    assert found["training_seconds"] > 0
    assert found["test"]["n"] == 30
    assert found["initial_weights"] == "none"


def test_the_same_training_is_done_once(done):
    study, said = done
    before, lines = _count(study), len(said)
    for name in ("dsnet-distilled", "temperature-10", "batch-16", "corrected"):
        assert run_row(study, _row(name), 0)["run"] == study.run(_row("corrected"), 0).folder.name
    assert (_count(study), len(said)) == (before, lines)


@pytest.mark.parametrize("best_first", [True, False])
def test_the_last_and_the_best_epochs_weights_are_both_there(done, tmp_path, monkeypatch, best_first):
    study, _ = done
    other = Study(TINY, study.pool, tmp_path, study.fabric, lambda line: None)
    row, scored = _row("no-distillation"), []

    def score(self, model, device):
        scored.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"auroc": 0.5 - 0.1 * len(scored) if best_first else 0.1 * len(scored)}

    monkeypatch.setattr(study_module.PaperTask, "score", score)
    study_module._train(other, row, 0)
    kept = {which: study_module.trained(other, row, 0, which).state_dict() for which in ("best", "last")}
    for which, expected in (("best", scored[0 if best_first else 1]), ("last", scored[1])):
        assert all(torch.equal(value, expected[name]) for name, value in kept[which].items())
    assert (other.run(row, 0).folder / "last.safetensors").exists() == best_first


def test_a_published_row_keeps_the_last_epoch(done):
    study, _ = done
    assert (study.run(_row("as-published"), 0).folder / "result-last.json").exists()
    assert study.result(_row("as-published"), 0)["kept"] == "last"
    assert study.result(_row("corrected"), 0)["kept"] == "best"


def test_the_faults_show_in_the_figures(done):
    study, _ = done
    right, wrong = (study.result(_row(name), 0) for name in ("corrected", "as-published"))
    training = study.division(_row("as-published"), 0).train
    assert right["distillation"]["mass"]["mean"] == pytest.approx(1)
    assert wrong["distillation"]["mass"]["mean"] == pytest.approx(1 / len(training))
    assert 0.2689 <= wrong["test"]["output_range"][0] <= wrong["test"]["output_range"][1] <= 0.7311
    assert wrong["distillation"]["share"]["gradient"] < 0.05 < right["distillation"]["share"]["gradient"]
    assert right["images"]["test_seen_in_training"] == 0 < wrong["images"]["test_seen_in_training"]
    assert "distillation" not in study.result(_row("no-distillation"), 0)


def test_the_teacher_has_its_own_faults_and_its_last_epoch_may_teach(done):
    study, _ = done
    row, last = _row("corrected"), _row("last-epoch")
    assert study.run(teacher_of(row, TINY), 0).folder == study.run(teacher_of(last, TINY), 0).folder
    folder = study.run(teacher_of(row, TINY), 0).folder
    best, final = (load_file(folder / f"logits-{which}.safetensors")["train"] for which in ("best", "last"))
    assert best.shape == (len(study.division(row, 0).train), 2)
    assert torch.allclose(targets_of(study, row, 0), (best / 10).softmax(1), atol=1e-6)
    assert torch.allclose(targets_of(study, last, 0), (final / 10).softmax(1), atol=1e-6)
    assert teacher_of(_row("as-published"), TINY).faults.no_normalisation


def test_the_teacher_is_left_as_it_is(done):
    study, _ = done
    folder = study.run(teacher_of(_row("corrected"), TINY), 0).folder
    before = (folder / "model.safetensors").read_bytes()
    run_row(study, _row("temperature-2"), 0)
    assert (folder / "model.safetensors").read_bytes() == before
    assert Run(folder).weights()


def test_a_killed_row_goes_on_and_ends_with_the_same_weights(done, tmp_path, monkeypatch):
    study, _ = done
    cut = Study(TINY, study.pool, tmp_path, study.fabric, lambda line: None)
    row = _row("no-distillation")
    batch, seen = study_module.PaperTask.batch, []

    def broken(self, rows, epoch, device):
        seen.append(epoch)
        if epoch == 1:
            raise KeyboardInterrupt
        return batch(self, rows, epoch, device)

    with monkeypatch.context() as patch:
        patch.setattr(study_module.PaperTask, "batch", broken)
        with pytest.raises(KeyboardInterrupt):
            run_row(cut, row, 0)
    assert cut.result(row, 0) is None
    assert cut.run(row, 0).checkpoint.exists()
    epochs = []
    monkeypatch.setattr(
        study_module.PaperTask, "batch", lambda self, rows, epoch, device: (
            epochs.append(epoch), batch(self, rows, epoch, device))[1],
    )  # fmt: skip
    found = run_row(cut, row, 0)
    assert set(epochs) == {1}
    whole = study.result(row, 0)
    assert found["test"] == whole["test"]
    for which in ("best", "last"):
        one, other = (study_module.trained(s, row, 0, which).state_dict() for s in (cut, study))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_row_that_diverges_is_told_and_stops_nothing(done, tmp_path, monkeypatch):
    study, _ = done
    said = []
    other = Study(TINY, study.pool, tmp_path, study.fabric, said.append)

    def diverge(*arguments, **options):
        raise DermdistillError("the loss became nan")

    monkeypatch.setattr(study_module, "fit", diverge)
    found = run_row(other, _row("corrected"), 0)
    assert found["failed"] == "its teacher failed: the loss became nan"
    assert any("failed, the loss became nan" in line for line in said)
    monkeypatch.undo()
    assert run_row(other, _row("corrected"), 0) == found, "until its folder is removed"
    assert "test" in run_row(other, _row("no-distillation"), 0)
    report = contents(other)
    ablation = next(grid for grid in grids(report) if grid.title.startswith("Ablation"))
    assert any("the loss became nan" in note for note in ablation.notes)


def test_another_seed_is_another_division_and_the_spread_is_told(done):
    study, _ = done
    run_row(study, _row("no-distillation"), 1)
    assert study.division(_row("corrected"), 0).test.tolist() != study.division(_row("corrected"), 1).test.tolist()
    (entry,) = [one for one in contents(study)["tables"]["ablation"] if one["name"] == "no-distillation"]
    values = [study.result(_row("no-distillation"), seed)["test"]["accuracy"]["value"] for seed in (0, 1)]
    assert entry["summary"]["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert entry["summary"]["accuracy"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert entry["to_do"] == 1
    assert mean_sd(entry["summary"]["accuracy"]).endswith("(2)")


def test_differences_are_paired_by_seed():
    def entry(name, values):
        seeds = [{"seed": seed, "test": {"accuracy": {"value": value}}} for seed, value in values.items()]
        return {"name": name, "seeds": seeds}

    found = differences([entry("corrected", {0: 0.5, 1: 0.9}), entry("x", {0: 0.6, 1: 0.8, 2: 1.0})])
    assert found["x"]["n"] == 2
    assert found["x"]["mean"] == pytest.approx(0.0)
    assert found["x"]["sd"] == pytest.approx(np.std([0.1, -0.1], ddof=1))
    assert differences([entry("x", {0: 0.6})]) == {}


def test_the_report_has_the_published_number_beside_ours(done):
    study, _ = done
    for name in ("temperature-2", "temperature-10"):
        run_row(study, _row(name), 0)
    report = write_report(study)
    stored = json.loads((study.folder / "report.json").read_text())
    assert stored["tables"]["2"][0]["published_accuracy"] == report["tables"]["2"][0]["published_accuracy"]
    text = (study.folder / "report.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| temperature-10 ")]
    accuracy = study.result(_row("corrected"), 0)["test"]["accuracy"]["value"]
    assert "| 0.9173 |" in line
    assert f"| {accuracy:.3f} |" in line
    assert "23,600,002" in text
    assert "42,670,466" in text
    choice = report["choices"]["temperature"]["corrected"]
    assert choice["gain"] >= 0
    assert report["choices"]["temperature"]["as-published"] is None
    html = (study.folder / "report.html").read_text()
    assert_artefacts(html, study.result(_row("corrected"), 0))
    table, why = (text.split(f"\n## {title}\n")[1].split("\n## ")[0]
                  for title in ("Table 2", "Why our accuracies differ from the published ones"))  # fmt: skip
    cells = line_of(table, "dsnet-distilled")
    found = study.result(_row("corrected"), 0)
    assert cells[2:7] == ["268,898", f"{found['parameters']:,}", "340", f"{found['training_seconds']:.0f}", "2.57"]
    assert cells[8] == "0.917"
    assert cells[10] == f"{accuracy:.3f}"
    assert cells[11] == "{value:.3f} [{low:.3f}, {high:.3f}]".format(**found["test"]["auroc"])
    assert cells[12:] == [f"{found['macs'] / 1e6:.0f}", f"{found['fp32_bytes'] / 1e6:.1f}"]
    gap, reasons = line_of(why, "dsnet-distilled")[3:]
    assert gap == f"{accuracy - 0.917:+.3f}"
    count = found["images"]["train_benign"] + found["images"]["train_malignant"]
    assert reasons == (
        f"24 px, not 224; {count} training images, not 5,596; 2 epochs, not 20; taught by DSNet, not ResNet-50; "
        "corrected: no lesion stands on both sides of the division"
    )
    assert html == page(report)
    assert html.count("<details>") == html.count("accuracy and loss by epoch</title>") > 4
    assert "SYNTHETIC" not in html
    report["data"]["synthetic"] = True
    assert "SYNTHETIC IMAGES" in page(report)


def line_of(text, name):
    """The cells of a table's line."""
    return next([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
                if line.startswith(f"| {name} |"))  # fmt: skip


def test_a_sweep_is_drawn_as_published_and_corrected_side_by_side(done):
    study, _ = done
    run_row(study, _row("temperature-2"), 0)
    report = contents(study)
    drawn = sweeps(report)["temperature"]
    mean = next(entry for entry in report["tables"]["temperature"]
                if (entry["name"], entry["protocol"]) == ("temperature-2", "corrected"))["summary"]  # fmt: skip
    panels = drawn.split("<g transform=")[1:]
    assert [">as-published</text>" in panels[0], ">corrected</text>" in panels[1]] == [True, True]
    assert all(f">{value}</text>" in panel for panel in panels for value in (2, 10))
    heights = [float(y) for y in re.findall(r'<circle cx="34.0" cy="([\d.]+)"', panels[1])]
    low = int(10 * min(mean["accuracy"]["mean"], mean["auroc"]["mean"], *_all_means(report))) / 10
    expected = [6 + 180 * (1 - (mean[key]["mean"] - low) / (1 - low)) for key in ("accuracy", "auroc")]
    assert heights == pytest.approx(expected, abs=0.06)
    file = standalone(drawn)
    assert ElementTree.fromstring(file).tag == "{http://www.w3.org/2000/svg}svg"
    assert "currentColor" not in file
    assert "<h2>Sweeps</h2>" in page(report)
    assert drawn in page(report)


def test_a_loss_of_another_scale_has_a_panel_of_its_own():
    def drawn(loss):
        history = [{"epoch": number, "loss": loss - number, "validation_loss": 0.7, "train_accuracy": 0.5,
                    "accuracy": 0.6} for number in range(3)]  # fmt: skip
        return curves(history, "row").split("<g transform=")[1:]

    alone, distilled = drawn(2.0), drawn(63.0)
    assert [part.count("<polyline") for part in alone] == [2, 2]
    assert [part.count("<polyline") for part in distilled] == [2, 1, 1]
    assert ">loss, with the soft term</text>" in distilled[1]
    assert ["<title>training</title>" in part for part in distilled] == [True, True, False]
    assert 'stroke-dasharray="6 3"' in distilled[2], "validation looks the same in every panel"


def _all_means(report):
    every = [
        entry["summary"][key]["mean"] for entry in report["tables"]["temperature"] for key in ("accuracy", "auroc")
    ]
    known = [entry["published_accuracy"] for entry in report["tables"]["temperature"]]
    return [value for value in (*every, *known) if value is not None]


def assert_artefacts(html, found):
    """What the paper shows of a run stands in the page: report by class, confusion, AUROC, seconds, curves, ROC."""
    (part,) = [part for part in html.split("<details>") if "Ablation: corrected:" in part]
    for number, (name, figures) in enumerate(found["test"]["report"].items()):
        row = part.split(f"<td>{name}</td>")[1].split("</tr>")[0]
        told_of = [f"{figures[key]:.3f}" if figures[key] is not None else "undefined"
                   for key in ("precision", "recall", "f1-score")]  # fmt: skip
        cells = [*told_of, int(figures["support"]), *found["test"]["confusion"][number]]
        assert re.findall(r"<td>(.*?)</td>", row) == [str(cell) for cell in cells]
    assert f"AUROC {found['test']['auroc']['value']:.3f}" in part
    assert f"training {found['training_seconds']:.0f} s" in part
    for series in ("training", "validation"):
        assert part.count(f"<title>{series}</title>") == 2, "accuracy and loss"
    rocs = html.split("<h2>ROC curves</h2>")[1].split("<h2>")[0]
    assert "<title>Ablation: ROC curves</title>" in rocs
    assert "<title>as-published</title>" in rocs


def test_every_system_is_timed_on_the_same_images_in_one_run(make_pool, tmp_path):
    pool = make_pool(size=32)
    device = torch.device("cpu")
    spec = TINY.timing.model_copy(update={"images": 10, "batch_size": 4, "repeats": 1})
    both = {"dsnet": ("dsnet", 32), "mobilenet": ("mobilenet", 32)}
    reads = pool.pixels.reads
    found = measure_timing(pool, both, 32, spec, device, tmp_path / "timing.json")
    assert pool.pixels.reads - reads == 4, "three batches and one to warm up, whatever the number of systems"
    dsnet, mobilenet = found["systems"]["dsnet"], found["systems"]["mobilenet"]
    assert dsnet["forward_ratio"] == dsnet["with_decoding_ratio"] == 1
    assert mobilenet["forward_ratio"] == pytest.approx(mobilenet["forward_seconds"] / dsnet["forward_seconds"])
    extra = mobilenet["with_decoding_seconds"] - mobilenet["forward_seconds"]
    assert extra == pytest.approx(found["decode_seconds"])
    assert found["for_images"] == 3000
    again = measure_timing(pool, both, 32, spec, device, tmp_path / "timing.json")
    assert again == found
    assert measure_timing(pool, {"dsnet": ("dsnet", 32)}, 32, spec, device, tmp_path / "timing.json") != found


def test_a_system_has_rows_at_a_further_size_with_a_teacher_of_that_size(done, tmp_path):
    study, _ = done
    settings = TINY.model_copy(update={"also_at": {"dsnet": (32,)}, "timing": TimingSpec(images=4, batch_size=4)})
    opened = []

    def open_at(size):
        opened.append(size)
        return replace(_pool(size), sha256=study.pool.sha256)

    larger = Study(settings, study.pool, tmp_path, study.fabric, lambda line: None, open_at)
    rows = named_rows(["teacher-32", "dsnet-distilled-32", "dsnet-alone-32"], ["2"], settings, "corrected")
    assert [row.image_size for row in rows] == [32, 32, 32]
    for row in rows:
        run_row(larger, row, 0)
    assert opened == [32], "the images are opened once"
    assert len(_count(larger)) == 3, "the teacher's row is the teacher of the distilled one"
    entries = {entry["name"]: entry for entry in write_report(larger)["tables"]["2"] if entry["seeds"]}
    assert {name: entry["image_size"] for name, entry in entries.items()} == {row.name: 32 for row in rows}
    usual = run_row(larger, named_rows(["dsnet-alone"], ["2"], settings, "corrected")[0], 0)
    assert usual["macs"] < entries["dsnet-alone-32"]["seeds"][0]["macs"]
    timing = measure_timing(
        study.pool, timed_systems(settings), 24, settings.timing, torch.device("cpu"), tmp_path / "t"
    )
    assert {name: found["image_size"] for name, found in timing["systems"].items()} == {"dsnet": 24, "dsnet-32": 32}
    alone = Study(settings, study.pool, tmp_path / "alone", study.fabric, lambda line: None)
    with pytest.raises(InputError, match="24 px only, not 32"):
        run_row(alone, rows[0], 0)
