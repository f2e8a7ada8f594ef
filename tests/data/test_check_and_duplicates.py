import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.check import check_manifest
from dermdistill.data.duplicates import find_duplicates
from dermdistill.data.manifest import COLUMNS, read_manifest, validate, write_manifest
from dermdistill.files import sha256_file


def _manifest(paths, **columns):
    rows = [
        {
            "image_id": path.stem, "path": str(path), "sha256": sha256_file(path), "width": 96, "height": 96,
            "diagnosis": "nv", "melanoma": 0, "source": "one",
        }
        for path in paths
    ]  # fmt: skip
    return validate(pd.DataFrame(rows).assign(**columns).reindex(columns=list(COLUMNS)))


def test_check_finds_each_kind_of_trouble(tmp_path, picture):
    names = ["good", "truncated", "tiny", "blank", "wrong", "changed", "text"]
    for number, name in enumerate(names):
        picture(number).save(tmp_path / f"{name}.png")
    picture(2, 20).save(tmp_path / "tiny.png")
    Image.new("RGB", (96, 96), "pink").save(tmp_path / "blank.png")
    picture(4).save(tmp_path / "wrong.png", format="JPEG")
    whole = (tmp_path / "truncated.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not an image")
    manifest = _manifest([tmp_path / f"{name}.png" for name in names])
    picture(9).save(tmp_path / "changed.png")
    report = check_manifest(manifest)
    reasons = dict(zip(report.set_aside["image_id"], report.set_aside["reason"], strict=True))
    assert reasons.pop("truncated") in ("truncated", "unreadable")
    assert reasons == {"tiny": "tiny", "blank": "blank", "changed": "changed", "text": "not_an_image"}
    assert report.warnings["image_id"].tolist() == ["wrong"]
    assert report.manifest["image_id"].tolist() == ["good", "wrong"]


def test_all_orientations_and_recompression_are_found(tmp_path, picture):
    base = picture(0, 128)
    base.save(tmp_path / "base.png")
    for flip in Image.Transpose:
        base.transpose(flip).save(tmp_path / f"turned{int(flip)}.png")
    base.save(tmp_path / "recompressed.jpg", quality=60)
    base.resize((117, 117)).filter(ImageFilter.GaussianBlur(0.5)).save(tmp_path / "resized.png")
    for number in range(1, 30):
        picture(number, 128).save(tmp_path / f"other{number:02d}.png")
    found = find_duplicates(_manifest(sorted(tmp_path.iterdir())))
    grouped = found.groups[found.groups.notna()]
    assert len(grouped) == 10
    assert grouped.nunique() == 1


def test_exact_copies_across_sources_and_unreadable_images(tmp_path, picture):
    for name in "ab":
        picture(0).save(tmp_path / f"{name}.png")
    picture(1).save(tmp_path / "c.png")
    (tmp_path / "d.png").write_text("no image")
    manifest = _manifest(sorted(tmp_path.iterdir()))
    manifest.loc[1, "source"] = "two"
    found = find_duplicates(manifest)
    assert found.pairs[["a", "b", "exact"]].values.tolist() == [["a", "b", True]]
    assert list(found.set_aside) == ["d"]
    assert found.groups.isna().tolist() == [False, False, True, True]


def test_the_command_writes_groups(tmp_path, picture):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        picture(seed).save(tmp_path / f"{name}.png")
    write_manifest(_manifest(sorted(tmp_path.glob("*.png"))), tmp_path / "m.parquet")
    run = CliRunner().invoke(app, ["data", "duplicates", str(tmp_path / "m.parquet")])
    assert run.exit_code == 0, run.output
    assert "1 pairs (1 exact" in run.output
    assert read_manifest(tmp_path / "m.parquet")["duplicate_group"].isna().tolist() == [False, False, True]


@pytest.mark.real_data
def test_known_near_duplicates_of_isic_2017_are_found(real_data):
    pairs = [("ISIC_0000171", "ISIC_0015124"), ("ISIC_0012290", "ISIC_0013594"), ("ISIC_0012672", "ISIC_0012673")]
    files = sorted((real_data / "isic2017" / "images").iterdir())
    some = [files[i] for i in np.random.default_rng(0).choice(len(files), 60, replace=False)]
    wanted = [real_data / "isic2017" / "images" / f"{name}.jpg" for pair in pairs for name in pair]
    found = find_duplicates(_manifest(sorted({*some, *wanted})))
    assert {tuple(row) for row in found.pairs[["a", "b"]].values} >= set(pairs)
