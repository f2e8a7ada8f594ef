import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.errors import InputError, IntegrityError
from dermdistill.images import cache as dataset
from dermdistill.images.cache import cache_root, labels, open_cache, readable
from dermdistill.images.preprocess import load_rgb, open_rgb, resize_square

SIZE = 24
OPEN = """
import os, sys
from pathlib import Path
from dermdistill.images import cache as dataset
from dermdistill.data.manifest import read_manifest
if sys.argv[4] == "dies":
    dataset.open_rgb = lambda path: os._exit(9)
dataset._BLOCK = 4
dataset.open_cache(read_manifest(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.fixture
def manifest(tmp_path, picture, manifest_of):
    """Twelve different images, not square."""
    paths = [tmp_path / f"image{number:02d}.png" for number in range(12)]
    for number, path in enumerate(paths):
        picture(number).resize((60, 40)).save(path)
    return manifest_of(paths)


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that are decoded, as they are."""
    names = []
    monkeypatch.setattr(dataset, "open_rgb", lambda path: (names.append(path.name), open_rgb(path))[1])
    return names


def _expected(manifest):
    return np.stack([resize_square(load_rgb(path), SIZE).transpose(2, 0, 1) for path in manifest["path"]])


def _other_process(manifest, root, how):
    table = root.parent / "manifest.csv"
    manifest.to_csv(table, index=False)
    return subprocess.Popen([sys.executable, "-c", OPEN, str(table), str(SIZE), str(root), how])


def test_the_cache_holds_what_preprocessing_gives(tmp_path, manifest):
    cache = open_cache(manifest, SIZE, tmp_path / "cache")
    assert isinstance(cache.images, np.memmap)
    assert not cache.images.flags.writeable
    assert cache.images.dtype == np.uint8
    shuffled = manifest.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(cache.images[cache.rows(shuffled["sha256"])], _expected(shuffled))
    with pytest.raises(InputError, match="1 images are not in the cache, the first is 000"):
        cache.rows(["0" * 64])


def test_images_are_decoded_once_wherever_they_lie(tmp_path, manifest, decoded):
    twice = manifest.iloc[[0, *range(12)]].assign(image_id=[f"id{number:02d}" for number in range(13)])
    open_cache(twice, SIZE, tmp_path / "cache")
    assert sorted(decoded) == [f"image{number:02d}.png" for number in range(12)]
    decoded.clear()
    moved = manifest.assign(path="/nowhere/" + manifest["image_id"]).iloc[::-1]
    again = open_cache(moved, SIZE, tmp_path / "cache")
    assert decoded == []
    np.testing.assert_array_equal(again.images[again.rows(manifest["sha256"])], _expected(manifest))


def test_another_size_other_images_or_preprocessing_are_decoded_anew(tmp_path, manifest, decoded, monkeypatch):
    root = tmp_path / "cache"
    open_cache(manifest, SIZE, root)
    assert open_cache(manifest, 32, root).images.shape == (12, 3, 32, 32)
    assert open_cache(manifest[:5], SIZE, root).images.shape == (5, 3, SIZE, SIZE)
    assert len(decoded) == 12 + 12 + 5
    monkeypatch.setattr(dataset, "PREPROCESS_VERSION", "other/2")
    open_cache(manifest, SIZE, root)
    assert len(decoded) == 12 + 12 + 5 + 12
    assert len(list((root / "images").iterdir())) == 4


def test_a_cut_off_decoding_goes_on(tmp_path, manifest, decoded, monkeypatch):
    monkeypatch.setattr(dataset, "_BLOCK", 4)
    counting = dataset.open_rgb

    def dies(path):
        if len(decoded) == 6:
            raise KeyboardInterrupt
        return counting(path)

    monkeypatch.setattr(dataset, "open_rgb", dies)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        open_cache(manifest, SIZE, tmp_path / "cache")
    assert not list(tmp_path.glob("cache/images/*/index.json"))
    first = decoded[:4]
    decoded.clear()
    monkeypatch.setattr(dataset, "open_rgb", counting)
    cache = open_cache(manifest, SIZE, tmp_path / "cache")
    assert len(decoded) == 8
    assert not set(first) & set(decoded)
    np.testing.assert_array_equal(cache.images[cache.rows(manifest["sha256"])], _expected(manifest))


def test_unreadable_images_are_named_and_set_aside(tmp_path, manifest, caplog):
    path = tmp_path / "image03.png"
    path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "image07.png").unlink()
    caplog.set_level(logging.WARNING)
    cache = open_cache(manifest, SIZE, tmp_path / "cache")
    bad = manifest.set_index("image_id")["sha256"][["image03", "image07"]]
    assert set(cache.set_aside) == set(bad)
    assert "2 unreadable images set aside" in caplog.text
    for words in ("image03: ", "image07: ", "image07.png: no such file"):
        assert words in caplog.text
    with pytest.raises(InputError, match="1 images are not in the cache"):
        cache.rows([bad["image07"]])
    left = readable(manifest, cache)
    assert sorted(set(manifest["image_id"]) - set(left["image_id"])) == ["image03", "image07"]
    np.testing.assert_array_equal(cache.images[cache.rows(left["sha256"])], _expected(left))
    caplog.clear()
    assert open_cache(manifest, SIZE, tmp_path / "cache").set_aside == cache.set_aside
    assert "image03: " in caplog.text


