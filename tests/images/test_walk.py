from pathlib import Path

import pytest

from dermdistill.images import walk
from dermdistill.images.walk import walk_images

CASES = Path(__file__).resolve().parents[1] / "cases"


def _names(found, folder):
    return [Path(path).relative_to(folder).as_posix() for path in found.images]


def test_what_is_no_image_is_counted(monkeypatch):
    folder = CASES / "folder_skips" / "phone"
    monkeypatch.setattr(walk, "is_installed", lambda kind: kind.name not in ("HEIC", "DICOM"))
    found = walk_images(folder)
    assert _names(found, folder) == ["a.jpg", "b.avif", "c.jp2"]
    assert found.passed_over == {
        "hidden or made by the system": 2, ".dcm (pip install 'dermdistill[dicom]')": 1,
        ".heic (pip install 'dermdistill[heic]')": 1,
    }  # fmt: skip
    told = "1 .heic (pip install 'dermdistill[heic]'), 1 .dcm (pip install 'dermdistill[dicom]')"
    assert found.summary() == f"2 hidden or made by the system, {told}"


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", ".thumbnails", "#recycle", "$RECYCLE.BIN"])
def test_folders_that_systems_make_are_passed_over(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.jpg").touch()
    (tmp_path / "._b.jpg").touch()
    (tmp_path / "b.jpg").touch()
    found = walk_images(tmp_path)
    assert _names(found, tmp_path) == ["b.jpg"]
    assert found.passed_over == {"hidden or made by the system": 2}


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "set" / "b.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    (tmp_path / "real" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "gone.jpg").symlink_to(tmp_path / "nothing")
    found = walk_images(tmp_path / "set")
    assert _names(found, tmp_path / "set") == ["b.jpg", "link/a.jpg"]
    assert found.passed_over == {"links to a folder that holds them": 1, ".jpg that is no file": 1}
