import json

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.audit import audit
from dermdistill.data.manifest import write_manifest
from dermdistill.data.splits import groups, make_splits, read_splits, roles, write_splits
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
    import pandas as pd

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
    with pytest.raises(InputError, match="no fold 7"):
        roles(splits, 7, 0)
    with pytest.raises(InputError, match="both validate and test"):
        roles(splits, 1, 1)


def test_an_audit_finds_each_kind_of_sharing(make_manifest):
    manifest = make_manifest(40)
    one, other = manifest.iloc[:20].copy(), manifest.iloc[20:].copy()
    assert audit(one, other, images=False).clean
    other.iloc[0, other.columns.get_loc("lesion_id")] = "L3"
    other.iloc[1, other.columns.get_loc("sha256")] = one["sha256"].iloc[5]
    report = audit(one, other, images=False)
    assert not report.clean
    assert len(report.shared["lesion"]) == 2
    assert report.shared["exact copy"].values.tolist() == [[one["image_id"].iloc[5], other["image_id"].iloc[1]]]
    assert report.shared["patient"].empty


def test_the_commands(tmp_path, make_manifest):
    write_manifest(make_manifest(), tmp_path / "m.csv")
    run = CliRunner().invoke(app, ["data", "split", str(tmp_path / "m.csv"), "--folds", "3"])
    assert run.exit_code == 0, run.output
    splits = str(tmp_path / "m.splits.json")
    run = CliRunner().invoke(app, ["data", "audit", str(tmp_path / "m.csv"), "--splits", splits, "--no-images"])
    assert run.exit_code == 0, run.output
    assert "share nothing" in run.output
    same = str(tmp_path / "m.csv")
    run = CliRunner().invoke(app, ["data", "audit", same, same, "--no-images"])
    assert run.exit_code == 1
