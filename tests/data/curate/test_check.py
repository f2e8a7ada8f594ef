from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.curate.check import check_manifest
from dermdistill.data.manifest import read_manifest, write_manifest
from dermdistill.errors import InputError


def test_check_finds_each_kind_of_trouble(tmp_path, picture, manifest_of):
    names = ["good", "truncated", "tiny", "blank", "wrong", "changed", "text"]
    for number, name in enumerate(names):
        picture(number).save(tmp_path / f"{name}.png")
    picture(2, 20).save(tmp_path / "tiny.png")
    Image.new("RGB", (96, 96), "pink").save(tmp_path / "blank.png")
    picture(4).save(tmp_path / "wrong.png", format="JPEG")
    whole = (tmp_path / "truncated.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not an image")
    manifest = manifest_of([tmp_path / f"{name}.png" for name in names])
    picture(9).save(tmp_path / "changed.png")
    report = check_manifest(manifest)
    reasons = dict(zip(report.set_aside["image_id"], report.set_aside["reason"], strict=True))
    assert reasons.pop("truncated") in ("truncated", "unreadable")
    assert reasons == {"tiny": "tiny", "blank": "blank", "changed": "changed", "text": "not_an_image"}
    assert report.warnings["image_id"].tolist() == ["wrong"]
    assert report.manifest["image_id"].tolist() == ["good", "wrong"]


