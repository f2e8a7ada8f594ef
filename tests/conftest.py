"""Fixtures that every test may use."""

import os
from pathlib import Path

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
