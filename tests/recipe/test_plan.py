"""The plan that `--dry-run` shows is what `run` does, whatever changed in a recipe."""

import copy
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.recipe.run import intended, of_kind
from dermdistill.recipe.spec import Recipe
from dermdistill.recipe.work import Work
from dermdistill.specs import parse

BASE = {
    "name": "planned",
    "data": {"synthetic": {"images": 60, "size": 32, "seed": 0}},
    "split": {"folds": 4, "seed": 0, "held_out": 0, "validation": 1},
    "teachers": [
        {
            "name": "t",
            "model": "repds",
            "weights": "none",
            "image_size": 32,
            "drop_path_rate": 0,
            "train": {"epochs": 2},
        }
    ],
    "soften": {"views": 2, "seed": 0},
    "students": [
        {"name": "banked", "model": "repds", "weights": "none", "train": {"epochs": 2}},
        {"name": "alone", "model": "repds", "weights": "none", "labels": "none", "loss": {"kind": "ce"}},
        {"name": "online", "model": "repds", "weights": "none", "labels": "online"},
    ],
    "evaluate": {"replicates": 100},
}
EDITS = {
    ("seed",): [0, 1],
    ("data", "synthetic", "images"): [60, 70],
    ("split", "seed"): [0, 1],
    ("split", "held_out"): [0, 2],
    ("teachers", 0, "train", "epochs"): [2, 3],
    ("teachers", 0, "drop_rate"): [0.2, 0.5],
    ("teachers", 0, "seed"): [None, 0, 7],
    ("soften", "views"): [1, 2, 3],
    ("soften", "seed"): [0, 4],
    ("soften", "spec"): [{}, {"rotation": 7}],
    ("students", 0, "train", "epochs"): [2, 4],
    ("students", 0, "symmetries"): [False, True],
    ("students", 0, "loss"): [{}, {"temperature": 5}],
    ("students", 1, "name"): ["alone", "other"],
    ("students", 2, "labels"): ["online", "bank"],
    ("evaluate", "replicates"): [100, 200],
    ("export",): [{}, {"students": ["banked", "online"]}, {"calibration": "beta"}],
}
"""Keys of the recipe, and values that each may take; the first one is the base's."""


def _work(folder, changed=()):
    content = copy.deepcopy(BASE)
    for keys, value in dict(changed).items():
        place = content
        for key in keys[:-1]:
            place = place[key] if isinstance(key, int) else place.setdefault(key, {})
        place[keys[-1]] = value
    return Work(parse(Recipe, content, "recipe"), folder)


edits = st.dictionaries(st.sampled_from(sorted(EDITS, key=str)), st.integers(0, 2), max_size=3).map(
    lambda drawn: {keys: EDITS[keys][number % len(EDITS[keys])] for keys, number in drawn.items()}
)
NAMES = [stage.name for stage, _ in intended(_work(Path("/nowhere")))]
_quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def done(tmp_path, fake):
    """A work folder in which the base recipe was carried out."""
    assert fake.run(_work(tmp_path / "done")) == NAMES
    return tmp_path / "done"


