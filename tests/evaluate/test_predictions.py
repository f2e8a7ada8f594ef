import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dermdistill.classes import CLASSES
from dermdistill.errors import InputError, IntegrityError
from dermdistill.evaluate.predictions import ModelPredictions, Provenance, read_model, with_ensemble


def predictions(**changes: object) -> pd.DataFrame:
    columns: dict[str, object] = {"image_id": ["a", "b"], "role": ["validation", "test"]}
    columns |= {"logit_other": [0.5, -1.0], "logit_mel": [-0.5, 1.0]}
    return pd.DataFrame(columns | changes)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table(tmp_path: Path, suffix: str):
    path = tmp_path / f"p{suffix}"
    table = predictions()
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    model = read_model(path)
    assert (model.classes, model.provenance, model.recipe) == (("other", "mel"), Provenance(), {})
    assert model.ids("test") == ["b"]
    assert model.logits(pd.Series(["b", "a"])).tolist() == [[-1.0, 1.0], [0.5, -0.5]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_that_look_like_numbers_stay_text(tmp_path: Path, suffix: str):
    path = tmp_path / f"p{suffix}"
    if suffix == ".csv":
        predictions(image_id=["007", "8"]).to_csv(path, index=False)
    else:
        predictions(image_id=[7, 8]).to_parquet(path)
    assert read_model(path).ids("validation") == ["007" if suffix == ".csv" else "7"]


def test_seven_classes_come_in_one_order(tmp_path: Path):
    table = pd.DataFrame({"image_id": ["a"], "role": ["test"]} | {f"logit_{name}": [name] for name in CLASSES[::-1]})
    for index, name in enumerate(CLASSES):
        table[f"logit_{name}"] = float(index)
    table.to_csv(tmp_path / "p.csv", index=False)
    model = read_model(tmp_path / "p.csv")
    assert model.classes == CLASSES
    assert model.logits(pd.Series(["a"])).tolist() == [[0, 1, 2, 3, 4, 5, 6]]


def test_a_run_folder(tmp_path: Path):
    predictions().to_parquet(tmp_path / "predictions.parquet")
    (tmp_path / "run.json").write_text(
        json.dumps({"format": "dermdistill-run/1", "status": "complete", "parameters": 7})
    )
    model = read_model(tmp_path)
    assert model.provenance.parameters == 7
    assert model.ids("validation") == ["a"]


def test_a_run_of_another_format_is_refused(tmp_path: Path):
    (tmp_path / "run.json").write_text('{"format": "other"}')
    with pytest.raises(IntegrityError, match="dermdistill-run/1"):
        read_model(tmp_path)


def test_everything_that_does_not_fit_is_listed(tmp_path: Path):
    path = tmp_path / "p.csv"
    wrong = {
        "image_id": ["a", "a", None], "role": ["test", "holdout", "test"],
        "logit_other": [0.0, None, 1.0], "logit_mel": ["x", 1.0, 1.0],
    }  # fmt: skip
    pd.DataFrame(wrong).to_csv(path, index=False)
    with pytest.raises(InputError) as told:
        read_model(path)
    message = str(told.value)
    assert "logits are not finite numbers: 2 rows, e.g. a, a" in message
    assert "image_id is used more than once: 2 rows" in message
    assert "image_id is missing: 1 rows, e.g. (no id)" in message
    assert "role is none of train, validation, test: 1 rows" in message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (predictions().drop(columns="role"), "column role is missing"),
        (predictions().rename(columns={"logit_mel": "logit_nv"}), "column logit_mel is missing"),
        (predictions().drop(columns="logit_other"), "only one class, mel"),
        (predictions(logit_mel=[float("inf"), 0]), "not finite numbers: 1 rows, e.g. a"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, table: pd.DataFrame, message: str):
    table.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(InputError, match=message):
        read_model(tmp_path / "p.parquet")


def test_what_is_no_table(tmp_path: Path):
    for name, message in {
        "no.csv": "no predictions at",
        "p.parquet": "not a readable table",
        "p.txt": "got '.txt'",
    }.items():
        if name != "no.csv":
            (tmp_path / name).write_text("not a table")
        with pytest.raises(InputError, match=message):
            read_model(tmp_path / name)


def test_a_bundle_is_told_apart(tmp_path: Path):
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(InputError, match="is a bundle; evaluate the run"):
        read_model(tmp_path)


def test_several_teachers_are_judged_together_too():
    names = ["logit_other", "logit_mel"]
    one, two = (
        ModelPredictions(("other", "mel"), predictions(), Provenance(model=name, parameters=3, seed=1)) for name in "ab"
    )
    two.table[names] = np.random.default_rng(0).normal(size=(2, 2)) * 3
    reordered = ModelPredictions(two.classes, two.table[::-1], two.provenance)
    found = with_ensemble({"a": one, "student": one, "b": reordered}, ["a", "b"])
    assert list(found) == ["a", "b", "ensemble", "student"]
    assert found["ensemble"].provenance == Provenance(stage="ensemble", model="a + b", parameters=6, seed=1)
    ids = pd.Series(["b", "a"])
    softmax = [np.exp(model.logits(ids)) / np.exp(model.logits(ids)).sum(1, keepdims=True) for model in (one, two)]
    np.testing.assert_allclose(np.exp(found["ensemble"].logits(ids)), sum(softmax) / 2)
    assert with_ensemble({"a": one, "student": two}, ["a"]) == {"a": one, "student": two}
