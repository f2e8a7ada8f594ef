import numpy as np
import pandas as pd
import pytest
import torch

from dermdistill.khan2022.data import Pool


class Blocks:
    """Images of one value each: bright ones are malignant."""

    def __init__(self, labels, size, seed=0):
        generator = np.random.default_rng(seed)
        self.values = np.clip(80 + 90 * labels + generator.normal(0, 45, len(labels)), 0, 255).astype(np.uint8)
        self.size = size
        self.reads = 0

    def read(self, rows):
        return self.decode(rows)

    def decode(self, rows, size=None):
        self.reads += 1
        values, side = torch.from_numpy(self.values[rows]), size or self.size
        return values[:, None, None, None].expand(-1, 3, side, side).clone()


def pool_of(count=120, size=24, lesion=2, fixed=False):
    """Images in pairs of one lesion, half of them malignant."""
    labels = (np.arange(count) // lesion % 2).astype(np.int64)
    test = np.arange(count) % 16 < 3 if fixed else None  # a whole lesion and half of another
    return Pool(
        tuple(f"image_{row:04d}" for row in range(count)), labels, np.arange(count) // lesion, Blocks(labels, size),
        f"pool-{count}-{size}", fixed_test=test, test_counts=(count // 8, count // 8),
    )  # fmt: skip


def manifest_of(counts, lesion=1):
    """A manifest without files: `counts` benign and malignant images, `lesion` of each lesion."""
    rows = []
    for label, count in enumerate(counts):
        for number in range(count):
            name = f"{'bm'[label]}{number:05d}"
            rows.append({
                "image_id": name, "path": f"/nowhere/{name}.png", "sha256": f"{label}{number:063x}", "width": 40,
                "height": 40, "melanoma": label, "source": "x", "lesion_id": f"L{label}{number // lesion}",
            })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def make_pool():
    return pool_of


@pytest.fixture
def make_manifest():
    return manifest_of


@pytest.fixture
def pool():
    return pool_of()


@pytest.fixture
def fabric():
    from dermdistill.training.loop import make_fabric

    torch.set_num_threads(1)
    return make_fabric("cpu")
