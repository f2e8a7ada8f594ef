"""A student of this project beside the systems of a study, on test images that it has not learned from.

A bundle that ships has learned from every image, so that nothing can be judged with it here: of such a one the report
tells what it costs. A bundle of one fold names its splits by their hash and says how many images it left out, so that
the images that it has not seen are known. It is judged on those of them that are among the study's test images, and
every system of Table 2 on the same ones, with paired differences.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from dermdistill.data.splits import read_splits
from dermdistill.errors import InputError
from dermdistill.evaluate import metrics
from dermdistill.evaluate.intervals import difference, figure, in_blocks, resamples
from dermdistill.files import atomic_path, sha256_file, write_json
from dermdistill.khan2022.data import Pool
from dermdistill.khan2022.protocol import Protocol, probabilities
from dermdistill.khan2022.recipe import Row, rows_of
from dermdistill.khan2022.study import Study, kept_epoch, trained
from dermdistill.khan2022.task import entry_of, predict, ranking
from dermdistill.predict.bundle import Bundle, open_bundle
from dermdistill.predict.predictor import Predictor

FILE = "beside.json"
PROTOCOLS: tuple[Protocol, ...] = ("corrected", "as-published")
_REPLICATES = 1000
_BATCH = 64
_SEED = 0
"""The seed of the rows that students are judged beside."""
_BOTH = "benign and malignant images are needed"


@dataclass(frozen=True)
class Beside:
    """A student's bundle, and what it is known not to have learned from."""

    bundle: Bundle
    unseen: frozenset[str] | None
    """Ids of the images that it has not learned from; None where that is not known."""
    reason: str = ""
    """Why nothing can be judged, if so."""


def open_beside(names: list[str], splits: Path | None, fold: int | None) -> list[Beside]:
    """Open bundles, and find the images that they have not learned from.

    Args:
        names: folders, or names of bundles that ship.
        splits: the splits.json that the bundles were trained with; without it they are not judged, only counted.
        fold: the fold that was left out of their training.

    Raises:
        InputError: only one of `splits` and `fold` is given, a bundle was not trained with these splits, or it learned
            from images of the fold.
        IntegrityError: the bundle or the splits were changed.
    """
    if (splits is None) != (fold is None):
        raise InputError("--beside-splits and --beside-fold belong together: the splits, and the fold left out of them")
    return [_known(open_bundle(name), splits, fold) for name in names]


def _known(bundle: Bundle, splits: Path | None, fold: int | None) -> Beside:
    data = bundle.spec.data
    if splits is None or fold is None:
        return Beside(bundle, None, "no splits are given, so that it may have learned from the test images")
    header = read_splits(splits)
    if data.splits_sha256 != header.sha256:
        raise InputError(
            f"{bundle.folder} was trained with the splits {str(data.splits_sha256)[:12]}…, {splits} is "
            f"{header.sha256[:12]}…; give the splits.json of its own work folder"
        )
    unseen = frozenset(header.ids(fold))
    learned = data.images.get("train", 0) + data.images.get("validation", 0)
    if not unseen or learned != len(header.folds) - len(unseen):
        raise InputError(
            f"{bundle.folder} learned from {learned} images; without fold {fold} of {splits} there are "
            f"{len(header.folds) - len(unseen)}. Give the bundle of the run that left this fold out"
        )
    return Beside(bundle, unseen)


def judge(study: Study, students: list[Beside]) -> dict[str, Any]:
    """What each student costs, and how good it is beside the rows of Table 2 that are done.

    Returns:
        What is written into beside.json.
    """
    found = {"students": [_facts(one) | {"sets": _sets(study, one)} for one in students]}
    write_json(study.folder / FILE, found)
    return found


def _facts(one: Beside) -> dict[str, Any]:
    spec, graph = one.bundle.spec, one.bundle.graph
    return {
        "name": spec.name, "image_size": spec.input.size, "parameters": spec.model.parameters, "macs": spec.model.macs,
        "bytes": graph.stat().st_size, "sha256": sha256_file(graph), "threshold": spec.default_threshold,
        "learned_from": spec.data.images.get("train", 0) + spec.data.images.get("validation", 0),
        "reason": one.reason,
    }  # fmt: skip


def _sets(study: Study, one: Beside) -> dict[str, Any]:
    """For each protocol, whose divisions differ: student and rows on the test images that the student has not seen."""
    if one.unseen is None:
        return {}
    mine = np.array([name in one.unseen for name in study.pool.ids])
    chance = np.full(len(study.pool), np.nan)
    chance[mine] = _melanoma(one.bundle, study.pool, np.flatnonzero(mine))
    found: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        rows = [row for row in rows_of("2", study.settings, protocol) if _is_done(study, row)]
        if rows:
            found[protocol] = _Judged(study, one, mine, chance, rows).figures()
    return found


def _is_done(study: Study, row: Row) -> bool:
    result = study.result(row, _SEED)
    return result is not None and "failed" not in result


def _melanoma(bundle: Bundle, pool: Pool, rows: np.ndarray) -> np.ndarray:
    """The student's probability of melanoma of some images, float64 [N]; each is decoded at the student's own size."""
    predictor, spec = Predictor(bundle, threads=1), bundle.spec
    found = [np.zeros(0)]
    for start in range(0, len(rows), _BATCH):
        pixels = pool.pixels.decode(rows[start : start + _BATCH], spec.input.size)
        found.append(predictor.probabilities(pixels.permute(0, 2, 3, 1).numpy())[:, spec.melanoma_index].astype(float))
    return np.concatenate(found)


