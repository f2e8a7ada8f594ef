"""A run that was made before a key existed is still the same run."""

import json
from pathlib import Path

import pandas as pd
import pytest

from dermdistill.distillation.identity import Origin, in_todays_form, student_identity, teacher_identity
from dermdistill.distillation.spec import SoftenSpec, StudentSpec, TeacherSpec, complete
from dermdistill.errors import InputError, IntegrityError
from dermdistill.evaluate.analyses.seeds import of_one_recipe
from dermdistill.evaluate.predictions import ModelPredictions, Provenance
from dermdistill.files import read_json, sha256_json, write_json
from dermdistill.images.view_spec import RENDER_VERSION
from dermdistill.recipe.state import marked_state, run_state
from dermdistill.run import UNKNOWN, Run, changes, open_run

RESULTS = Path(__file__).resolve().parents[2] / "results"


def _recipe(stage, **train):
    train = {"epochs": 2, **train}
    if stage == "teacher":
        return TeacherSpec(name="a", train=train).model_dump(mode="json")
    views = SoftenSpec().model_dump(mode="json")
    return {**StudentSpec(name="a", train=train).model_dump(mode="json"), "views": views}


def _older(recipe):
    """As it was written before these keys existed."""
    older = json.loads(json.dumps(recipe))
    del older["train"]["epoch_of"], older["train"]["clip"]
    return older


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_a_recipe_that_lacks_a_key_matches_one_that_has_its_default(stage, tmp_path):
    recipe, other = _recipe(stage), _recipe(stage, epoch_of="lesion")
    run = open_run(tmp_path, {"stage": stage, "seed": 0, "recipe": _older(recipe)})
    run.checkpoint.parent.mkdir()
    run.checkpoint.touch()
    same = {"stage": stage, "seed": 0, "recipe": recipe}
    assert open_run(tmp_path, same, older=in_todays_form).load().recipe == _older(recipe)
    assert run_state(tmp_path, same).standing == "to do"
    assert run_state(tmp_path, {**same, "recipe": other}).standing == "differs"
    assert [change.key for change in run_state(tmp_path, {**same, "seed": 1}).changes] == ["seed"]
    with pytest.raises(InputError, match=r"recipe\.train\.epoch_of was 'image' and is 'lesion' now"):
        open_run(tmp_path, {**same, "recipe": other}, older=in_todays_form)


def test_seeds_of_an_older_and_a_newer_run_are_of_one_recipe():
    recipe = _recipe("student")
    models = {
        str(seed): ModelPredictions((), pd.DataFrame(), Provenance(stage="student", seed=seed), asked)
        for seed, asked in enumerate([_older(recipe), recipe])
    }
    assert of_one_recipe(models) == [["0", "1"]]


def test_what_is_no_recipe_of_ours_stays_as_it_is():
    assert complete("paper", {"epochs": 2}) == {"epochs": 2}
    assert complete("teacher", {"name": "a", "gone": 1}) == {"name": "a", "gone": 1}


def test_published_runs_are_read_by_the_specs():
    """No published header has a key that the specs no longer know."""
    paths = sorted(RESULTS.glob("*/runs/**/run.json"))
    assert paths
    for path in paths:
        header = Run(path.parent).trained()
        assert header.plain() == read_json(path), "nothing of it is lost"
        whole = complete(header.stage, header.recipe)
        assert whole["train"]["epoch_of"] == header.recipe["train"].get("epoch_of", "image")
        assert complete(header.stage, whole) == whole


def test_published_runs_differ_from_todays_in_how_views_were_rendered_alone():
    """They are read, compared key by key, and told apart by the one thing that may have changed since."""
    for path in sorted(RESULTS.glob("*/runs/**/run.json")):
        run = Run(path.parent)
        header, recipe = run.trained(), dict(run.load().recipe)
        origin = Origin(header.inputs.manifest, header.inputs.splits, run.load().plain().get("split"))
        if header.stage == "teacher":
            identity = teacher_identity(TeacherSpec.model_validate(recipe), origin, header.seed)
        else:
            views = SoftenSpec.model_validate(recipe.pop("views"))
            teachers = [teacher.model_sha256 for teacher in header.taught_by] or [UNKNOWN]
            identity = student_identity(StudentSpec.model_validate(recipe), views, origin, header.seed, teachers)
        expected = [] if run.load().plain().get("render") == RENDER_VERSION else ["render"]
        assert [change.key for change in changes(in_todays_form(run.load()), identity)] == expected, path


def test_a_header_without_a_status_is_told_in_a_line(tmp_path):
    (tmp_path / "run.json").write_text('{"format": "dermdistill-run/1", "stage": "teacher"}')
    with pytest.raises(
        IntegrityError, match=r"run\.json is damaged:\n  status: Field required\nmake it again"
    ) as error:
        Run(tmp_path).is_complete()
    assert error.value.exit_code == 2


def test_what_an_earlier_version_noted_of_a_stage_still_counts(tmp_path):
    """It noted the hash of the values alone."""
    identity = {"data": {"synthetic": {"images": 60}}, "manifest": None}
    (tmp_path / "manifest.parquet").touch()
    marker = {"stage": "data", "identity": sha256_json([identity["data"], None])}
    write_json(tmp_path / "stages" / "data.json", marker)

    def state(asked):
        return marked_state(tmp_path, "data", asked, tmp_path / "manifest.parquet", remade=False)

    assert state(identity).standing == "done"
    changed = state({**identity, "data": {"synthetic": {"images": 70}}})
    assert (changed.standing, [change.key for change in changed.changes]) == ("differs", ["data"])
