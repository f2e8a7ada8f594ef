"""The table of view parameters, from runs whose predictions are known."""

import numpy as np
import pytest

from dermdistill.data.manifest import write_manifest
from dermdistill.data.spec import DataSpec, SplitSpec
from dermdistill.distillation.spec import StudentSpec
from dermdistill.errors import InputError
from dermdistill.files import read_json, write_json
from dermdistill.images.view_spec import ViewSpec
from dermdistill.publish.ablation import BASE, ROWS, judge, recipes, train_rows, write_table
from dermdistill.recipe.spec import Recipe
from dermdistill.run import FORMAT

COLLECTIONS = ("camera a", "camera b")


def _student(name="seed-0", **keys):
    return StudentSpec(name=name, model="repds", weights="none", labels="none", loss={"kind": "ce"}, **keys)


def _recipe(**keys):
    made = {
        "name": "views",
        "data": DataSpec(manifest="manifest.parquet"),
        "split": SplitSpec(scheme="collections", tested=COLLECTIONS),
        "students": (_student("seed-0", seed=0), _student("seed-1", seed=1)),
    }
    return Recipe(**{**made, **keys})


@pytest.fixture
def work(tmp_path, make_manifest):
    """Finished rows: `base` sees melanomas somewhat, `sharpness` better, `hair` as the base; `jpeg` half done."""
    import pandas as pd

    manifest = make_manifest(420)
    manifest["collection"] = [COLLECTIONS[row % 2 if row < 300 else 0] for row in np.arange(420) // 2]
    signal = {"base": 1.0, "sharpness": 3.0, "hair": 1.0, "jpeg": 1.0}
    for row, strength in signal.items():
        folder = tmp_path / f"views-{row}"
        folder.mkdir()
        write_manifest(manifest, folder / "manifest.parquet")
        for part, collection in (("without-camera-a", COLLECTIONS[0]), ("without-camera-b", COLLECTIONS[1])):
            tested = manifest[manifest["collection"] == collection]
            for seed in (0,) if row == "jpeg" else (0, 1):
                noise = np.random.default_rng([seed, len(tested)]).normal(size=len(tested))
                logit = strength * tested["melanoma"].to_numpy() + noise
                run = folder / part / "students" / f"seed-{seed}"
                run.mkdir(parents=True)
                write_json(run / "run.json", {"format": FORMAT, "status": "complete", "stage": "student"})
                table = pd.DataFrame({"image_id": tested["image_id"], "role": "test", "logit_other": 0.0})
                table.assign(logit_melanoma=logit).rename(columns={"logit_melanoma": "logit_mel"}).to_parquet(
                    run / "predictions.parquet", index=False
                )
    return tmp_path


def test_a_better_row_is_told_from_one_that_changes_nothing(work):
    found = judge(_recipe(), work, replicates=200)
    rows = found["rows"]
    assert rows["base"]["difference"] is None
    gap = rows["sharpness"]["difference"]
    assert 0 < gap["low"] <= gap["value"] <= gap["high"]
    assert gap["value"] == pytest.approx(rows["sharpness"]["auroc"]["value"] - rows["base"]["auroc"]["value"])
    same = rows["hair"]["difference"]
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)
    assert found["images"] == 420
    assert found["left_out"] == ["without-camera-a", "without-camera-b"]
    assert "jpeg" in found["unfinished"]
    assert "sharpness" not in found["unfinished"]


def _within_by_hand(work, truth):
    """Each collection's AUROC, weighted by its pairs, averaged over the seeds."""
    from sklearn.metrics import roc_auc_score

    from dermdistill.evaluate.predictions import read_model

    found = []
    for seed in (0, 1):
        right = pairs = 0
        for run in sorted((work / "views-base").glob(f"*/students/seed-{seed}")):
            table = read_model(run).table
            y = truth.loc[table["image_id"]]
            here = y.sum() * (1 - y).sum()
            right += here * roc_auc_score(y, table["logit_mel"] - table["logit_other"])
            pairs += here
        found.append(right / pairs)
    return np.mean(found)


