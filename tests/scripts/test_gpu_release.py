"""Pack, train elsewhere and bring back: what the GPU scripts do, on the CPU with 60 generated images."""

import importlib
import json
import multiprocessing
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from dermdistill.data.manifest import manifest_hash, read_manifest, write_manifest
from dermdistill.data.splits import make_splits, write_splits
from dermdistill.data.synthetic.generate import generate
from dermdistill.errors import InputError
from dermdistill.recipe.pack import Coding, code_image, unpack, write_pack
from dermdistill.recipe.spec import load_recipe
from dermdistill.run import Run

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
RECIPE = """
name = "tiny"
[data]
synthetic = { images = 60, size = 48 }
[split]
scheme = "cross"
folds = 3
tested = [0]
[[teachers]]
name = "teacher"
model = "repds"
image_size = 40
drop_path_rate = 0.0
weights = "none"
train = { epochs = 1, batch_size = 16, epoch_of = "lesion" }
[soften]
views = 2
turns = 2
[[students]]
name = "student"
model = "repds"
image_size = 32
weights = "none"
symmetries = true
train = { epochs = 2, batch_size = 16, epoch_of = "lesion" }
[[students]]
name = "alone"
model = "repds"
image_size = 32
weights = "none"
labels = "none"
symmetries = true
loss = { kind = "ce" }
train = { epochs = 2, batch_size = 16, epoch_of = "lesion" }
"""


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("gpu_pack"), importlib.import_module("gpu_release")
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def packed(tmp_path_factory, scripts):
    """A folder with work/ (manifest and splits), pack/ in several parts, and tiny.toml."""
    folder = tmp_path_factory.mktemp("packed")
    manifest = generate(folder / "work", n=60, size=48, seed=0)
    write_splits(make_splits(manifest, 3), folder / "work" / "splits.json")
    (folder / "tiny.toml").write_text(RECIPE)
    assert scripts[0].main([str(folder / "work"), str(folder / "pack"), "--size", "40", "--part-mib", "0.025"]) == 0
    return folder


def _release(scripts, packed, state, *options):
    command = [str(packed / "tiny.toml"), "--pack", str(packed / "pack"), "--state", str(state), "--accelerator", "cpu"]
    return scripts[1].main([*command, "--out", str(state / "out"), "--no-final", *options])


@pytest.fixture(scope="module")
def released(tmp_path_factory, scripts, packed):
    state = tmp_path_factory.mktemp("released")
    assert _release(scripts, packed, state, "--jobs", "0") == 0
    return state


def test_parts_are_small_and_keep_what_identifies_the_images(packed, tmp_path):
    parts = sorted((packed / "pack").glob("part-*.zip"))
    assert len(parts) > 2
    assert all(path.stat().st_size <= 0.025 * 2**20 for path in parts)
    facts = unpack(packed / "pack", tmp_path)
    original, arrived = (
        read_manifest(packed / "work" / "manifest.parquet"),
        read_manifest(tmp_path / "manifest.parquet"),
    )
    assert manifest_hash(arrived) == manifest_hash(original) == facts["manifest_sha256"]
    assert list(arrived["collection"].fillna("")) == list(original["collection"].fillna(""))
    assert facts["images"] == 60


def test_parts_may_come_one_after_the_other(packed, tmp_path):
    parts = sorted((packed / "pack").glob("part-*.zip"))
    for path in parts[:-1]:
        (tmp_path / path.stem).mkdir()
        (tmp_path / path.stem / path.name).write_bytes(path.read_bytes())
        with pytest.raises(InputError, match="lacks the last part"):
            unpack(tmp_path / path.stem, tmp_path / "state")
    assert unpack(packed / "pack", tmp_path / "state")["images"] == 60
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / parts[-1].name).write_bytes(parts[-1].read_bytes())
    with pytest.raises(InputError, match=r"of 60 images are still to come.*so far part-"):
        unpack(tmp_path / "last", tmp_path / "other")


def test_an_image_that_is_small_already_is_taken_as_it_is(tmp_path, picture):
    small, large = tmp_path / "small.jpg", tmp_path / "large.png"
    picture(0, 64).save(small, quality=10)
    picture(0, 96).save(large)
    assert code_image(small, Coding(size=64)) == ("jpg", small.read_bytes())
    suffix, content = code_image(large, Coding(size=64, format="JPEG"))
    (tmp_path / f"made.{suffix}").write_bytes(content)
    from PIL import Image

    assert Image.open(tmp_path / "made.jpg").size == (64, 64)


def test_a_copy_that_was_changed_is_set_aside(packed, tmp_path):
    from dermdistill.images.cache import open_cache

    unpack(packed / "pack", tmp_path)
    manifest = read_manifest(tmp_path / "manifest.parquet")
    assert open_cache(manifest, 32, tmp_path / "whole").set_aside == {}
    damaged, other = (Path(path) for path in manifest["path"][:2])
    damaged.write_bytes(other.read_bytes())
    assert list(open_cache(manifest, 32, tmp_path / "other").set_aside) == [manifest["sha256"][0]]


def test_a_file_larger_than_a_part_is_refused(packed, tmp_path):
    with pytest.raises(InputError, match="allow larger"):
        write_pack(packed / "work", tmp_path, part_mib=0.001)


