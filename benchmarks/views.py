"""What rendering views from sources of twice the side costs a training step.

Compares the rendering of `dermdistill.images.render` with warping images that were shrunk before, as the first
version did it (cheaper, and its views are blurred). Both make the same batches for the lite0_cut student at 112 px;
a step is views, normalising, forward, backward and optimiser. Old and new steps alternate in one run, in one
thread. Target: with the new rendering at least 0.8 of the old number of images a second.

    .venv/bin/python benchmarks/views.py [--steps 8] [--data DIR]
"""

import statistics
import sys
import time

import _common as common
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dermdistill.images.cache import open_cache
from dermdistill.images.preprocess import SOURCE_SCALE
from dermdistill.images.render import _colour, _geometry, apply_views
from dermdistill.images.view_spec import ViewSpec
from dermdistill.images.views import sample_views, view_seed
from dermdistill.networks import registry
from dermdistill.training.task import normalise

TARGET = 0.8
SIDE = 112


def shrunk_then_warped(images: Tensor, parameters: Tensor) -> Tensor:
    """The first version's rendering of images that have the network's size."""
    pixels = images.float().div_(255)
    grid = functional.affine_grid(_geometry(parameters), list(pixels.shape), align_corners=False)
    return _colour(functional.grid_sample(pixels, grid, "bilinear", "reflection", align_corners=False), parameters)


def main() -> int:
    asked = common.arguments(__doc__, 8)
    torch.set_num_threads(1)
    known = registry.spec(common.STUDENT)
    model = registry.build(common.STUDENT, 7, image_size=SIDE, weights="none").to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    seconds: dict[str, list[float]] = {"old": [], "new": []}
    rendering: dict[str, list[float]] = {"old": [], "new": []}
    with common.images(asked, 4 * common.BATCH) as (manifest, folder):
        caches = {
            "old": open_cache(manifest, SIDE, folder),
            "new": open_cache(manifest, SOURCE_SCALE * SIDE, folder, "source"),
        }
        for step in range(asked.steps + 1):
            rows = np.random.default_rng([asked.seed, step]).permutation(len(manifest))[: common.BATCH]
            shas = [caches["new"].sha256s[row] for row in rows]
            parameters = torch.from_numpy(sample_views(shas, view_seed(asked.seed, step + 1), ViewSpec()))
            for kind in ("old", "new") if step % 2 else ("new", "old"):
                start = time.perf_counter()
                pixels = torch.from_numpy(caches[kind].images[rows])
                views = (
                    apply_views(pixels, parameters, SIDE) if kind == "new" else shrunk_then_warped(pixels, parameters)
                )
                rendered = time.perf_counter()
                images = normalise(views, known.mean, known.std).contiguous(memory_format=torch.channels_last)
                loss = functional.cross_entropy(model(images), torch.zeros(len(rows), dtype=torch.long))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if step:  # the first one warms up
                    seconds[kind].append(time.perf_counter() - start)
                    rendering[kind].append(rendered - start)
    for kind in seconds:
        step_time, view_time = statistics.median(seconds[kind]), statistics.median(rendering[kind])
        print(
            f"{kind}:     views {common.BATCH / view_time:.0f} images/s ({1000 * view_time:.0f} ms a batch), "
            f"step {common.BATCH / step_time:.1f} images/s ({1000 * step_time:.0f} ms)"
        )
    ratio = statistics.median(seconds["old"]) / statistics.median(seconds["new"])
    print(f"{'PASS' if ratio >= TARGET else 'FAIL'}: images/s, new / old {ratio:.3f}, target at least {TARGET}")
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