def test_an_image_that_was_missing_for_a_while_comes_back(tmp_path, manifest, decoded):
    path = tmp_path / "image05.png"
    path.rename(tmp_path / "away")
    assert len(open_cache(manifest, SIZE, tmp_path / "cache").set_aside) == 1
    (tmp_path / "away").rename(path)
    decoded.clear()
    for _ in range(2):
        cache = open_cache(manifest, SIZE, tmp_path / "cache")
        np.testing.assert_array_equal(cache.images[cache.rows(manifest["sha256"])], _expected(manifest))
    assert decoded == ["image05.png"]


def test_two_processes_fill_one_cache(tmp_path, manifest):
    both = [_other_process(manifest, tmp_path / "cache", "lives") for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    cache = open_cache(manifest, SIZE, tmp_path / "cache")
    np.testing.assert_array_equal(cache.images[cache.rows(manifest["sha256"])], _expected(manifest))


def test_a_process_that_dies_takes_nothing_from_another(tmp_path, manifest, decoded, monkeypatch):
    counting = dataset.open_rgb

    def watched(path):
        if len(decoded) == 6:
            assert _other_process(manifest, tmp_path / "cache", "dies").wait(60) == 9
        return counting(path)

    monkeypatch.setattr(dataset, "open_rgb", watched)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    cache = open_cache(manifest, SIZE, tmp_path / "cache")
    np.testing.assert_array_equal(cache.images[cache.rows(manifest["sha256"])], _expected(manifest))


def test_a_damaged_cache_is_noticed_and_a_lost_one_made_again(tmp_path, manifest, decoded):
    open_cache(manifest, SIZE, tmp_path / "cache")
    (pixels,) = tmp_path.glob("cache/images/*/images.npy")
    content = pixels.read_bytes()
    pixels.write_bytes(content[: len(content) // 2])
    with pytest.raises(IntegrityError, match=r"images.npy is damaged .*; remove "):
        open_cache(manifest, SIZE, tmp_path / "cache")
    pixels.unlink()
    decoded.clear()
    open_cache(manifest, SIZE, tmp_path / "cache")
    assert pixels.read_bytes() == content
    assert len(decoded) == 12


def test_the_cache_lies_where_it_is_told(tmp_path, manifest, monkeypatch):
    monkeypatch.setenv("DERMDISTILL_CACHE", str(tmp_path / "told"))
    assert cache_root() == tmp_path / "told"
    open_cache(manifest, SIZE)
    (index,) = tmp_path.glob(f"told/images/{SIZE}px-*/index.json")
    assert json.loads(index.read_text())["size"] == SIZE
    monkeypatch.setattr(dataset.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(InputError, match=r"the image cache needs .* DERMDISTILL_CACHE to a larger disk"):
        open_cache(manifest, 64)


def test_an_image_that_is_not_the_manifests_is_set_aside(tmp_path, manifest, picture):
    """Its pixels would be kept under the hash of another file."""
    picture(99).resize((60, 40)).save(tmp_path / "image04.png")
    cache = open_cache(manifest, SIZE, tmp_path / "cache")
    (reason,) = cache.set_aside.values()
    assert reason == f"{tmp_path / 'image04.png'}: changed since the manifest was made"
    assert len(readable(manifest, cache)) == 11


def test_a_damaged_jpeg_is_set_aside(tmp_path, picture, manifest_of):
    paths = [tmp_path / "whole.jpg", tmp_path / "harmed.jpg"]
    for path in paths:
        picture(1).save(path)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:-8] + bytes(8))
    cache = open_cache(manifest_of(paths), SIZE, tmp_path / "cache")
    assert ["damaged image" in reason for reason in cache.set_aside.values()] == [True]


def test_labels(make_manifest):
    manifest = make_manifest(14)
    seven = labels(manifest, CLASSES)
    assert [CLASSES[index] for index in seven] == manifest["diagnosis"].tolist()
    np.testing.assert_array_equal(labels(manifest, BINARY_CLASSES), seven == CLASSES.index("mel"))
    unknown = manifest.copy()
    unknown.loc[3, "diagnosis"] = None
    with pytest.raises(InputError, match=r"1 images have no seven-class diagnosis, the first is one_0003"):
        labels(unknown, CLASSES)
    with pytest.raises(InputError, match="classes must be"):
        labels(manifest, ("a", "b"))


def test_greyscale_and_turned_images_are_cached_as_predict_sees_them(tmp_path, picture, manifest_of):
    paths = [tmp_path / "grey.png", tmp_path / "turned.jpg"]
    picture(1).convert("L").resize((50, 30)).save(paths[0])
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(2).resize((50, 30)).save(paths[1], exif=turned)
    manifest = manifest_of(paths)
    cache = open_cache(manifest, SIZE, tmp_path / "cache")
    np.testing.assert_array_equal(cache.images[cache.rows(manifest["sha256"])], _expected(manifest))
