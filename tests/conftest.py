"""Fixtures that every test may use."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: more threads mostly wait for each other

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def _data_folder() -> Path | None:
    named = os.environ.get("DERMDISTILL_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if (folder / "ham10000").is_dir() and (folder / "isic2017").is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real dermoscopic images (ham10000/, isic2017/), or skip."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no real images: set DERMDISTILL_DATA to a folder with ham10000/ and isic2017/")
    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """(manifest, splits, roles, cache folder) of 60 synthetic images of 48 px."""
    from dermdistill.data.splits import make_splits, roles
    from dermdistill.data.synthetic import generate

    folder = tmp_path_factory.mktemp("small")
    manifest = generate(folder / "data", n=60, size=48, seed=0)
    splits = make_splits(manifest, 3)
    return manifest, splits, roles(splits, 0, 1), folder / "cache"
