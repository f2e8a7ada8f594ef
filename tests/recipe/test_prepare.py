"""What a recipe starts from: sources that are checked first, or a manifest and splits made before."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.manifest import manifest_hash, read_manifest, write_manifest
from dermdistill.data.splits import read_splits
from dermdistill.data.synthetic.generate import generate
from dermdistill.errors import InputError, IntegrityError
from dermdistill.recipe.parts import parts
from dermdistill.recipe.run import intended, run_recipe
from dermdistill.recipe.session import Session
from dermdistill.recipe.spec import Recipe
from dermdistill.recipe.work import Work
from dermdistill.specs import parse
from dermdistill.training.loop import make_fabric

NETS = {"teachers": [{"name": "t", "weights": "none"}], "students": [{"name": "s", "model": "repds"}]}


def _recipe(**content):
    return parse(Recipe, {"name": "prepared", **NETS, **content}, "recipe")


def _prepare(work):
    fabric = make_fabric("cpu")
    fabric.launch()
    run_recipe(work, fabric, lambda line: None, only=lambda stage: False)
    session = Session(work, fabric)
    return session.manifest, session.splits


@pytest.fixture
def images():
    """images(folder, count): photographs of noise, all different."""
    generator = np.random.default_rng(0)

    def make(folder, count):
        folder.mkdir(parents=True)
        for index in range(count):
            pixels = Image.fromarray(generator.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96))
            pixels.save(folder / f"{folder.parent.name}-{folder.name}{index}.jpg", quality=95)

    return make


@pytest.fixture
def made(tmp_path):
    """A manifest, checked and split by the commands that are there for it."""
    generate(tmp_path / "data", n=90, size=48, seed=0)
    path = tmp_path / "data" / "manifest.parquet"
    splits = tmp_path / "mine.json"
    command = ["data", "split", str(path), "--out", str(splits), "--folds", "4", "--holdout", "0.2"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return path, splits


def test_a_manifest_and_its_frozen_splits_are_taken_as_they_are(made, tmp_path):
    path, splits = made
    recipe = _recipe(data={"manifest": str(path)}, split={"file": str(splits), "held_out": "test", "validation": 0})
    work = Work(recipe, tmp_path / "work")
    manifest, found = _prepare(work)
    assert manifest_hash(manifest) == manifest_hash(read_manifest(path))
    assert found.sha256 == read_splits(splits).sha256
    part = parts(recipe.split, manifest, found)[0].roles
    assert part["test"] == read_splits(splits).ids("test")
    assert part["validation"] == read_splits(splits).ids(0)
    assert [state.standing for _, state in intended(work)][:3] == ["done", "done", "to do"]
    read_manifest(work.manifest)["path"].map(Image.open)  # its images are found from the work folder as well


def test_another_manifest_in_the_same_place_is_other_data(made, tmp_path):
    path, splits = made
    work = Work(_recipe(data={"manifest": str(path)}), tmp_path / "work")
    _prepare(work)
    write_manifest(read_manifest(path)[:80], path)
    with pytest.raises(InputError, match=r"data: manifest was \w{12} and is \w{12} now"):
        _prepare(work)
    recipe = _recipe(data={"manifest": str(path)}, split={"file": str(splits), "held_out": "test"})
    with pytest.raises(IntegrityError, match="belongs to a manifest with the hash"):
        _prepare(Work(recipe, tmp_path / "other"))


def test_duplicates_that_were_found_after_the_split_are_noticed(made, tmp_path):
    path, splits = made
    folds = read_splits(splits).folds
    table = read_manifest(path)
    pair = [next(name for name in table["image_id"] if folds[name] == fold) for fold in (0, 1)]
    table.loc[table["image_id"].isin(pair), "duplicate_group"] = "D1"
    write_manifest(table, path)
    recipe = _recipe(data={"manifest": str(path)}, split={"file": str(splits)})
    with pytest.raises(IntegrityError, match=r"1 groups of copies.*near duplicates were found after the split"):
        _prepare(Work(recipe, tmp_path / "work"))


def test_images_that_show_nothing_are_set_aside_before_anything_is_trained(tmp_path):
    generator = np.random.default_rng(0)
    for label in ("mel", "nv"):
        folder = tmp_path / "data" / "skin" / label
        folder.mkdir(parents=True)
        for index in range(8):
            pixels = generator.integers(0, 255, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{label}{index}.png")
    Image.new("RGB", (64, 64), "pink").save(tmp_path / "data" / "skin" / "nv" / "blank.png")
    Image.fromarray(pixels[:20]).save(tmp_path / "data" / "skin" / "nv" / "tiny.png")
    recipe = _recipe(data={"sources": [{"path": "skin", "layout": "folders"}]}, split={"folds": 3})
    manifest, _ = _prepare(Work(recipe, tmp_path / "work", tmp_path / "data"))
    assert len(manifest) == 16
    aside = pd.read_csv(tmp_path / "work" / "set_aside.csv")
    assert sorted(aside["image"].str.extract("(blank|tiny)")[0]) == ["blank", "tiny"]
    assert aside["reason"].str.contains("nearly one colour").sum() == 1


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"data": {}}, "give one of"),
        ({"data": {"manifest": "m.parquet", "synthetic": {}}}, "give one of"),
        ({"data": {"manifest": "m.parquet", "limit": 100}}, "limit, drop_unknown and drop_other do not go with it"),
        (
            {"data": {"synthetic": {}, "licences": ["CC0"]}},
            r"data.licences chooses among the images of \[\[data.sources",
        ),
        ({"data": {"sources": [{"path": "a"}], "licences": ["CC1"]}}, "data.licences.0"),
        ({"data": {"synthetic": {}}, "split": {"file": "s.json"}}, "split.file needs data.manifest"),
        ({"data": {"manifest": "m.parquet"}, "split": {"held_out": "test"}}, "held_out = 'test' needs split.file"),
    ],
)
def test_data_and_splits_that_do_not_go_together(content, match):
    with pytest.raises(InputError, match=match):
        _recipe(**content)


def test_what_an_import_leaves_out_is_told_in_a_recipe_too(tmp_path, images):
    root = tmp_path / "data"
    images(root / "skin" / "melanoma", 8)
    images(root / "skin" / "nevus", 8)
    (root / "skin" / "nevus" / "scan.dcm").touch()
    images(root / "more" / "nevus", 4)
    recipe = _recipe(
        data={"sources": [{"path": "skin"}, {"path": "more", "name": "benign"}]}, split={"folds": 3}
    )  # fmt: skip
    told = []
    fabric = make_fabric("cpu")
    fabric.launch()
    run_recipe(Work(recipe, tmp_path / "work", root), fabric, told.append, only=lambda stage: False)
    assert any(line.startswith("data: passed over 1 ") and line.endswith("scan.dcm") for line in told), told
    assert f"data: note: {root / 'more'} holds no melanoma: nothing can be trained or tested on it alone" in told


def test_only_images_under_the_licences_of_the_recipe_are_used(tmp_path, images):
    folder = tmp_path / "data" / "archive"
    images(folder / "images", 21)
    names = [path.stem for path in sorted((folder / "images").iterdir())]
    table = pd.DataFrame({"isic_id": names, "image_type": "dermoscopic"})
    table["diagnosis"] = ["melanoma"] * 9 + ["nevus"] * 12
    table["copyright_license"] = ["CC-0"] * 15 + ["CC-BY"] * 3 + ["CC-BY-NC"] * 3
    table.to_csv(folder / "metadata.csv", index=False)
    fabric, told = make_fabric("cpu"), []
    fabric.launch()

    def manifest(*licences):
        source = {"path": "archive", "layout": "isic-archive"}
        recipe = _recipe(data={"sources": [source], "licences": licences}, split={"folds": 3})
        work = Work(recipe, tmp_path / "-".join(licences), tmp_path / "data")
        run_recipe(work, fabric, told.append, only=lambda stage: False)
        return Session(work, fabric).manifest

    assert set(manifest("CC0", "CC BY")["licence"]) == {"CC-0", "CC-BY"}
    assert "data: dropped 3: under the licence CC-BY-NC" in told
    with pytest.raises(InputError, match="keeps only images under CC BY-SA, and no image is"):
        manifest("CC BY-SA")


def test_damaged_images_are_set_aside_with_their_reason(tmp_path, images):
    folder = tmp_path / "data" / "skin" / "nevus"
    images(folder, 9)
    images(tmp_path / "data" / "skin" / "melanoma", 8)
    damaged = sorted(folder.iterdir())[0]
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    recipe = _recipe(data={"sources": [{"path": "skin"}]}, split={"folds": 3})
    manifest, _ = _prepare(Work(recipe, tmp_path / "work", tmp_path / "data"))
    assert len(manifest) == 16
    aside = pd.read_csv(tmp_path / "work" / "set_aside.csv")
    assert len(aside) == 1
    assert damaged.stem in aside["image"][0]
    assert "damaged" in aside["reason"][0]