def test_figures_are_means_over_collections_and_seeds(work):
    from sklearn.metrics import roc_auc_score

    from dermdistill.data.manifest import read_manifest
    from dermdistill.evaluate.predictions import read_model

    truth = read_manifest(work / "views-base" / "manifest.parquet").set_index("image_id")["melanoma"]
    by_run = []
    for run in sorted((work / "views-base").glob("*/students/*")):
        table = read_model(run).table
        by_run.append(roc_auc_score(truth.loc[table["image_id"]], table["logit_mel"] - table["logit_other"]))
    row = judge(_recipe(), work, replicates=20)["rows"]["base"]
    assert row["auroc"]["value"] == pytest.approx(np.mean(by_run))
    assert row["within"]["auroc"]["value"] == pytest.approx(_within_by_hand(work, truth), abs=1e-9)
    first = row["by_part"]["without-camera-a"]["auroc"]["value"]
    assert first == pytest.approx(np.mean(by_run[:2]))
    assert row["sd"] == pytest.approx(np.std(np.reshape(by_run, (2, 2)).mean(0), ddof=1))


def test_the_table_is_written_as_markdown_and_json(work, tmp_path):
    page = write_table(_recipe(), work, tmp_path / "out", replicates=20).read_text()
    assert "| sharpness | sharpness -1 to 1.5 in 70% of the views | 0." in page
    assert "| base | none | 0." in page
    assert "Not finished: " in page
    assert "(views.svg)" in page
    drawing = (tmp_path / "out" / "views.svg").read_text()
    assert all(text in drawing for text in ("sharpness", "hair", "within collections", "minus base"))
    assert ">base<" not in drawing
    assert read_json(tmp_path / "out" / "views.json")["rows"]["sharpness"]["views"]["sharpness"]["share"] == 0.7


def test_rows_are_trained_on_one_manifest_and_what_is_done_is_skipped(tmp_path):
    from dermdistill.data.synthetic.generate import generate
    from dermdistill.recipe.work import Work

    manifest = generate(tmp_path / "images", n=60, size=48)
    lesions = sorted(manifest["lesion_id"].unique())
    manifest["collection"] = [COLLECTIONS[lesions.index(lesion) % 2] for lesion in manifest["lesion_id"]]
    write_manifest(manifest, tmp_path / "manifest.parquet")
    train = {"epochs": 1, "batch_size": 8}
    recipe = Recipe(
        name="views",
        data=DataSpec(manifest=str(tmp_path / "manifest.parquet")),
        split=SplitSpec(scheme="collections", tested=COLLECTIONS[:1]),
        students=[
            _student("seed-0", seed=0, image_size=32, train=train),
            _student("seed-1", seed=1, image_size=32, train=train),
        ],
    )
    told = []
    folder = Work(recipe, tmp_path / "rows", cache=tmp_path / "cache")
    train_rows(recipe, folder, ["gamma"], told.append)
    manifests = [(tmp_path / "rows" / f"views-{row}" / "manifest.parquet").read_bytes() for row in ("base", "gamma")]
    assert manifests[0] == manifests[1]
    assert "gamma" in judge(recipe, tmp_path / "rows", replicates=20)["rows"]
    told.clear()
    train_rows(recipe, folder, ["gamma"], told.append)
    assert {line for line in told if "distill" in line} == {line for line in told if line.endswith("done before")} - {
        "data: done before", "split: done before",
    }  # fmt: skip


def test_without_the_base_there_is_nothing_to_compare_with(work):
    write_json(next((work / "views-base").rglob("run.json")), {"format": FORMAT, "status": "running"})
    with pytest.raises(InputError, match="the row 'base' is not finished"):
        judge(_recipe(), work)


def test_each_row_changes_its_own_parameter_of_the_bases_views():
    base = _recipe(soften={"spec": ViewSpec(rotation=90)})
    made = {recipe.name.removeprefix("views-"): recipe.soften.spec.model_dump() for recipe in recipes(base)}
    assert list(made) == list(ROWS)
    for name, spec in made.items():
        assert {key for key in spec if spec[key] != made[BASE].get(key)} == set(ROWS[name])
        assert spec["rotation"] == 90


def test_rows_can_be_chosen_and_the_base_comes_along():
    assert [recipe.name for recipe in recipes(_recipe(), ["hair"])] == ["views-base", "views-hair"]
    with pytest.raises(InputError, match="no row is called 'hare'"):
        recipes(_recipe(), ["hare"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"split": SplitSpec(scheme="cross")}, "leaves out collections or sources, got split.scheme = 'cross'"),
        ({"students": (_student("a"), _student("b", image_size=64))}, "differ in their seeds alone"),
    ],
)
def test_recipes_that_make_no_ablation(change, match):
    with pytest.raises(InputError, match=match):
        recipes(_recipe(**change))


def test_soft_labels_need_teachers():
    with pytest.raises(ValueError, match="distilled learn soft labels"):
        _recipe(students=(StudentSpec(name="distilled", model="repds", weights="none"),))
