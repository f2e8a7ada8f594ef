import sys
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from dermdistill.data.manifest import write_manifest
from dermdistill.errors import InputError
from dermdistill.files import sha256_file
from dermdistill.khan2022.data import ArrayPixels, as_uint8, balanced_counts, open_pool
from dermdistill.khan2022.division import divide
from dermdistill.khan2022.recipe import PoolSpec
from dermdistill.khan2022.synthetic import generate_quadruple

TINY = PoolSpec(train_benign=12, train_malignant=11, test_benign=5, test_malignant=4)


@pytest.fixture(scope="module")
def quadruple(tmp_path_factory):
    return generate_quadruple(tmp_path_factory.mktemp("quadruple"), TINY, 32)


def test_a_generated_quadruple_has_the_shape_of_the_papers(quadruple):
    shapes = {path.stem: np.load(path, mmap_mode="r").shape for path in quadruple.glob("*.npy")}
    assert shapes == {
        "benign_train": (12, 32, 32, 3), "malign_train": (11, 32, 32, 3),
        "benign_test": (5, 32, 32, 3), "malign_test": (4, 32, 32, 3),
    }  # fmt: skip
    before = (quadruple / "benign_test.npy").stat().st_mtime_ns
    generate_quadruple(quadruple, TINY, 32)
    assert (quadruple / "benign_test.npy").stat().st_mtime_ns == before


def test_the_four_arrays_become_a_pool_with_their_own_test_images(quadruple):
    pool = open_pool(quadruple, 32, TINY)
    assert len(pool) == 32
    assert pool.labels.tolist() == [0] * 12 + [1] * 11 + [0] * 5 + [1] * 4
    assert pool.fixed_test.tolist() == [False] * 23 + [True] * 9
    assert pool.synthetic
    assert "12 benign and 11 malignant training, 5 and 4 test images" in " ".join(pool.notes)
    array = np.load(quadruple / "malign_train.npy")
    read = pool.pixels.read(np.array([12, 0, 22]))
    assert read.dtype == torch.uint8
    assert np.array_equal(read[0].permute(1, 2, 0).numpy(), array[0])
    assert np.array_equal(read[2].permute(1, 2, 0).numpy(), array[10])
    part = divide(pool, random_split=True, seed=1)
    assert sorted([*part.train, *part.validation]) == list(range(23))
    assert part.test.tolist() == list(range(23, 32))


def test_another_image_changes_the_hash(quadruple, tmp_path):
    generate_quadruple(tmp_path, TINY, 32)
    assert open_pool(tmp_path, 32, TINY).sha256 == open_pool(quadruple, 32, TINY).sha256
    array = np.load(tmp_path / "benign_test.npy", mmap_mode="r+")
    array[0, 0, 0, 0] ^= 1
    array.flush()
    assert open_pool(tmp_path, 32, TINY).sha256 != open_pool(quadruple, 32, TINY).sha256


def test_a_test_image_among_the_training_images_is_left_out_unless_the_split_is_the_published_one(tmp_path):
    generate_quadruple(tmp_path, TINY, 32)
    train, test = (np.load(tmp_path / f"{name}.npy", mmap_mode="r+") for name in ("benign_train", "benign_test"))
    train[3] = test[1]
    train.flush()
    pool = open_pool(tmp_path, 32, TINY)
    right, published = (divide(pool, random_split=on, seed=1) for on in (False, True))
    assert 3 not in {*right.train, *right.validation}
    assert 3 in {*published.train, *published.validation}
    assert not right.seen.any()
    if 3 in published.train:
        assert published.seen.tolist() == [row == 24 for row in published.test]  # rows 23 on are benign_test


def test_images_are_scaled_and_floats_are_told_apart():
    flat = np.full((2, 60, 40, 3), 0.5, np.float32)
    pixels = ArrayPixels((flat,), 24).read(np.array([1]))
    assert pixels.shape == (1, 3, 24, 24)
    assert pixels.unique().tolist() == [128]
    assert as_uint8(np.array([[[0.0, 1.0, 0.25]]])).tolist() == [[[0, 255, 64]]]
    assert as_uint8(np.array([[[0.0, 255.0, 64.4]]])).tolist() == [[[0, 255, 64]]]


def _sparse(folder, counts):
    """Arrays of 224 px that hold zeros; where the file system knows holes, they take no disk."""
    for name, count in counts.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=(count, 224, 224, 3))


