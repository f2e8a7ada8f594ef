"""Fit a gate: dermoscopic images against generated ones; its limits by images that the judge did not see."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from dermdistill.data.licensing import known_licences
from dermdistill.data.manifest import manifest_hash
from dermdistill.data.splits import groups
from dermdistill.errors import InputError
from dermdistill.export.gate.negatives import drawn, torn
from dermdistill.export.gate.network import BELOW, GateNetwork, Judge, Measures, as_images
from dermdistill.images.preprocess import ImageError, load_rgb, resize_square
from dermdistill.predict.gate import REASONS, GateFacts

LEAST = 50
"""Dermoscopic images that a fit needs at least."""
NOT_DERMOSCOPIC, REST = 0.014, 0.0007
"""Share of unseen dermoscopic images that the judge refuses, and that each of the other reasons refuses."""
PER_IMAGE, _TORN = 1.0, 0.3
"""Generated images of the two sorts for each dermoscopic one."""
_BATCH, _RATE = 64, 3e-3


@dataclass(frozen=True)
class Plan:
    """How a gate is fitted."""

    size: int
    """Side of the model's input in pixels."""
    folds: int = 3
    """Parts of the images, each judged by a judge that the others taught, for the limit."""
    epochs: int = 7
    seed: int = 0


@dataclass(frozen=True)
class Photographs:
    """Dermoscopic images, decoded."""

    table: pd.DataFrame
    """Rows of the manifest [N]."""
    pixels: np.ndarray
    """uint8 [N, S, S, 3]."""


@dataclass(frozen=True)
class Fitted:
    """A gate, and what it made of the images that it was fitted on."""

    network: GateNetwork
    facts: GateFacts
    fold: np.ndarray
    """The part of each image [N]."""
    unseen: np.ndarray
    """The judge's log-odds [N], each of a judge that did not learn from the image's part."""
    measures: np.ndarray
    """The other measures [N, 5]."""


def load_photographs(manifest: pd.DataFrame, size: int, per_source: int, seed: int = 0) -> Photographs:
    """Decode some images of each source; those that cannot be opened are left out.

    Args:
        manifest: dermoscopic images at its paths.
        size: side in pixels.
        per_source: at most so many of each source, drawn at random.
        seed: of the draw.

    Raises:
        InputError: generated images are among them, or fewer than `LEAST` can be opened.
    """
    if (manifest["source"] == "synthetic").any():
        raise InputError(
            "a gate is fitted on real dermoscopic images, and the manifest has generated ones; leave them out"
        )
    generator = np.random.default_rng(seed)
    rows = np.concatenate([
        generator.permutation(np.flatnonzero(manifest["source"] == source))[:per_source]
        for source in sorted(manifest["source"].unique())
    ])  # fmt: skip
    table = manifest.iloc[np.sort(rows)]
    pixels: list[np.ndarray | None] = []
    for path in table["path"]:
        try:
            pixels.append(resize_square(load_rgb(path), size))
        except ImageError:
            pixels.append(None)
    usable = [image is not None for image in pixels]
    if sum(usable) < LEAST:
        raise InputError(f"a gate needs at least {LEAST} dermoscopic images, {sum(usable)} can be opened")
    return Photographs(table[usable].reset_index(drop=True), np.stack([image for image in pixels if image is not None]))


def fit_gate(
    photographs: Photographs, manifest: pd.DataFrame, plan: Plan, tell: Callable[[str], None] = print
) -> Fitted:
    """Fit a gate.

    The judge's limit is the quantile of scores that judges gave to images they had not learned from, of other lesions;
    the gate's own judge learns from all.

    Args:
        photographs: dermoscopic images.
        manifest: that they are from, for its hash.
        plan: how.
        tell: gets a line a training.
    """
    drawn_images = drawn(round(PER_IMAGE * len(photographs.pixels)), plan.size, plan.seed)
    fold = parts(photographs.table, plan.folds, plan.seed)
    unseen = np.empty(len(fold))
    for number in range(plan.folds):
        held = fold == number
        judge = train_judge(photographs.pixels[~held], drawn_images, plan)
        unseen[held] = log_odds(judge, photographs.pixels[held])
        tell(f"part {number + 1} of {plan.folds}: {int(held.sum())} images judged")
    judge = train_judge(photographs.pixels, drawn_images, plan)
    measures = measure(photographs.pixels)
    limits = choose_limits(unseen, measures)
    torn_count = round(_TORN * len(photographs.pixels))
    facts = GateFacts(
        reasons=tuple(REASONS), limits=limits, size=plan.size, manifest_sha256=manifest_hash(manifest),
        licences=tuple(sorted(known_licences(photographs.table))), images=len(fold),
        generated=len(drawn_images) + torn_count, seed=plan.seed,
    )  # fmt: skip
    return Fitted(GateNetwork(judge, plan.size, limits), facts, fold, unseen, measures)


