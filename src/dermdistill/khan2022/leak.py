"""What a random split is worth: whether a network does better on lesions of which it has learned another photograph.

The images whose lesion was trained on are no sample of all: a lesion that is photographed several times is another kind
of lesion. Therefore the same comparison is made under the split by lesion, where no network has seen either, and
subtracted. Both kinds of melanomas are compared with the same benign test images, all of them.
"""

from typing import Any

import numpy as np
import torch

from dermdistill.files import write_json
from dermdistill.khan2022.beside import outputs_of
from dermdistill.khan2022.recipe import Row, named_rows
from dermdistill.khan2022.study import Study
from dermdistill.khan2022.task import auroc, ranking

FILE = "leak.json"


def measure_leak(study: Study) -> dict[str, Any] | None:
    """Both splits, seed by seed, of the seeds of which both rows of the ablation are done; None without any.

    Returns:
        What is written into leak.json.
    """
    lesion, random = (named_rows([name], ["ablation"], study.settings, "corrected")[0]
                      for name in ("corrected", "random-split"))  # fmt: skip
    seeds = [
        seed for seed in range(study.settings.seeds.ablation)
        if all("test" in (study.result(row, seed) or {}) for row in (lesion, random))
    ]  # fmt: skip
    if not seeds:
        return None
    found = {"seeds": [{"seed": seed, "lesion": _one(study, lesion, seed), "random": _one(study, random, seed)}
                       for seed in seeds]}  # fmt: skip
    write_json(study.folder / FILE, found)
    return found


def _one(study: Study, row: Row, seed: int) -> dict[str, Any]:
    """AUROC of a row with one seed: of all test images, and of both kinds of melanomas against all benign ones."""
    pool, division = study.pool, study.division(row, seed)
    test, labels = division.test, pool.labels[division.test]
    scores = ranking(torch.from_numpy(outputs_of(study, row, seed, test, "test")))
    several = np.bincount(pool.groups)[pool.groups[test]] > 1
    found: dict[str, Any] = {"auroc": auroc(labels, scores), "n": len(test), "seen": int(division.seen.sum())}
    kinds = {"several": several, "single": ~several, "seen": division.seen, "unseen": ~division.seen}
    for name, kind in kinds.items():
        chosen = (labels == 0) | kind
        found[f"melanomas_{name}"] = int(((labels == 1) & kind).sum())
        found[f"auroc_{name}"] = auroc(labels[chosen], scores[chosen])
    return found
