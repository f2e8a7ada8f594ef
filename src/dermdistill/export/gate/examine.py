"""What a gate refuses rightly and wrongly, measured on images that its judge did not learn from."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dermdistill.data.splits import groups
from dermdistill.errors import InputError
from dermdistill.export.gate.fit import PER_IMAGE, Fitted, Photographs, Plan, choose_limits, log_odds, train_judge
from dermdistill.export.gate.negatives import DRAWN, drawn
from dermdistill.export.gate.network import BELOW
from dermdistill.images.preprocess import ImageError, load_rgb, resize_square
from dermdistill.images.walk import walk_images
from dermdistill.predict.gate import REASONS, Gate, GateFacts
from dermdistill.predict.runtime import as_batch
from dermdistill.specs import Strict


class Refusals(Strict):
    """How many of some images are refused."""

    n: int
    refused: int
    share: float
    reasons: dict[str, int]
    """Images by reason; one may have several."""


class GateReport(Strict):
    """The figures of a gate."""

    format: str = "dermdistill-gate-report/1"
    command: str
    hardware: str
    gate_sha256: str
    facts: GateFacts
    cross_fitted: dict[str, Refusals]
    """Dermoscopic images by source, and `all`: judge and limits are those of the other parts (lesions)."""
    left_out: dict[str, Refusals]
    """By collection: judge and limits come from all other collections."""
    photographs: dict[str, Refusals]
    """Images that are not dermoscopic, by folder; none like them were learned from."""
    generated: dict[str, Refusals]
    """New generated images by kind; the judge learned to refuse others of these kinds."""


def cross_fitted(fitted: Fitted, table: pd.DataFrame, folds: int) -> dict[str, Refusals]:
    """False refusals of the images that a gate was fitted on, each by judge and limits of the other parts."""
    excess = np.empty((len(fitted.fold), len(REASONS)))
    for number in range(folds):
        held = fitted.fold == number
        limits = choose_limits(fitted.unseen[~held], fitted.measures[~held])
        excess[held] = _excess(fitted.unseen[held], fitted.measures[held], limits)
    sources = table["source"].to_numpy()
    return {"all": count(excess), **{name: count(excess[sources == name]) for name in sorted(set(sources))}}


def left_out(
    photographs: Photographs, fitted: Fitted, plan: Plan, tell: Callable[[str], None] = print
) -> dict[str, Refusals]:
    """False refusals in each collection by a gate that saw no image of it; nothing where there is but one.

    The judge's limit is from images of the other collections, whose cross-fitted judges saw some of this one.
    """
    collection = collections(photographs.table)
    names = sorted(set(collection))
    found = {}
    for name in names if len(names) > 1 else ():
        held = collection == name
        drawn_images = drawn(round(PER_IMAGE * int((~held).sum())), plan.size, plan.seed)
        judge = train_judge(photographs.pixels[~held], drawn_images, plan)
        limits = choose_limits(fitted.unseen[~held], fitted.measures[~held])
        found[name] = count(_excess(log_odds(judge, photographs.pixels[held]), fitted.measures[held], limits))
        tell(f"without {name}: {found[name].refused} of {found[name].n} images refused")
    return found


def collections(table: pd.DataFrame) -> np.ndarray:
    """The collection of each image [N]: its source, or the sources together that share lesions with it."""
    group = pd.Series(groups(table))
    source = table["source"].reset_index(drop=True)
    names = {name: {name} for name in source.unique()}
    for together in source.groupby(group).unique():
        merged = set().union(*(names[name] for name in together))
        for name in merged:
            names[name] = merged
    return source.map(lambda name: "+".join(sorted(names[name]))).to_numpy()


def of_generated(gate: Gate, seed: int, each: int = 100) -> dict[str, Refusals]:
    """Refusals of new generated images by kind."""
    images = drawn(each * len(DRAWN), gate.facts.size, seed)
    kinds = list(DRAWN)
    return {kind: judged(gate, images[at :: len(kinds)]) for at, kind in enumerate(kinds)}


def of_folders(gate: Gate, folders: Sequence[Path]) -> dict[str, Refusals]:
    """Refusals of the images in some folders and below, by the folder's name.

    Raises:
        InputError: a folder holds no image that can be opened.
    """
    found = {}
    for folder in folders:
        pixels = []
        for path in walk_images(folder).images:
            try:
                pixels.append(resize_square(load_rgb(path), gate.facts.size))
            except ImageError:
                continue
        if not pixels:
            raise InputError(f"{folder} holds no image that can be opened")
        found[folder.name] = judged(gate, np.stack(pixels))
    return found


def judged(gate: Gate, pixels: np.ndarray) -> Refusals:
    """How many of images uint8 [N, S, S, 3] a gate refuses."""
    verdicts = [one for part in np.array_split(pixels, max(1, len(pixels) // 64)) for one in gate.judge(as_batch(part))]
    return count(np.array([[name in one.reasons for name in REASONS] for one in verdicts], float))


def count(excess: np.ndarray) -> Refusals:
    """Refusals of images by how far each measure is beyond its limit, [N, 6]."""
    over = excess > 0
    refused = int(over.any(1).sum())
    reasons = {name: int(over[:, at].sum()) for at, name in enumerate(REASONS)}
    return Refusals(n=len(over), refused=refused, share=refused / len(over), reasons=reasons)


def _excess(judge: np.ndarray, rest: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    signs = np.array([-1.0 if name in BELOW else 1.0 for name in REASONS])
    return (np.column_stack([judge, rest]) - np.array(limits)) * signs