def _files(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@_quick
@given(edits=edits)
@example(edits={("evaluate", "replicates"): 200})
def test_run_does_what_the_plan_says_and_gives_what_a_fresh_run_gives(edits, done, fake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edited")
    shutil.copytree(done, folder / "out")
    work, before = _work(folder / "out", edits), _files(folder / "out")
    plan = intended(work)
    assert _files(folder / "out") == before
    different = [stage for stage, state in plan if state.standing == "differs"]
    if different:
        with pytest.raises(InputError) as error:
            fake.run(work)
        assert fake.ran == []
        assert _files(folder / "out") == before
        for stage, state in plan:
            assert (f"\n  {stage.name}: " in str(error.value)) == (state.standing == "differs")
        fake.run(work, redo=[stage.name for stage in different])
    else:
        assert fake.run(work) == [stage.name for stage, state in plan if state.standing == "to do"]
    assert {state.standing for _, state in intended(work)} == {"done"}
    assert fake.run(work) == []
    fresh = _work(folder / "fresh", edits)
    fake.run(fresh)
    assert fake.results(work) == fake.results(fresh)


@_quick
@given(name=st.sampled_from(NAMES))
def test_what_is_done_again_is_moved_aside_and_so_is_what_depends_on_it(name, done, fake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    shutil.copytree(done, folder / "out")
    work = _work(folder / "out")
    before = fake.results(work)
    to_do = [stage.name for stage, state in intended(work, [name]) if state.standing == "to do"]
    assert name in to_do
    ran = fake.run(work, redo=[name])
    assert set(ran) <= set(to_do)
    assert set(to_do) - set(ran) <= {"soften"}  # it has all that it needs
    assert fake.results(work) == before
    moved = sorted(path.name for path in folder.rglob("*.before-1"))
    kind, _, model = name.partition(" ")
    own = {"data": "manifest.parquet", "split": "splits.json", "soften": "bank", "evaluate": "report"}
    assert f"{own.get(kind, model)}.before-1" in moved
    assert ("alone.before-1" in moved) == (kind in ("data", "split") or name == "distill alone")


@pytest.mark.parametrize("edit", [{("soften", "seed"): 4}, {("soften", "spec"): {"rotation": 7}}])
def test_a_bank_of_other_views_is_never_taken_in_silence(edit, done, fake):
    with pytest.raises(InputError, match=r"soften: (seed was 0 and is 4|spec\.rotation was 180\.0 and is 7\.0) now"):
        fake.run(_work(done, edit), only=of_kind("soften"))
    assert fake.ran == []


def test_plan_and_run_agree_on_splits_of_another_seed(done, fake):
    work = _work(done, {("split", "seed"): 3})
    (state,) = [state for stage, state in intended(work) if stage.name == "split"]
    assert state.standing == "differs"
    with pytest.raises(InputError, match=r"split: split\.seed was 0 and is 3 now\n.*--redo 'split'") as error:
        fake.run(work)
    assert "choose another --out" in str(error.value)


def test_another_fold_held_out_is_another_training(done, fake):
    """Folds of the same size gave the same counts of images, which was all that a run's header told."""
    with pytest.raises(InputError, match=r"teach t: split\.held_out was 0 and is 2 now"):
        fake.run(_work(done, {("split", "held_out"): 2}))


def test_a_manifest_that_was_changed_by_hand_is_noticed(done, fake):
    (done / "manifest.parquet").write_bytes(b"another")
    with pytest.raises(InputError, match=r"data: the file manifest\.parquet was '"):
        fake.run(_work(done))


def test_one_stage_is_carried_out_alone_once_it_can_be(tmp_path, fake):
    work = _work(tmp_path)
    with pytest.raises(InputError, match=r"'soften' needs 'teach t' first: .*`dermdistill teach RECIPE` this one"):
        fake.run(work, only=of_kind("soften"))
    assert fake.run(work, only=of_kind("teach", "t")) == ["teach t"]
    assert fake.run(work, only=of_kind("soften")) == ["soften"]
    assert fake.run(work, only=of_kind("distill", "banked")) == ["distill banked"]


def test_a_stage_that_is_not_there_is_told_those_that_are(done, fake):
    told = r"no stage is called 'taech t'; did you mean 'teach t'\? There are data, split, teach t, soften"
    with pytest.raises(InputError, match=told):
        fake.run(_work(done), redo=["taech t"])


def test_the_identity_has_a_hash_once_all_is_there_that_it_rests_on(tmp_path, fake):
    work = _work(tmp_path)
    hashes = {stage.name: stage.sha256 for stage, _ in intended(work)}
    assert hashes["teach t"] is None
    fake.run(work)
    hashes = {stage.name: stage.sha256 for stage, _ in intended(work)}
    assert all(len(value) == 64 for value in hashes.values())
    others = {stage.name: stage.sha256 for stage, _ in intended(_work(tmp_path, {("teachers", 0, "drop_rate"): 0.5}))}
    assert [name for name in NAMES if hashes[name] != others[name]] == ["teach t"]


def test_status_reads_the_recipe_from_the_work_folder(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('name = "r"\n[data]\nsynthetic = {}\n[[teachers]]\nname = "t"\n[[students]]\nname = "s"\n')
    (tmp_path / "out").mkdir()
    nothing = CliRunner().invoke(app, ["status", str(tmp_path / "out")])
    assert isinstance(nothing.exception, InputError)
    assert "has no recipe.toml" in str(nothing.exception)
    shutil.copy(recipe, tmp_path / "out" / "recipe.toml")
    for argument in (tmp_path / "out", recipe):
        shown = CliRunner().invoke(app, ["status", str(argument)], catch_exceptions=False)
        assert shown.exit_code == 0
        assert "distill s" in shown.output
        assert shown.output.count("to do") == 7
