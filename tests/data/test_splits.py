import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.curate.audit import audit_folds
from dermdistill.data.manifest import read_manifest, write_manifest
from dermdistill.data.splits import Splits, balance, groups, make_splits, read_splits, roles, write_splits
from dermdistill.errors import InputError, IntegrityError


def test_no_group_straddles_folds(make_manifest):
    manifest = make_manifest(280)
    manifest.loc[10:20, "patient_id"] = "P1"
    manifest.loc[[30, 130], "duplicate_group"] = "D"
    manifest.loc[41, "sha256"] = manifest.loc[200, "sha256"]
    splits = make_splits(manifest, 5)
    fold = manifest["image_id"].map(splits.folds)
    for column in ("lesion_id", "patient_id", "duplicate_group", "sha256"):
        assert (fold.groupby(manifest[column]).nunique() == 1).all(), column
    assert sorted(set(splits.folds.values())) == [0, 1, 2, 3, 4]


def test_links_are_followed_through(make_manifest):
    manifest = make_manifest(8)
    manifest.loc[[1, 2], "duplicate_group"] = "D"  # lesion 0 with lesion 1
    manifest.loc[[3, 4], "patient_id"] = "P"  # lesion 1 with lesion 2
    numbers = groups(manifest)
    assert len(set(numbers[:6])) == 1
    assert len(set(numbers)) == 2


def test_lesion_ids_of_different_sources_are_different_lesions(make_manifest):
    both = pd.concat([make_manifest(4, "one"), make_manifest(4, "two")], ignore_index=True)
    assert len(set(groups(both))) == 4


def test_stratified_reproducible_and_independent_of_order(make_manifest):
    manifest = make_manifest(700)
    splits = make_splits(manifest, 5, seed=3)
    assert make_splits(manifest.sample(frac=1, random_state=1), 5, seed=3).folds == splits.folds
    assert make_splits(manifest, 5, seed=4).folds != splits.folds
    shares = manifest["melanoma"].groupby(manifest["image_id"].map(splits.folds)).mean()
    assert shares.max() - shares.min() < 0.06


def test_holdout_never_trains(make_manifest):
    splits = make_splits(make_manifest(700), 5, holdout=0.2)
    held = splits.ids("test")
    assert 0.12 < len(held) / 700 < 0.28
    part = roles(splits, 0, 1)
    assert not set(held) & set(part["train"] + part["validation"] + part["test"])
    assert roles(splits, "test", 0)["test"] == held


def test_frozen_splits_are_guarded(tmp_path, make_manifest):
    manifest = make_manifest()
    path = tmp_path / "splits.json"
    splits = make_splits(manifest, 3)
    write_splits(splits, path)
    assert read_splits(path, manifest) == splits
    write_splits(splits, path)
    with pytest.raises(InputError, match="holds other splits"):
        write_splits(make_splits(manifest, 4), path)
    relabelled = manifest.copy()
    relabelled.loc[0, "lesion_id"] = "other"
    with pytest.raises(IntegrityError, match="belongs to a manifest with the hash"):
        read_splits(path, relabelled)
    content = json.loads(path.read_text())
    content["folds"]["one_0000"] = (content["folds"]["one_0000"] + 1) % 3
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="changed after it was frozen"):
        read_splits(path)


def test_bad_requests_are_refused(make_manifest):
    with pytest.raises(InputError, match="cannot fill"):
        make_splits(make_manifest(6), 5)
    with pytest.raises(InputError, match="at least 2"):
        make_splits(make_manifest(), 1)
    splits = make_splits(make_manifest(), 3)
    with pytest.raises(InputError, match="no fold is called '7'"):
        roles(splits, 7, 0)
    with pytest.raises(InputError, match="both validate and test"):
        roles(splits, 1, 1)


def test_rare_strata_fall_back_to_coarser_ones(make_manifest):
    manifest = make_manifest(60)
    manifest["source"] = [f"clinic {row // 2}" for row in range(60)]
    splits = make_splits(manifest, 5)
    melanomas = manifest["melanoma"].groupby(manifest["image_id"].map(splits.folds)).sum()
    assert sorted(splits.rule["stratify_by"]) == ["diagnosis", "source"]
    assert melanomas.max() <= 2
    assert len(melanomas) == 5


def test_images_without_a_diagnosis_are_stratified_by_melanoma(make_manifest):
    manifest = make_manifest(200)
    manifest["diagnosis"] = None
    splits = make_splits(manifest, 4)
    shares = manifest["melanoma"].groupby(manifest["image_id"].map(splits.folds)).mean()
    assert shares.max() - shares.min() < 0.05


@pytest.mark.parametrize("share", [0.02, 0.1, 0.15, 0.3, 0.4])
def test_the_holdout_has_the_size_asked_for(make_manifest, share):
    manifest = make_manifest(1400)
    splits = make_splits(manifest, 3, seed=1, holdout=share)
    assert len(splits.ids("test")) / 1400 == pytest.approx(share, abs=0.02)
    held = manifest["image_id"].isin(splits.ids("test"))
    assert manifest["melanoma"][held].mean() == pytest.approx(manifest["melanoma"].mean(), abs=0.03)


