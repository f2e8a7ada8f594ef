"""Small manifests and images for the data tests."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dermdistill.data.manifest import COLUMNS, validate
from dermdistill.files import sha256_file


@pytest.fixture
def make_manifest():
    """make_manifest(n): rows with all seven classes, lesions of two images each, ages and sexes."""

    def make(count=70, source="one"):
        classes = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
        rows = [
            {
                "image_id": f"{source}_{row:04d}",
                "path": f"/nowhere/{source}_{row:04d}.png",
                "sha256": hashlib.sha256(f"{source}{row}".encode()).hexdigest(),
                "width": 64,
                "height": 64,
                "diagnosis": classes[(row // 2) % 7],
                "melanoma": int(classes[(row // 2) % 7] == "mel"),
                "lesion_id": f"L{row // 2}",
                "source": source,
                "age": 40.0,
                "sex": "female",
            }
            for row in range(count)
        ]
        return validate(pd.DataFrame(rows).reindex(columns=list(COLUMNS)))

    return make


@pytest.fixture
def picture():
    """picture(seed): an RGB image with some structure."""

    def make(seed=0, size=96):
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)

    return make


@pytest.fixture
def manifest_of():
    """manifest_of(paths, **columns): a manifest of image files, all nevi of one source."""

    def make(paths, **columns):
        rows = [
            {
                "image_id": path.stem, "path": str(path), "sha256": sha256_file(path), "width": 96, "height": 96,
                "diagnosis": "nv", "melanoma": 0, "source": "one",
            }
            for path in paths
        ]  # fmt: skip
        return validate(pd.DataFrame(rows).assign(**columns).reindex(columns=list(COLUMNS)))

    return make
