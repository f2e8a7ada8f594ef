"""Ids across sources: what the ISIC family shares, and what it does not."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.curate.audit import audit, audit_folds
from dermdistill.data.curate.check import check_manifest
from dermdistill.data.curate.duplicates import find_duplicates
from dermdistill.data.ids import namespace, photographs, qualified
from dermdistill.data.importing.datasets import combine, import_dataset
from dermdistill.data.manifest import manifest_hash, read_manifest
from dermdistill.data.spec import SplitSpec
from dermdistill.data.splits import groups, make_splits
from dermdistill.errors import InputError
from dermdistill.evaluate.intervals import clusters
from dermdistill.recipe.parts import parts
from dermdistill.recipe.prepare import _imported
from dermdistill.recipe.session import Session
from dermdistill.recipe.spec import Recipe
from dermdistill.recipe.work import Work
from dermdistill.specs import parse
from dermdistill.training.loop import make_fabric


@pytest.fixture
def shared(make_manifest):
    """Two sources, named as a user likes, that share 30 lesions of the archive: one image of each in either."""
    tables = []
    for number, source in enumerate(("my-ham", "isic-archive")):
        table = make_manifest(30, source)
        table["lesion_id"] = [f"HAM_{row:07d}" for row in range(30)]
        table["image_id"] = [f"ISIC_{1000 * number + row:07d}" for row in range(30)]
        tables.append(table)
    return tables


@pytest.mark.parametrize(
    ("source", "value", "where"),
    [
        ("my-ham", "HAM_0000550", "isic"),
        ("clinic", "BCN_0003884", "isic"),
        ("clinic", "MSK4_0011169", "isic"),
        ("clinic", "IL_7252831", "isic"),
        ("clinic", "IP_1664139", "isic"),
        ("clinic", "ISIC_0000123", "isic"),
        ("isic2020", "L17", "isic"),
        ("clinic", "L17", "source clinic"),
        ("clinic", "17", "source clinic"),
        ("ham10000", "17", "source ham10000"),
        ("clinic", "IL_12", "source clinic"),
        ("clinic", "XHAM_0000550", "source clinic"),
    ],
)
def test_the_namespace_of_an_id(source, value, where):
    assert namespace(source, value) == where


def test_shared_lesions_never_straddle_and_audit_names_them(shared):
    both = pd.concat(shared, ignore_index=True)
    assert len(set(groups(both))) == len(set(clusters(both))) == 30
    for seed in range(5):
        splits = make_splits(both, 3, seed)
        folds = both["image_id"].map(splits.folds).groupby(both["lesion_id"]).nunique()
        assert (folds == 1).all()
        assert audit_folds(both, splits, images=False).clean
    report = audit(*shared, images=False)
    assert {kind: len(pairs) for kind, pairs in report.shared.items() if len(pairs)} == {"lesion": 30}
    assert report.shared["lesion"].iloc[3].tolist() == ["ISIC_0000003", "ISIC_0001003"]


def test_shared_patients_are_linked(shared):
    first, second = (table.assign(lesion_id=None, patient_id=None) for table in shared)
    first.loc[4, "patient_id"] = second.loc[9, "patient_id"] = "IP_1664139"
    assert audit(first, second, images=False).shared["patient"].values.tolist() == [["ISIC_0000004", "ISIC_0001009"]]
    assert len(set(groups(pd.concat([first, second], ignore_index=True)))) == 59


def test_what_shares_a_lesion_with_the_tested_source_leaves_training(shared):
    both = pd.concat(shared, ignore_index=True)
    both.loc[:9, "lesion_id"] = [f"own {row}" for row in range(10)]
    (part,) = parts(SplitSpec(scheme="sources", tested=("isic-archive",)), both, make_splits(both, 3))
    assert part.roles["train"] == sorted(both["image_id"][:10])


def test_labels_of_a_shared_lesion_that_disagree_are_set_aside(tmp_path, picture, manifest_of):
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png")
    manifest = manifest_of(
        sorted(tmp_path.iterdir()), source=["my-ham", "isic-archive", "other"], lesion_id=["HAM_0000001"] * 2 + ["1"],
        diagnosis=["mel", "nv", "nv"], melanoma=[1, 0, 0],
    )  # fmt: skip
    assert check_manifest(manifest).set_aside["image_id"].tolist() == ["0", "1"]


def test_plain_numbers_of_private_sources_are_not_merged(make_manifest):
    tables = [make_manifest(20, source) for source in ("clinic", "hospital", "ham10000")]
    for table in tables:
        table["lesion_id"] = table["patient_id"] = [str(row // 2) for row in range(20)]
    both = pd.concat(tables, ignore_index=True)
    assert len(set(groups(both))) == 30
    assert qualified(both, "lesion_id").nunique() == 30
    assert audit(tables[0], tables[2], images=False).clean


def test_a_photograph_is_known_by_its_id_with_suffix_prefix_or_extension(make_manifest):
    names = [
        "ISIC_0024306", "ISIC_0024306.jpg", "ISIC_0024306_downsampled", "train_mel_ISIC_0024306", "isic_0024306",
        "ISIC_0024306@ham10000-whole", "ISIC_00243061", "MISIC_0024306", "0024306", "ISIC_0024307",
    ]  # fmt: skip
    found = photographs(pd.Series(names))
    assert (found[:6] == "ISIC_0024306").all()
    assert found[6:9].isna().all()
    assert found[9] == "ISIC_0024307"
    manifest = make_manifest(10).assign(lesion_id=None, image_id=names)
    assert np.bincount(groups(manifest)).tolist() == [6, 1, 1, 1, 1]
    first, second = manifest.iloc[:1], manifest.iloc[[2, 9]]
    report = audit(first, second, images=False)
    assert report.shared["photograph"].values.tolist() == [["ISIC_0024306", "ISIC_0024306_downsampled"]]


def test_renderings_of_a_photograph_are_no_near_duplicates(tmp_path, picture, manifest_of):
    names = ["ISIC_0000001", "ISIC_0000001_downsampled", "ISIC_0000001.copy", "turned"]
    for name in names:
        picture(0).resize((96 - 4 * ("_down" in name), 96)).save(tmp_path / f"{name}.png")
    manifest = manifest_of([tmp_path / f"{name}.png" for name in names])
    found = find_duplicates(manifest)
    pairs = {tuple(sorted(pair)) for pair in found.pairs[["a", "b"]].values.tolist()}
    assert ("ISIC_0000001", "ISIC_0000001.copy") in pairs, "their bytes are the same"
    assert ("ISIC_0000001", "ISIC_0000001_downsampled") not in pairs
    assert len(set(groups(manifest.assign(duplicate_group=found.groups)))) == 1
    one, smaller = (manifest[manifest["image_id"] == name] for name in names[:2])
    report = audit(one, smaller)
    assert [kind for kind, pairs in report.shared.items() if len(pairs)] == ["photograph"]
    assert len(audit(one.assign(image_id="a"), smaller.assign(image_id="b")).shared["near-duplicate"]) == 1


def test_hash_and_rule_of_a_manifest_without_renderings_are_as_published(make_manifest):
    """The figures were computed before ids were compared across sources."""
    manifest = make_manifest(70)
    assert manifest_hash(manifest) == "800ef1fe9a2b9d7048a49496006280454591fd1258b211728b266e0177e22369"
    splits = make_splits(manifest, 3)
    assert splits.rule["group_by"] == ["sha256", "duplicate_group", "lesion_id", "patient_id"]
    assert splits.sha256 == "801f66c131a3ecb6a5a1d7b5ff75983be5ed46916338972773777f7b6c125c31"


@pytest.fixture
def renderings(tmp_path, picture):
    """renderings(folder, ids, table, first picture): a data set in HAM10000's layout."""

    def make(folder, names, seed, dx="nv"):
        root = tmp_path / folder
        (root / "images").mkdir(parents=True)
        rows = ["lesion_id,image_id,dx,dataset"]
        for number, name in enumerate(names):
            picture(seed + number).save(root / "images" / f"{name}.png")
            rows.append(f"HAM_{number:07d},{name},{dx},rosendahl")
        (root / "HAM10000_metadata.csv").write_text("\n".join(rows) + "\n")
        return root

    return make


