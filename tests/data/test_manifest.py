from pathlib import Path

import pytest

from dermdistill.data.manifest import manifest_hash, read_manifest, validate, write_manifest
from dermdistill.errors import InputError


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_is_written_comes_back(tmp_path, make_manifest, suffix):
    manifest = validate(make_manifest())
    write_manifest(manifest, tmp_path / f"m{suffix}")
    again = read_manifest(tmp_path / f"m{suffix}")
    assert again.astype(object).where(again.notna(), None).equals(manifest.astype(object).where(manifest.notna(), None))
    assert manifest_hash(again) == manifest_hash(manifest)


def test_paths_beneath_the_manifest_move_with_it(tmp_path, make_manifest):
    manifest = make_manifest()
    manifest["path"] = [str(tmp_path / "a" / "images" / f"{name}.png") for name in manifest["image_id"]]
    write_manifest(manifest, tmp_path / "a" / "m.parquet")
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_manifest(tmp_path / "b" / "m.parquet")["path"][0].startswith(str(tmp_path / "b" / "images"))


def test_the_hash_covers_labels_and_not_paths_or_order(make_manifest):
    manifest = validate(make_manifest())
    moved = manifest.assign(path="/elsewhere", duplicate_group="x")
    assert manifest_hash(moved.sample(frac=1, random_state=0)) == manifest_hash(manifest)
    relabelled = manifest.copy()
    relabelled.loc[0, ["diagnosis", "melanoma"]] = ["mel", 1]
    assert manifest_hash(relabelled) != manifest_hash(manifest)


def test_every_problem_is_told_at_once(make_manifest):
    manifest = make_manifest()
    manifest.loc[0, "diagnosis"] = "freckle"
    manifest.loc[1, "melanoma"] = 1
    manifest.loc[2, "sha256"] = "xyz"
    manifest.loc[3, "age"] = 400
    manifest.loc[5, "image_id"] = manifest.loc[4, "image_id"]
    with pytest.raises(InputError) as error:
        validate(manifest)
    for words in ("diagnosis is none of", "disagrees with diagnosis", "64 lower-case", "0 to 120", "more than once"):
        assert words in str(error.value)


def test_missing_and_unknown_columns_are_named(make_manifest):
    with pytest.raises(InputError, match="lacks the columns sha256"):
        validate(make_manifest().drop(columns="sha256"))
    with pytest.raises(InputError, match="unknown columns: dx_type"):
        validate(make_manifest().assign(dx_type="histo"))
    with pytest.raises(InputError, match="melanoma: 1 values missing"):
        validate(
            make_manifest().astype({"melanoma": "Int8"}).assign(melanoma=lambda t: t["melanoma"].mask(t.index == 3))
        )


def test_bad_files_are_refused(tmp_path, make_manifest):
    with pytest.raises(InputError, match="no such manifest"):
        read_manifest(tmp_path / "none.parquet")
    (tmp_path / "m.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="not readable Parquet"):
        read_manifest(tmp_path / "m.parquet")
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00image_id")
    with pytest.raises(InputError, match=r"m\.csv is not readable CSV"):
        read_manifest(tmp_path / "m.csv")
    with pytest.raises(InputError, match=r"\.parquet or \.csv"):
        write_manifest(make_manifest(), tmp_path / "m.xlsx")


@pytest.mark.parametrize(
    ("name", "told"), [("fraction", r"melanoma must be 0 or 1: 2 rows.*0\.93 \(a1\)"), ("over", r"257 \(a1\)")]
)
def test_a_melanoma_that_is_no_yes_or_no_is_refused(name, told):
    """A cast makes 0 of 0.93 and 1 of 257."""
    with pytest.raises(InputError, match=told):
        read_manifest(Path(__file__).parents[1] / "cases" / "manifest_fraction" / f"{name}.csv")


@pytest.mark.parametrize("value", [64.5, -(2.0**70)])
def test_a_size_that_is_no_whole_number_is_refused(make_manifest, value):
    manifest = make_manifest().astype({"width": float})
    manifest.loc[3, "width"] = value
    with pytest.raises(InputError, match="width must be whole numbers: 1 rows are not"):
        validate(manifest)


def test_a_manifest_without_images_is_refused(tmp_path, make_manifest):
    with pytest.raises(InputError, match="without an image"):
        write_manifest(make_manifest().head(0), tmp_path / "m.csv")
    write_manifest(make_manifest(), tmp_path / "m.csv")
    (tmp_path / "m.csv").write_text((tmp_path / "m.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="without an image"):
        read_manifest(tmp_path / "m.csv")


def test_damaged_metadata_of_parquet_are_told_in_one_line(tmp_path, make_manifest):
    path = tmp_path / "m.parquet"
    write_manifest(make_manifest(), path)
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    told = set()
    for place in range(len(content) - 8 - footer, len(content) - 8, footer // 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_manifest(path)
        except InputError as error:
            told.add(str(error))
    unreadable = [line for line in told if "is not readable Parquet" in line]
    assert unreadable
    assert all("\n" not in line for line in unreadable)


def test_a_manifest_that_was_saved_with_excel(tmp_path, make_manifest):
    manifest = make_manifest()
    write_manifest(manifest, tmp_path / "m.csv")
    text = (tmp_path / "m.csv").read_text()
    (tmp_path / "m.csv").write_bytes((text.replace(",", ";") + ";" * 15 + "\r\n").encode("utf-16"))
    again = read_manifest(tmp_path / "m.csv")
    assert manifest_hash(again) == manifest_hash(manifest)
