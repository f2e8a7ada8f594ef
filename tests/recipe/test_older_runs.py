"""A run that was made before a key existed is still the same run."""

import json
from pathlib import Path

import pandas as pd
import pytest
from dermdistill.recipe.stages import _run_state

from dermdistill.distillation.spec import SoftenSpec, StudentSpec, TeacherSpec, complete
from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.seeds import of_one_recipe
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.run import Run, open_run

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
    assert open_run(tmp_path, {"stage": stage, "seed": 0, "recipe": recipe}).header()["recipe"] == _older(recipe)
    assert _run_state(tmp_path, 0, recipe) == "to do"
    assert _run_state(tmp_path, 0, other) == "differs"
    assert _run_state(tmp_path, 1, recipe) == "differs"
    with pytest.raises(InputError, match="recipe differ"):
        open_run(tmp_path, {"stage": stage, "seed": 0, "recipe": other})


def test_seeds_of_an_older_and_a_newer_run_are_of_one_recipe():
    recipe = _recipe("student")
    headers = [
        {"stage": "student", "seed": 0, "recipe": _older(recipe)},
        {"stage": "student", "seed": 1, "recipe": recipe},
    ]
    models = {str(seed): ModelPredictions((), pd.DataFrame(), header) for seed, header in enumerate(headers)}
    assert of_one_recipe(models) == [["0", "1"]]


def test_what_is_no_recipe_of_ours_stays_as_it_is():
    assert complete("paper", {"epochs": 2}) == {"epochs": 2}
    assert complete("teacher", {"name": "a", "gone": 1}) == {"name": "a", "gone": 1}


def test_published_runs_are_read_by_the_specs():
    """No published header has a key that the specs no longer know."""
    headers = [Run(path.parent).header() for path in sorted(RESULTS.glob("*/runs/**/run.json"))]
    ours = [header for header in headers if header["stage"] in ("teacher", "student")]
    assert ours
    for header in ours:
        whole = complete(header["stage"], header["recipe"])
        assert whole["train"]["epoch_of"] == "image"
        assert complete(header["stage"], whole) == whole
