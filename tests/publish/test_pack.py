"""A published table holds the same values in fewer bytes."""

import numpy as np
import pandas as pd

from dermdistill.publish.results import keep_only


def test_a_packed_table_holds_the_same_values(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"image_id": [f"ISIC_{number:07}" for number in range(3000)], "role": "test"})
    for name in ("mel", "nv"):
        table[f"logit_{name}"] = draw.normal(size=3000).astype(np.float32)
    table.to_parquet(folder / "predictions.parquet", index=False)
    keep_only(folder, tmp_path / "out", ["predictions.parquet", "run.json"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.parquet"]
    packed = tmp_path / "out" / "predictions.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(packed), table)
    assert packed.stat().st_size < 0.8 * (folder / "predictions.parquet").stat().st_size