@dataclass
class _Judged:
    """One protocol's rows and a student on the same images."""

    study: Study
    one: Beside
    mine: np.ndarray
    """bool, images of the pool that the student has not learned from."""
    chance: np.ndarray
    """The student's probability of melanoma of these, NaN of others."""
    rows: list[Row]

    def __post_init__(self) -> None:
        pool, division = self.study.pool, self.study.division(self.rows[0], _SEED)
        self.tested = division.test[self.mine[division.test]]
        others = self.mine & ~np.isin(pool.groups, pool.groups[division.test])
        self.others = np.flatnonzero(others)
        self.labels = pool.labels[self.tested]
        lesions = np.unique(pool.groups[self.tested], return_inverse=True)[1]
        self.weights = resamples(lesions, _REPLICATES, seed=0) if len(lesions) else np.ones((1, 0), np.float32)

    def figures(self) -> dict[str, Any]:
        facts = {"n": len(self.tested), "malignant": int(self.labels.sum())}
        if not 0 < facts["malignant"] < facts["n"]:
            return facts | {"student": None, "rows": []}
        chance, point = self.chance[self.tested], self._balanced()
        named = self.one.bundle.spec.default_threshold
        cuts = {"threshold": self.one.bundle.spec.thresholds[named].value, "balanced": point}
        right = {key: None if cut is None else self._accuracy(chance >= cut) for key, cut in cuts.items()}
        area = self._auroc(chance)
        student = {"auroc": vars(figure(area, _BOTH)), "cuts": cuts, "balanced_chosen_on": len(self.others)}
        student |= {f"accuracy_{key}": None if values is None else vars(figure(values, _BOTH))
                    for key, values in right.items()}  # fmt: skip
        return facts | {"student": student, "rows": [self._row(row, area, right["balanced"]) for row in self.rows]}

    def _row(self, row: Row, area: np.ndarray, right: np.ndarray | None) -> dict[str, Any]:
        """A system's figures, and the student's less these."""
        outputs = torch.from_numpy(outputs_of(self.study, row, _SEED, self.tested, "beside"))
        theirs = self._auroc(ranking(outputs))
        correct = self._accuracy(probabilities(outputs.double(), row.faults)[:, 1].numpy() > 0.5)
        return {
            "name": row.name, "system": row.system, "distilled": row.distilled,
            "auroc": vars(figure(theirs, _BOTH)), "accuracy": vars(figure(correct, _BOTH)),
            "auroc_gap": vars(difference(area, theirs)),
            "accuracy_gap": None if right is None else vars(difference(right, correct)),
        }  # fmt: skip

    def _balanced(self) -> float | None:
        """The threshold of the largest mean of sensitivity and specificity on unseen images that are not tested."""
        truth, chance = self.study.pool.labels[self.others], self.chance[self.others]
        if not 0 < truth.sum() < len(truth):
            return None
        cuts = np.unique(chance)
        above = chance[None] >= cuts[:, None]
        return float(cuts[np.argmax(above[:, truth == 1].mean(1) - above[:, truth == 0].mean(1))])

    def _auroc(self, scores: np.ndarray) -> np.ndarray:
        scored = metrics.Scored(scores, self.labels.astype(float), None, None)
        return in_blocks(lambda part: metrics.auroc(scored, part), self.weights)

    def _accuracy(self, predicted: np.ndarray) -> np.ndarray:
        right = (predicted.astype(np.int64) == self.labels).astype(float)
        return in_blocks(lambda part: part @ right / part.sum(1), self.weights)


def outputs_of(study: Study, row: Row, seed: int, rows: np.ndarray, purpose: str) -> np.ndarray:
    """The logits of a finished row's network of some images of the pool, float32 [N, 2], kept in its run's folder.

    Args:
        study: where the row was trained.
        row: finished.
        seed: of the row.
        rows: of the pool, int64 [N].
        purpose: part of the file's name; it holds the outputs for the images of the last call.
    """
    path = study.run(row, seed).folder / f"{purpose}-{kept_epoch(row)}.safetensors"
    if path.exists():
        kept = load_file(path)
        if np.array_equal(kept["rows"].numpy(), rows):
            return kept["logits"].numpy()
    study, device = study.at(row), study.fabric.device
    model = trained(study, row, seed, kept_epoch(row))
    logits = predict(model, study.pool.pixels, rows, entry_of(row.system, row.faults), device)
    with atomic_path(path) as temporary:
        save_file({"rows": torch.from_numpy(rows.astype(np.int64)), "logits": torch.from_numpy(logits)}, temporary)
    return logits


def callables(students: list[Beside], device: torch.device) -> dict[str, tuple[int, Callable[[torch.Tensor], Any]]]:
    """What the clock times of each student: its graph in ONNX Runtime on one thread, and its network in PyTorch.

    Returns:
        For each form its side in pixels, and what takes uint8 [B, 3, S, S] on the device and gives probabilities.

    Raises:
        InputError: a bundle whose network cannot be built again.
    """
    from dermdistill.export.module import build_classifier

    found: dict[str, tuple[int, Callable[[torch.Tensor], Any]]] = {}
    for one in students:
        size, name = one.bundle.spec.input.size, one.bundle.spec.name
        predictor = Predictor(one.bundle, threads=1)
        module = build_classifier(one.bundle).to(device)
        module.network.to(memory_format=torch.channels_last)
        found[f"{name}, ONNX Runtime"] = (size, _through_graph(predictor))
        found[f"{name}, PyTorch"] = (size, _through_module(module))
    return found


def _through_graph(predictor: Predictor) -> Callable[[torch.Tensor], Any]:
    return lambda pixels: predictor.probabilities(pixels.permute(0, 2, 3, 1).cpu().numpy())


def _through_module(module: Any) -> Callable[[torch.Tensor], Any]:
    return lambda pixels: module.probabilities(pixels.contiguous(memory_format=torch.channels_last))