def test_renderings_of_two_sources_are_both_kept(renderings):
    crops = import_dataset(renderings("crops", ["ISIC_0000001", "ISIC_0000002"], 0))
    whole = import_dataset(renderings("whole", ["ISIC_0000001", "ISIC_0000002"], 5), source="whole")
    table = combine([crops, whole]).manifest
    assert table["image_id"].tolist() == ["ISIC_0000001", "ISIC_0000001@whole", "ISIC_0000002", "ISIC_0000002@whole"]
    assert table["source"].tolist() == ["ham10000", "whole"] * 2
    assert table["collection"].tolist() == ["rosendahl"] * 4
    assert len(set(groups(table))) == 2
    assert make_splits(table, 2).rule["group_by"][-1] == "photograph"
    swapped = combine([whole, crops]).manifest
    assert swapped["image_id"].tolist()[1] == "ISIC_0000001@ham10000"


def test_renderings_need_two_names_and_other_ids_may_not_clash(renderings):
    one, two = (import_dataset(renderings(f"r{seed}", ["ISIC_0000001"], seed)) for seed in (0, 5))
    with pytest.raises(InputError, match=r"sources of one name.*r0/images.*r5/images"):
        combine([one, two])
    private = [import_dataset(renderings(f"p{seed}", ["a"], seed), source=f"p{seed}") for seed in (0, 5)]
    with pytest.raises(InputError, match=r"1 image ids stand for different images.*a \(.*p0/images.*p5/images"):
        combine(private)