@pytest.mark.parametrize("seed", range(8))
def test_random_links_never_straddle(make_manifest, seed):
    """Whatever is linked at random, the folds cut no link, cover every image, and ignore the order of rows."""
    random = np.random.default_rng(seed)
    manifest = make_manifest(240)
    for column, prefix in (("lesion_id", "L"), ("patient_id", "P"), ("duplicate_group", "D")):
        values = pd.Series([f"{prefix}{number}" for number in random.integers(0, 150, 240)], dtype="string")
        manifest[column] = values.where(random.random(240) < 0.3)
    splits = make_splits(manifest, 3, seed, holdout=0.2)
    fold = manifest["image_id"].map(splits.folds).astype(str)
    for column in ("lesion_id", "patient_id", "duplicate_group"):
        assert (fold.groupby(manifest[column]).nunique() == 1).all(), column
    assert set(splits.folds) == set(manifest["image_id"])
    assert set(fold) == {"0", "1", "2", "test"}
    assert make_splits(manifest.sample(frac=1, random_state=seed), 3, seed, holdout=0.2) == splits
    assert audit_folds(manifest, splits, images=False).clean


def test_balance_counts_everything_once(make_manifest):
    manifest = make_manifest(140)
    counts = balance(manifest, make_splits(manifest, 3, holdout=0.25))
    assert counts.index.tolist() == ["0", "1", "2", "test"]
    assert counts["images"].sum() == 140
    assert counts["groups"].sum() == 70
    assert counts["melanomas"].tolist() == counts["mel"].tolist()
    assert counts[["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]].sum().tolist() == [20] * 7


def test_too_few_groups_after_the_holdout(make_manifest):
    manifest = make_manifest(40)
    manifest["patient_id"] = [f"P{row // 10}" for row in range(40)]
    with pytest.raises(InputError, match="2 independent groups of images cannot fill 3 parts"):
        make_splits(manifest, 3, holdout=0.5)


def test_a_damaged_file_is_not_replaced_unasked(tmp_path, make_manifest):
    path = tmp_path / "splits.json"
    path.write_text('{"format": "dermdistill-splits/1", "folds": {}}')
    splits = make_splits(make_manifest(), 3)
    with pytest.raises(InputError, match=r"(?s)manifest_sha256: Field required.*--force"):
        write_splits(splits, path)
    write_splits(splits, path, force=True)
    assert read_splits(path) == splits


def test_the_command(tmp_path, make_manifest):
    write_manifest(make_manifest(), tmp_path / "m.csv")
    run = CliRunner().invoke(app, ["data", "split", str(tmp_path / "m.csv"), "--folds", "3", "--holdout", "0.25"])
    assert run.exit_code == 0, run.output
    head = next(line.split() for line in run.output.splitlines() if line.split()[:1] == ["fold"])
    assert head == ["fold", "images", "groups", "melanomas", "akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    counts = balance(read_manifest(tmp_path / "m.csv"), read_splits(tmp_path / "m.splits.json"))
    assert counts["images"].sum() == len(make_manifest())
    for fold, row in counts.iterrows():
        share = f"{row['melanomas'] / row['images']:.1%}"
        wanted = [str(fold), str(row["images"]), str(row["groups"]), str(row["melanomas"]), f"({share})"]
        assert any(line.split()[:5] == wanted for line in run.output.splitlines())
    assert "no duplicate groups in this manifest" in run.output
    assert read_splits(tmp_path / "m.splits.json").sha256 in run.output
    run = CliRunner().invoke(app, ["data", "split", str(tmp_path / "m.csv"), "--folds", "4"])
    assert isinstance(run.exception, InputError)
    assert "holds other splits" in str(run.exception)
    run = CliRunner().invoke(app, ["data", "split", str(tmp_path / "m.csv"), "--folds", "4", "--force"])
    assert run.exit_code == 0, run.output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "dermdistill-splits/9"}, r"is not a dermdistill-splits/1 file"),
        ({"folds": {}}, "folds"),
        ({"folds": {"a": "train"}}, r"folds\.a"),
        ({"folds": {"a": True}}, r"folds\.a"),
        ({"folds": {"a": -1}}, r"folds\.a"),
        ({"rule": None}, "rule"),
        ({"manifest_sha256": "x"}, "manifest_sha256"),
        ({"surplus": 1}, "surplus: unknown key"),
    ],
)
def test_files_that_are_no_splits_say_what_does_not_fit(tmp_path, make_manifest, change, told):
    path = tmp_path / "splits.json"
    write_splits(make_splits(make_manifest(), 3), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(IntegrityError, match=told):
        read_splits(path)


def test_the_hash_of_splits_is_what_it_was():
    """Published splits rest on it."""
    splits = Splits("0" * 64, {"folds": 2}, {"b": 1, "a": "test"})
    assert splits.sha256 == "4cf72841fb308866473da527e6aeb241b4f6835db7745b9a7b076a82170913b9"


def test_split_after_a_search_that_found_no_duplicates(tmp_path, picture, manifest_of):
    for number in range(12):
        picture(number).save(tmp_path / f"{number}.png")
    write_manifest(manifest_of([tmp_path / f"{number}.png" for number in range(12)]), tmp_path / "m.csv")
    split = ["data", "split", str(tmp_path / "m.csv"), "--folds", "2"]
    assert "not looked for" in CliRunner().invoke(app, split).output
    run = CliRunner().invoke(app, ["data", "duplicates", str(tmp_path / "m.csv")])
    assert "0 pairs (0 exact)" in run.output
    run = CliRunner().invoke(app, split)
    assert run.exit_code == 0
    assert "not looked for" not in run.output
    picture(99).save(tmp_path / "0.png")
    changed = manifest_of([tmp_path / f"{number}.png" for number in range(12)])
    write_manifest(changed, tmp_path / "m.csv")
    assert "not looked for" in CliRunner().invoke(app, [*split, "--force"]).output
