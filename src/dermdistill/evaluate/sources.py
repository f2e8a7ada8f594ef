"""A model's predictions, from a run folder or from a table."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dermdistill.classes import MELANOMA
from dermdistill.errors import InputError
from dermdistill.run import Run


@dataclass(frozen=True)
class ModelPredictions:
    """Logits of some images, with their roles."""

    classes: tuple[str, ...]
    table: pd.DataFrame
    """Columns image_id, role, logit_<class>."""
    header: dict[str, Any] = field(default_factory=dict)
    """The run's header; empty for a bare table."""

    def logits(self, ids: pd.Series) -> np.ndarray:
        """Logits [N, C] of the given images, in their order."""
        return self.table.set_index("image_id").loc[ids, [f"logit_{name}" for name in self.classes]].to_numpy(float)

    def ids(self, role: str) -> list[str]:
        """The images of a role, sorted."""
        return sorted(self.table.loc[self.table["role"] == role, "image_id"])


def read_model(path: str | Path) -> ModelPredictions:
    """Read predictions from a finished run folder, or from a .parquet or .csv table.

    Raises:
        InputError: nothing there, columns missing, values that are not finite, images twice, no melanoma class.
    """
    path = Path(path)
    header: dict[str, Any] = {}
    if path.is_dir():
        run = Run(path)
        header, path = run.header(), run.predictions
    if not path.is_file():
        raise InputError(f"no predictions at {path}; give a finished run folder, or a .parquet or .csv table")
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    classes = tuple(name.removeprefix("logit_") for name in table.columns if name.startswith("logit_"))
    missing = [name for name in ("image_id", "role") if name not in table.columns]
    if missing or MELANOMA not in classes:
        raise InputError(
            f"{path} needs image_id, role and logit_<class> with logit_{MELANOMA}; it has {list(table.columns)}"
        )
    bad = ~np.isfinite(table[[f"logit_{name}" for name in classes]].to_numpy(float)).all(axis=1)
    if bad.any():
        raise InputError(
            f"{path}: {int(bad.sum())} rows have logits that are not finite, e.g. {table['image_id'][bad].iloc[0]}"
        )
    if table["image_id"].duplicated().any():
        raise InputError(f"{path}: {int(table['image_id'].duplicated().sum())} images stand there twice")
    return ModelPredictions(classes, table, header)