@pytest.fixture
def peak():
    """Tells the most bytes that Python and NumPy have held since the test began; memory-mapped pages are none."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="would fill 1.5 GB of disk there")
def test_arrays_of_the_published_size_stay_on_disk(tmp_path, peak):
    """1.5 GB of pixels; reading some of them must not bring all into memory."""
    counts = {"benign_train": 3500, "malign_train": 3496, "benign_test": 1500, "malign_test": 1500}
    _sparse(tmp_path, counts)
    arrays = tuple(np.load(tmp_path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in counts)
    pixels = ArrayPixels(arrays, 224)
    for start in range(0, 9996, 500):
        assert pixels.read(np.arange(start, min(start + 8, 9996))).shape[1:] == (3, 224, 224)
    assert pixels.read(np.array([9995])).sum() == 0
    assert peak() < 10e6


def test_opening_a_quadruple_and_reading_all_of_it_holds_a_batch_at_a_time(tmp_path, peak):
    """48 MB of pixels: opening hashes every image, an epoch reads every image, and neither keeps them."""
    _sparse(tmp_path, {"benign_train": 120, "malign_train": 120, "benign_test": 40, "malign_test": 40})
    pool = open_pool(tmp_path, 224, TINY)
    assert len(pool) == 320
    for start in range(0, 320, 16):
        pool.pixels.read(np.arange(start, start + 16))
    assert peak() < 10e6


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda folder: (folder / "malign_test.npy").unlink(), "expected one array of 'malign' and 'test'"),
        (lambda folder: np.save(folder / "malign_test.npy", np.zeros((3, 8, 8))), r"expected N x H x W x 3"),
        (lambda folder: (folder / "malign_test.npy").write_bytes(b"nothing"), "not a readable array"),
        (lambda folder: np.save(folder / "malign_test.npy", np.array([{}], object)), "not a readable array"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, match):
    generate_quadruple(tmp_path, TINY, 32)
    change(tmp_path)
    with pytest.raises(InputError, match=match):
        open_pool(tmp_path, 32, TINY)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"neither benign/malign \.npy arrays nor manifest"):
        open_pool(tmp_path, 32, TINY)


def test_the_papers_numbers_are_drawn_where_there_are_enough_images():
    assert balanced_counts(9000, 5000, PoolSpec()) == {
        "train_benign": 3500, "train_malignant": 3496, "test_benign": 1500, "test_malignant": 1500,
    }  # fmt: skip


def test_the_largest_balanced_set_is_drawn_where_there_are_not():
    # 1,249 of 4,996 malignant images: a quarter of everything
    found = balanced_counts(9000, 1249, PoolSpec())
    assert found == {"train_benign": 875, "train_malignant": 874, "test_benign": 375, "test_malignant": 375}
    with pytest.raises(InputError, match="9000 benign and 2 malignant images are too few"):
        balanced_counts(9000, 2, PoolSpec())


@pytest.fixture
def manifest(tmp_path, make_manifest):
    table = make_manifest((90, 60), lesion=3)
    (tmp_path / "images").mkdir()
    for row, name in enumerate(table["image_id"]):
        path = tmp_path / "images" / f"{name}.png"
        Image.new("RGB", (40, 40), (row, 100, 100)).save(path)
        table.loc[row, ["path", "sha256"]] = [str(path), sha256_file(path)]
    write_manifest(table, tmp_path / "manifest.parquet")
    return tmp_path


def test_a_manifest_gives_a_balanced_sample(manifest):
    spec = PoolSpec(train_benign=70, train_malignant=70, test_benign=30, test_malignant=30)
    pool = open_pool(manifest, 32, spec, manifest / "cache")
    assert len(pool) == 120  # 60 malignant images, and as many benign
    assert pool.test_counts == (18, 18)
    assert "the largest balanced set" in pool.notes[0]
    row = pool.ids.index("m00007")
    expected = [int(value) for value in (90 + 7, 100, 100)]
    assert pool.pixels.read(np.array([row]))[0, :, 5, 5].tolist() == expected
    assert torch.equal(pool.pixels.decode(np.array([row])), pool.pixels.read(np.array([row])))
    again = open_pool(manifest / "manifest.parquet", 32, spec, manifest / "cache")
    assert (again.ids, again.sha256) == (pool.ids, pool.sha256)
    other = open_pool(manifest, 32, spec.model_copy(update={"seed": 1}), manifest / "cache")
    assert other.sha256 != pool.sha256


def test_a_manifest_of_one_class_is_refused(tmp_path, make_manifest):
    write_manifest(make_manifest((30, 0)), tmp_path / "manifest.parquet")
    with pytest.raises(InputError, match="one class only"):
        open_pool(tmp_path, 32, TINY)
