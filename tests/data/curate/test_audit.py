import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.curate.audit import audit, audit_folds
from dermdistill.data.manifest import write_manifest
from dermdistill.data.splits import Splits, make_splits, write_splits
from dermdistill.errors import InputError


def _command(*arguments):
    return CliRunner().invoke(app, ["data", "audit", *map(str, arguments)])


@pytest.fixture
def halves(make_manifest):
    manifest = make_manifest(40)
    return manifest.iloc[:20].reset_index(drop=True), manifest.iloc[20:].reset_index(drop=True)


def test_sets_that_share_nothing_are_clean(halves):
    report = audit(*halves, images=False)
    assert report.clean
    assert report.sizes == (20, 20)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("image id", {"image_id": "one_0005"}),
        ("exact copy", {"sha256": None}),
        ("lesion", {"lesion_id": "L2"}),
        ("patient", {"patient_id": "P1"}),
        ("duplicate group", {"duplicate_group": "D"}),
    ],
)
def test_each_kind_of_sharing_is_found(halves, kind, columns):
    first, second = halves
    for column, value in columns.items():
        first.loc[5, column] = value or first.loc[5, column]
        second.loc[7, column] = first.loc[5, column]
    report = audit(first, second, images=False)
    assert not report.clean
    assert [name for name, pairs in report.shared.items() if len(pairs)] == [kind]
    assert report.shared[kind]["b"].tolist() == [second.loc[7, "image_id"]]
    assert report.shared[kind]["a"].isin(first["image_id"]).all()


def test_lesions_and_patients_are_told_apart_by_source(halves):
    first, second = halves
    second["source"] = "two"
    second.loc[7, "lesion_id"] = "L2"
    assert audit(first, second, images=False).clean


def test_a_patient_with_many_images_is_listed_once_an_image(halves):
    first, second = halves
    first["patient_id"] = second["patient_id"] = "P"
    report = audit(first, second, images=False)
    assert report.shared["patient"]["b"].tolist() == second["image_id"].tolist()
    assert report.shared["patient"]["a"].unique().tolist() == [first.loc[0, "image_id"]]


def test_near_duplicates_are_looked_for_across_sides_only(tmp_path, picture, manifest_of):
    names = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2}
    for name, seed in names.items():
        picture(seed).save(tmp_path / f"{name}.jpg", quality=60 + ord(name) % 30)
    picture(0).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "f.png")
    manifest = manifest_of(sorted(tmp_path.iterdir()))
    inside = manifest["image_id"].isin(["a", "b", "e"])
    report = audit(manifest[inside], manifest[~inside])
    assert report.shared["near-duplicate"].values.tolist() == [["a", "f"], ["b", "f"]]
    assert audit(manifest[manifest["image_id"].isin(["a", "b"])], manifest[manifest["image_id"].isin(["c", "d"])]).clean
    strict = audit(manifest[inside], manifest[~inside], distance=0, correlation=1.0)
    assert strict.shared["near-duplicate"].empty


def test_the_same_id_on_both_sides_with_different_images(tmp_path, picture, manifest_of):
    tables = []
    for seed, side in enumerate(("one", "two")):
        (tmp_path / side).mkdir()
        picture(seed).save(tmp_path / side / "a.png")
        tables.append(manifest_of([tmp_path / side / "a.png"]))
    report = audit(*tables)
    assert [name for name, pairs in report.shared.items() if len(pairs)] == ["image id"]


def test_an_image_that_cannot_be_read_is_no_proof(tmp_path, picture, manifest_of):
    picture(0).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    manifest = manifest_of(sorted(tmp_path.iterdir()))
    report = audit(manifest.head(1), manifest.tail(1))
    assert list(report.unreadable) == ["b"]
    assert not report.clean


def test_folds_are_compared_with_each_other(make_manifest):
    manifest = make_manifest(60)
    splits = make_splits(manifest, 3)
    assert audit_folds(manifest, splits, images=False).clean
    assert sum(audit_folds(manifest, splits, images=False).sizes) == 60
    wrong = dict(splits.folds)
    wrong["one_0007"] = (wrong["one_0006"] + 1) % 3
    report = audit_folds(manifest, Splits(splits.manifest_sha256, splits.rule, wrong), images=False)
    assert report.shared["lesion"].values.tolist() == [["one_0006", "one_0007"]]


def test_the_command_compares_manifests(tmp_path, picture, manifest_of):
    for number in range(4):
        picture(number).save(tmp_path / f"{number}.png")
    picture(0).transpose(Image.Transpose.TRANSVERSE).save(tmp_path / "turned.png")
    manifest = manifest_of(sorted(tmp_path.iterdir()))
    parts = {"a.csv": manifest.iloc[:2], "b.parquet": manifest.iloc[2:4], "c.csv": manifest.iloc[3:]}
    for name, part in parts.items():
        write_manifest(part, tmp_path / name)
    clean = _command(tmp_path / "a.csv", tmp_path / "b.parquet")
    assert clean.exit_code == 0, clean.output
    assert "(2, 2 images) share nothing\n" in clean.output
    shared = _command(tmp_path / "a.csv", tmp_path / "c.csv")
    assert shared.exit_code == 1
    assert "1 shared by near-duplicate:\n  0 turned" in shared.output
    unseen = _command(tmp_path / "a.csv", tmp_path / "c.csv", "--no-images")
    assert unseen.exit_code == 0
    assert "near-duplicates were not looked for" in unseen.output


def test_the_command_compares_folds(tmp_path, make_manifest):
    manifest = make_manifest(60)
    write_manifest(manifest, tmp_path / "m.csv")
    splits = make_splits(manifest, 3)
    write_splits(splits, tmp_path / "good.json")
    straddling = {name: place % 3 for place, name in enumerate(splits.folds)}
    write_splits(Splits(splits.manifest_sha256, splits.rule, straddling), tmp_path / "bad.json")
    good = _command(tmp_path / "m.csv", "--splits", tmp_path / "good.json", "--no-images")
    assert good.exit_code == 0, good.output
    bad = _command(tmp_path / "m.csv", "--splits", tmp_path / "bad.json", "--no-images")
    assert bad.exit_code == 1
    assert "30 shared by lesion" in bad.output
    assert "and 20 more" in bad.output


def test_the_command_wants_one_thing_to_compare(tmp_path, make_manifest):
    write_manifest(make_manifest(4), tmp_path / "m.csv")
    run = _command(tmp_path / "m.csv")
    assert isinstance(run.exception, InputError)
    assert "one of the two" in str(run.exception)


def test_empty_sets(make_manifest):
    manifest = make_manifest(4)
    report = audit(manifest, pd.DataFrame(columns=manifest.columns), images=False)
    assert report.clean