def test_trainings_come_back_with_predictions_and_hashes(released, packed):
    summary = json.loads((released / "out" / "summary.json").read_text())["tiny"]
    manifest = read_manifest(packed / "work" / "manifest.parquet")
    runs = ["fold-0/students/alone", "fold-0/students/student", "fold-0/teachers/teacher"]
    assert sorted(summary) == runs
    assert all(entry["tested"] and 0 <= entry["auroc"] <= 1 for entry in summary.values())
    assert {entry["inputs"]["manifest"] for entry in summary.values()} == {manifest_hash(manifest)}
    names = [name for path in sorted((released / "out").glob("*.zip")) for name in zipfile.ZipFile(path).namelist()]
    assert {
        f"tiny/{run}/{file}" for run in runs for file in ("model.safetensors", "predictions.parquet", "run.json")
    } <= {*names}
    assert not any("checkpoint" in name for name in names)


def test_the_students_learned_from_the_rounded_teacher(released):
    teacher, student = (Run(released / "tiny" / "fold-0" / part) for part in ("teachers/teacher", "students/student"))
    weights = load_file(teacher.weights())
    assert {tensor.dtype for tensor in weights.values() if tensor.ndim > 1} == {torch.float16}
    assert student.load().taught_by[0].model_sha256 == teacher.load().model_sha256
    assert teacher.load().rounded == "float16"


def test_several_calls_end_with_the_same_predictions_as_one(released, scripts, packed, tmp_path):
    assert _release(scripts, packed, tmp_path, "--jobs", "0", "--minutes", "0") == 0
    assert not list(tmp_path.glob("tiny/**/run.json"))
    for stage in ("teach", "soften", "distill"):
        assert _release(scripts, packed, tmp_path, "--jobs", "0", "--stage", stage) == 0
    for run in ("teachers/teacher", "students/student", "students/alone"):
        one, several = (Run(state / "tiny" / "fold-0" / run) for state in (released, tmp_path))
        pd.testing.assert_frame_equal(pd.read_parquet(one.predictions), pd.read_parquet(several.predictions))


def test_the_runs_are_those_of_the_work_folder_that_was_packed(released, packed, tmp_path):
    from dermdistill.data.spec import DataSpec
    from dermdistill.recipe.plan import plan
    from dermdistill.recipe.work import Work

    for path in sorted((released / "out").glob("*.zip")):
        zipfile.ZipFile(path).extractall(tmp_path)
    for name in ("manifest.parquet", "splits.json"):
        (tmp_path / "tiny" / name).write_bytes((packed / "work" / name).read_bytes())
    recipe = load_recipe(packed / "tiny.toml")
    recipe = recipe.model_copy(update={"data": DataSpec(manifest=str(packed / "work" / "manifest.parquet"))})
    states = {stage.name: stage.look().standing for stage in plan(Work(recipe, tmp_path / "tiny"))}
    assert {name: state for name, state in states.items() if name.startswith(("teach", "soften", "distill"))} == {
        "teach teacher (fold-0)": "done", "soften (fold-0)": "done",
        "distill student (fold-0)": "done", "distill alone (fold-0)": "done",
    }  # fmt: skip


def test_the_rows_of_an_ablation_become_a_table(scripts, tmp_path):
    manifest = generate(tmp_path / "work", n=90, size=32, seed=0)
    manifest["collection"] = [f"camera {row % 2}" for row in range(90)]
    write_manifest(manifest, tmp_path / "work" / "manifest.parquet")
    write_splits(make_splits(manifest, 3), tmp_path / "work" / "splits.json")
    student = """
[[students]]
name = "seed-{0}"
seed = {0}
model = "repds"
image_size = 32
weights = "none"
labels = "none"
loss = {{ kind = "ce" }}
train = {{ epochs = 1, batch_size = 16 }}
"""
    head = """
name = "views"
[data]
synthetic = { images = 90, size = 32 }
[split]
scheme = "collections"
folds = 3
tested = ["camera 0", "camera 1"]
[soften]
views = 2
"""
    (tmp_path / "views.toml").write_text(head + student.format(0) + student.format(1))
    assert scripts[0].main([str(tmp_path / "work"), str(tmp_path / "pack")]) == 0
    command = [str(tmp_path / "views.toml"), "--ablation", "--rows", "sharpness", "--jobs", "0", "--accelerator", "cpu"]
    places = ["--pack", str(tmp_path / "pack"), "--state", str(tmp_path / "state"), "--out", str(tmp_path / "out")]
    assert scripts[1].main([*command, *places]) == 0
    found = json.loads((tmp_path / "out" / "views.json").read_text())
    assert list(found["rows"]) == ["base", "sharpness"]
    assert found["left_out"] == ["without-camera-0", "without-camera-1"]
    assert found["images"] == 90
    names = [name for path in (tmp_path / "out").glob("*.zip") for name in zipfile.ZipFile(path).namelist()]
    assert len([name for name in names if name.endswith("predictions.parquet")]) == 2 * 2 * 2
    assert not any(name.endswith("safetensors") for name in names)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="forks")
def test_processes_side_by_side_give_the_same(released, scripts, packed, tmp_path, monkeypatch):
    """In processes that get their job pickled, as those that are spawned do, but import torch once for all."""
    quick = multiprocessing.get_context("forkserver")
    quick.set_forkserver_preload(["dermdistill.publish.ablation", "dermdistill.recipe.run"])
    asked = []
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: (asked.append(method), quick)[1])
    assert _release(scripts, packed, tmp_path, "--jobs", "2") == 0
    one, other = (Run(state / "tiny" / "fold-0" / "students" / "student") for state in (released, tmp_path))
    pd.testing.assert_frame_equal(pd.read_parquet(one.predictions), pd.read_parquet(other.predictions), atol=1e-4)
    assert asked == ["spawn"]
    names = ("teach_teacher", "soften", "distill_student", "distill_alone")
    assert {path.stem for path in (tmp_path / "tiny" / "logs").iterdir()} == {f"{name}_(fold-0)" for name in names}
