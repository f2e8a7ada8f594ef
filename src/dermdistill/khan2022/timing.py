"""How long prediction takes: every system on the same batches, in one run, with and without decoding.

Each batch is decoded once, by the clock, and then goes through every system in turn, by the clock, so that whatever
slows the machine slows all of them alike. A system's time with decoding is the sum of both. The result is the
median over repetitions, scaled to 3,000 images where fewer were used.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dermdistill.files import read_json, write_json
from dermdistill.khan2022.data import Pool
from dermdistill.khan2022.protocol import Faults
from dermdistill.khan2022.recipe import TimingSpec
from dermdistill.khan2022.systems import build_system
from dermdistill.khan2022.task import Entry, entry_of
from dermdistill.run import hardware

IMAGES = 3000
"""Images that the published times are for."""
_WARM = 2
_FAST = torch.channels_last
"""The memory layout of networks and images; training has it too."""


def measure_timing(
    pool: Pool, systems: Sequence[str], image_size: int, spec: TimingSpec, device: torch.device, path: Path
) -> dict[str, Any]:
    """Time the systems, or read what was timed with the same settings on the same machine.

    Args:
        pool: the images; they are used from its start, again from there if there are too few.
        systems: names of the systems. Untrained weights are used: a network's speed does not depend on them.
        image_size: side in pixels.
        spec: how many images, batch size, repetitions.
        device: where the networks run.
        path: the JSON file of the result.
    """
    asked = {
        "systems": list(systems), "image_size": image_size, **spec.model_dump(), "device": str(device),
        "hardware": hardware(), "threads": torch.get_num_threads(), "pool": pool.sha256,
    }  # fmt: skip
    if path.exists() and (found := read_json(path))["asked"] == asked:
        return found
    models = {
        name: build_system(name, image_size=image_size, weights="none").eval().to(device, memory_format=_FAST)
        for name in systems
    }
    entries = {name: entry_of(name, Faults()) for name in systems}
    runs = [_run_once(pool, models, entries, spec, device) for _ in range(spec.repeats)]
    scale = IMAGES / spec.images
    decode = float(np.median([run["decode"] for run in runs])) * scale
    rows: dict[str, dict[str, float | None]] = {}
    base: dict[str, float] = {}
    for name in systems:
        forward = float(np.median([run[name] for run in runs])) * scale
        rows[name] = {"forward_seconds": forward, "with_decoding_seconds": forward + decode}
        if name == "dsnet":
            base = {"forward": forward, "with_decoding": forward + decode}
    for row in rows.values():
        for key in ("forward", "with_decoding"):
            seconds = row[f"{key}_seconds"]
            row[f"{key}_ratio"] = seconds / base[key] if seconds and base else None
    found = {"asked": asked, "for_images": IMAGES, "decode_seconds": decode, "systems": rows}
    write_json(path, found)
    return found


@torch.inference_mode()
def _run_once(
    pool: Pool, models: dict[str, nn.Module], entries: dict[str, Entry], spec: TimingSpec, device: torch.device
) -> dict[str, float]:
    """Seconds of decoding and of each system for all images."""
    rows = np.arange(spec.images) % len(pool)
    batches = [rows[start : start + spec.batch_size] for start in range(0, len(rows), spec.batch_size)]
    warm = pool.pixels.read(batches[0]).to(device)
    for name, model in models.items():
        for _ in range(_WARM):
            model(entries[name](warm))
    seconds = dict.fromkeys(["decode", *models], 0.0)
    for batch in batches:
        began = time.perf_counter()
        pixels = pool.pixels.decode(batch)
        seconds["decode"] += time.perf_counter() - began
        pixels = pixels.to(device)
        for name, model in models.items():
            _wait(device)
            began = time.perf_counter()
            model(entries[name](pixels)).cpu()
            _wait(device)
            seconds[name] += time.perf_counter() - began
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