def parts(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """The part of each image [N], 0 to count - 1; all images of a lesion, patient or photograph fall into one."""
    group = groups(table)
    return np.random.default_rng(seed).integers(0, count, int(group.max()) + 1)[group]


def choose_limits(unseen: np.ndarray, measures: np.ndarray) -> tuple[float, ...]:
    """The limits that refuse the shares `NOT_DERMOSCOPIC` and `REST` of these images.

    Args:
        unseen: log-odds of the judge [N].
        measures: the others [N, 5].
    """
    names = tuple(REASONS)[1:]
    rest = [np.quantile(measures[:, at], REST if name in BELOW else 1 - REST) for at, name in enumerate(names)]
    return (float(np.quantile(unseen, 1 - NOT_DERMOSCOPIC)), *map(float, rest))


def train_judge(dermoscopic: np.ndarray, drawn_images: np.ndarray, plan: Plan) -> Judge:
    """Train a judge to tell dermoscopic images from generated ones.

    Args:
        dermoscopic: uint8 [N, S, S, 3].
        drawn_images: uint8 [M, S, S, 3]; others are torn from the dermoscopic ones.
        plan: size, epochs and seed.
    """
    torch.manual_seed(plan.seed)
    generator = torch.Generator().manual_seed(plan.seed)
    judge = Judge(plan.size)
    others = [drawn_images, torn(round(_TORN * len(dermoscopic)), dermoscopic, plan.seed)]
    small = torch.cat([judge.shrink(as_images(part)) for part in (dermoscopic, *others)])
    target = torch.cat([torch.zeros(len(dermoscopic)), torch.ones(len(small) - len(dermoscopic))])
    weight = torch.where(target > 0, 0.5 / target.mean(), 0.5 / (1 - target.mean()))
    steps = plan.epochs * (len(small) // _BATCH)
    optimiser = torch.optim.AdamW(judge.parameters(), _RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, max(1, steps))
    for _ in range(plan.epochs):
        for batch in torch.randperm(len(small), generator=generator).split(_BATCH):
            if len(batch) < _BATCH:
                continue
            answer = judge(_varied(small[batch], generator))[:, 0]
            losses = functional.binary_cross_entropy_with_logits(answer, 0.01 + 0.98 * target[batch], reduction="none")
            optimiser.zero_grad()
            (losses * weight[batch]).mean().backward()
            optimiser.step()
            schedule.step()
    return judge.eval()


def _varied(images: Tensor, generator: torch.Generator) -> Tensor:
    """A batch turned or mirrored, and each image in another light; some batches enlarged, blurred or noisy."""

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    count, turn = len(images), int(torch.randint(8, (1,), generator=generator))
    images = torch.rot90(images, turn % 4, (2, 3))
    images = images.flip(3) if turn > 3 else images
    images = images * (0.85 + 0.3 * draw(count, 1, 1, 1)) * (0.94 + 0.12 * draw(count, 3, 1, 1))
    kind = draw(3)
    if kind[0] < 0.5:
        share = 0.55 + 0.45 * draw(count)
        shift = (1 - share)[:, None] * (2 * draw(count, 2) - 1)
        zero = torch.zeros(count)
        rows = torch.stack([torch.stack([share, zero, shift[:, 0]], 1), torch.stack([zero, share, shift[:, 1]], 1)], 1)
        grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if kind[1] < 0.25:
        images = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), "reflect"), 3, 1)
    if kind[2] < 0.3:
        images = images + 0.03 * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1)


@torch.no_grad()
def log_odds(judge: Judge, pixels: np.ndarray) -> np.ndarray:
    """The judge's log-odds that images uint8 [N, S, S, 3] are not dermoscopic, [N]."""
    parts_of = np.array_split(pixels, max(1, len(pixels) // 256))
    return torch.cat([judge(judge.shrink(as_images(part)))[:, 0] for part in parts_of]).double().numpy()


@torch.no_grad()
def measure(pixels: np.ndarray) -> np.ndarray:
    """The measures of images uint8 [N, S, S, 3] other than the judge's, [N, 5]."""
    measures = Measures(pixels.shape[1])
    parts_of = np.array_split(pixels, max(1, len(pixels) // 256))
    return torch.cat([measures(as_images(part)) for part in parts_of]).double().numpy()