def test_renderings_that_disagree_on_melanoma_are_set_aside(renderings):
    one = import_dataset(renderings("one", ["ISIC_0000001", "ISIC_0000002"], 0))
    two = import_dataset(renderings("two", ["ISIC_0000001_downsampled"], 5, "mel"), source="two")
    both = combine([one, two])
    assert both.manifest["image_id"].tolist() == ["ISIC_0000002"]
    assert {name for name, _ in both.set_aside} == {"ISIC_0000001", "ISIC_0000001_downsampled"}


def test_a_copy_keeps_the_lesion_that_another_source_knows(renderings):
    known = import_dataset(renderings("known", ["ISIC_0000001"], 0))
    bare = import_dataset(renderings("bare", ["ISIC_0000001"], 0), source="bare")
    bare.manifest["lesion_id"] = pd.array([None], "string")
    assert combine([bare, known]).manifest["lesion_id"].tolist() == ["HAM_0000000"]


def test_a_recipe_names_its_sources(renderings, tmp_path):
    for seed, name in ((0, "crops"), (5, "whole")):
        renderings(name, [f"ISIC_{row:07d}" for row in range(2)], seed)
    sources = [{"path": "crops", "layout": "ham10000"}, {"path": "whole", "layout": "ham10000", "name": "wide"}]
    content = {
        "name": "r", "data": {"sources": sources}, "teachers": [{"name": "t"}], "students": [{"name": "s"}],
    }  # fmt: skip
    recipe = parse(Recipe, content, "recipe")
    assert recipe.data.model_dump(mode="json")["sources"] == sources, "work of older recipes stays current"
    work = Work(recipe, tmp_path / "work", tmp_path)
    table = _imported(Session(work, make_fabric("cpu"), print), recipe.data)
    assert table["image_id"].tolist() == ["ISIC_0000000", "ISIC_0000000@wide", "ISIC_0000001", "ISIC_0000001@wide"]


def _part_of(folder, to):
    """A data set with those of its images whose number in the archive ends with 6, by links; its tables are whole."""
    (to / "images").mkdir(parents=True)
    for table in folder.glob("*.csv"):
        (to / table.name).write_bytes(table.read_bytes())
    for path in (folder / "images").glob("*6.jpg"):
        (to / "images" / path.name).symlink_to(path)
    return to


@pytest.mark.real_data
def test_real_sources_of_the_family_combine(real_data, tmp_path):
    """A tenth of two framings of HAM10000, its further images, ISIC 2017 and further images of the archive."""
    folders = ["ham10000", "ham10000_more", "ham10000_whole", "isic2017", "isic_more"]
    if not all((real_data / folder).is_dir() for folder in folders):
        pytest.skip(f"not all of {', '.join(folders)} are there")
    parts = {folder: _part_of(real_data / folder, tmp_path / folder) for folder in folders}
    names = {"ham10000_whole": "ham10000-whole"}
    table = combine([import_dataset(part, source=names.get(folder)) for folder, part in parts.items()]).manifest
    assert table["source"].value_counts().min() > 20
    whole = table["source"] == "ham10000-whole"
    assert set(photographs(table["image_id"][whole])) <= set(photographs(table["image_id"][~whole]))
    assert table.loc[table["source"] != "isic2017", "collection"].notna().all()
    splits = make_splits(table, 5)
    fold = table["image_id"].map(splits.folds)
    for key in (qualified(table, "lesion_id"), photographs(table["image_id"])):
        assert (fold.groupby(key).nunique() == 1).all()


def test_the_command_names_each_source(renderings, tmp_path):
    folders = [str(renderings(name, ["ISIC_0000001"], seed)) for seed, name in ((0, "crops"), (5, "whole"))]
    call = ["data", "import", *folders, "--out", str(tmp_path / "m.csv")]
    run = CliRunner().invoke(app, [*call, "--source", "crops", "--source", "whole"])
    assert run.exit_code == 0, run.output
    assert read_manifest(tmp_path / "m.csv")["image_id"].tolist() == ["ISIC_0000001", "ISIC_0000001@whole"]
    run = CliRunner().invoke(app, [*call, "--source", "a", "--source", "b", "--source", "c"])
    assert "given 3 times for 2 folders" in str(run.exception)