def test_labels_that_contradict_each_other(tmp_path, picture, manifest_of):
    """Melanoma on one image of a lesion and not on the other: neither can be trusted. Another diagnosis: a warning."""
    for number, name in enumerate(["a", "b", "c", "d", "e", "f"]):
        picture(number).save(tmp_path / f"{name}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "e.png").read_bytes())
    names = ["a", "b", "c", "d", "e", "copy", "f"]
    manifest = manifest_of(
        [tmp_path / f"{name}.png" for name in names],
        lesion_id=["L1", "L1", "L2", "L2", None, None, "L3"],
        diagnosis=["mel", "nv", "nv", "bkl", "mel", "nv", "nv"],
        melanoma=[1, 0, 0, 0, 1, 0, 0],
    )
    report = check_manifest(manifest)
    assert dict.fromkeys(report.set_aside["reason"]) == {"conflicting_labels": None}
    assert set(report.set_aside["image_id"]) == {"a", "b", "e", "copy"}
    assert set(report.warnings["image_id"]) == {"c", "d"}
    assert report.manifest["image_id"].tolist() == ["c", "d", "f"]


def test_a_bomb_is_set_aside_and_not_decoded(tmp_path, picture, manifest_of, monkeypatch):
    picture(0).save(tmp_path / "good.png")
    Image.new("L", (200, 200)).save(tmp_path / "bomb.png")
    manifest = manifest_of([tmp_path / "bomb.png", tmp_path / "good.png"])
    monkeypatch.setattr("dermdistill.images.decode.MAX_PIXELS", 20_000)
    report = check_manifest(manifest)
    assert report.set_aside[["image_id", "reason"]].to_numpy().tolist() == [["bomb", "bomb"]]
    assert report.manifest["image_id"].tolist() == ["good"]


def test_the_command_lists_what_it_sets_aside_and_says_so_by_its_exit_code(tmp_path, picture, manifest_of):
    picture(0).save(tmp_path / "good.png")
    picture(1).save(tmp_path / "gone.png")
    manifest = manifest_of([tmp_path / "good.png", tmp_path / "gone.png"])
    (tmp_path / "gone.png").unlink()
    write_manifest(manifest, tmp_path / "m.csv")
    call = ["data", "check", str(tmp_path / "m.csv"), "--out", str(tmp_path / "kept.csv")]
    run = CliRunner().invoke(app, call)
    assert run.exit_code == 1
    assert "1 missing (set aside)" in run.output
    assert "1 images are good, 1 set aside" in run.output
    listed = pd.read_csv(tmp_path / "set_aside.csv")
    assert listed[["image_id", "reason"]].to_numpy().tolist() == [["gone", "missing"]]
    assert read_manifest(tmp_path / "kept.csv")["image_id"].tolist() == ["good"]
    clean = CliRunner().invoke(app, ["data", "check", str(tmp_path / "kept.csv")])
    assert clean.exit_code == 0, clean.output


def test_the_command_lists_what_it_keeps_with_a_warning(tmp_path, picture, manifest_of):
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png", format="JPEG" if number else "PNG")
    write_manifest(manifest_of(sorted(tmp_path.glob("*.png"))), tmp_path / "m.csv")
    run = CliRunner().invoke(app, ["data", "check", str(tmp_path / "m.csv")])
    assert run.exit_code == 0, run.output
    assert "2 wrong_extension (kept, but look at them)" in run.output
    listed = pd.read_csv(tmp_path / "set_aside.warnings.csv", dtype=str)
    assert listed[["image_id", "reason"]].to_numpy().tolist() == [["1", "wrong_extension"], ["2", "wrong_extension"]]


def test_ids_used_twice_are_set_aside_and_the_rest_goes_on(tmp_path, picture, manifest_of):
    for number in range(4):
        picture(number).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_text("no image")
    manifest = manifest_of([tmp_path / f"{number}.png" for number in range(4)])
    other = manifest.iloc[[1]].assign(path=manifest["path"][2], sha256=manifest["sha256"][2])
    relabelled = manifest.iloc[[2]].assign(diagnosis="mel", melanoma=1)
    rows = pd.concat([manifest, manifest.iloc[[0, 3]], other, relabelled])
    rows.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(InputError, match="image_id is used more than once"):
        read_manifest(tmp_path / "m.csv")
    call = ["data", "check", str(tmp_path / "m.csv"), "--out", str(tmp_path / "kept.csv")]
    run = CliRunner().invoke(app, call)
    assert run.exit_code == 1, run.output
    listed = pd.read_csv(tmp_path / "set_aside.csv", dtype=str)
    found = sorted(map(tuple, listed[["image_id", "reason"]].to_numpy().tolist()))
    assert found == [("0", "repeated_row"), ("1", "duplicate_id"), ("1", "duplicate_id"), ("2", "duplicate_id"),
                     ("2", "duplicate_id"), ("3", "not_an_image"), ("3", "repeated_row")]  # fmt: skip
    assert {Path(path).name for path in listed.loc[listed["image_id"] == "1", "path"]} == {"1.png", "2.png"}
    assert read_manifest(tmp_path / "kept.csv")["image_id"].tolist() == ["0"]


def test_hashes_alone_are_compared_without_decoding(tmp_path, picture, manifest_of):
    for number, name in enumerate(["good", "changed", "gone", "damaged"]):
        picture(number).save(tmp_path / f"{name}.png")
    (tmp_path / "damaged.png").write_bytes(b"no image, and never was")
    write_manifest(manifest_of(sorted(tmp_path.glob("*.png"))), tmp_path / "m.csv")
    picture(9).save(tmp_path / "changed.png")
    (tmp_path / "gone.png").unlink()
    run = CliRunner().invoke(app, ["data", "check", str(tmp_path / "m.csv"), "--hashes"])
    assert run.exit_code == 1
    listed = pd.read_csv(tmp_path / "set_aside.csv").set_index("image_id")["reason"].to_dict()
    assert listed == {"changed": "changed", "gone": "missing"}
    (tmp_path / "changed.png").unlink()
    run = CliRunner().invoke(app, ["data", "check", str(tmp_path / "m.csv"), "--out", str(tmp_path / "new.csv")])
    assert run.exit_code == 1
    assert read_manifest(tmp_path / "new.csv")["image_id"].tolist() == ["good"]


def test_a_check_that_leaves_nothing_writes_no_manifest(tmp_path, picture, manifest_of):
    picture().save(tmp_path / "a.png")
    write_manifest(manifest_of([tmp_path / "a.png"]), tmp_path / "m.csv")
    (tmp_path / "a.png").unlink()
    run = CliRunner().invoke(app, ["data", "check", str(tmp_path / "m.csv"), "--out", str(tmp_path / "new.csv")])
    assert run.exit_code != 0
    assert "no image is left" in str(run.exception)
    assert not (tmp_path / "new.csv").exists()
