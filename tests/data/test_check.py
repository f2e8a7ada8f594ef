from PIL import Image

from dermdistill.data.check import check_manifest


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
