"""How long prediction takes: every system on the same batches, in one run, with and without decoding.

Each batch is decoded once, by the clock, and then goes through every system in turn, by the clock, so that whatever
slows the machine slows all of them alike. A system's time with decoding is the sum of both. The result is the
median over repetitions, scaled to 3,000 images where fewer were used. Students of this project run beside the systems,
on the same images at their own size, which are decoded by a clock of their own.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dermdistill.files import read_json, sha256_file, write_json
from dermdistill.khan2022.beside import Beside, callables
from dermdistill.khan2022.data import Pool
from dermdistill.khan2022.protocol import Faults
from dermdistill.khan2022.recipe import TimingSpec
from dermdistill.khan2022.systems import build_system
from dermdistill.khan2022.task import entry_of
from dermdistill.run import hardware

IMAGES = 3000
"""Images that the published times are for."""
_WARM = 2
_FAST = torch.channels_last
"""The memory layout of networks and images; training has it too."""


@dataclass(frozen=True)
class Timed:
    """What the clock times."""

    size: int
    """Side of its images in pixels."""
    run: Callable[[Tensor], Any]
    """Takes uint8 [B, 3, S, S] on the device."""


def measure_timing(
    pool: Pool, systems: Mapping[str, tuple[str, int]], image_size: int, spec: TimingSpec, device: torch.device,
    path: Path, students: Sequence[Beside] = (),
) -> dict[str, Any]:  # fmt: skip
    """Time the systems, or read what was timed with the same settings on the same machine.

    Args:
        pool: the images; they are used from its start, again from there if there are too few.
        systems: system and image size by name. Untrained weights are used: a network's speed does not depend on them.
        image_size: side in pixels of the study.
        spec: how many images, batch size, repetitions.
        device: where the networks run.
        path: the JSON file of the result.
        students: bundles that run beside the systems, as a graph in ONNX Runtime on one thread of the processor and
            as a PyTorch module on the device.
    """
    asked = {
        "systems": list(systems), "image_size": image_size, **spec.model_dump(), "device": str(device),
        "hardware": hardware(), "threads": torch.get_num_threads(), "pool": pool.sha256,
    }  # fmt: skip
    if students:
        asked["beside"] = [sha256_file(one.bundle.graph) for one in students]
    if path.exists() and (found := read_json(path))["asked"] == asked:
        return found
    timed = {name: Timed(size, _system(system, size, device)) for name, (system, size) in systems.items()}
    beside = {name: Timed(size, run) for name, (size, run) in callables(list(students), device).items()}
    runs = [_run_once(pool, timed | beside, image_size, spec, device) for _ in range(spec.repeats)]
    scale = IMAGES / spec.images

    def seconds(what: str) -> float:
        return float(np.median([run[what] for run in runs])) * scale

    rows = {name: _row(seconds(name), seconds(_decode(one.size))) for name, one in (timed | beside).items()}
    base = rows.get("dsnet")
    for row in rows.values():
        for key in ("forward", "with_decoding"):
            ratio = row[f"{key}_seconds"] / base[f"{key}_seconds"] if base else None
            row[f"{key}_ratio"] = ratio  # type: ignore[assignment]
    found = {
        "asked": asked, "for_images": IMAGES, "decode_seconds": seconds(_decode(image_size)),
        "systems": {name: {"image_size": one.size, **rows[name]} for name, one in timed.items()},
        "beside": {name: {"image_size": one.size, **rows[name]} for name, one in beside.items()},
    }  # fmt: skip
    write_json(path, found)
    return found


def _row(forward: float, decode: float) -> dict[str, float]:
    return {"forward_seconds": forward, "with_decoding_seconds": forward + decode}


def _decode(size: int) -> str:
    return f"decode at {size}"


def _system(name: str, image_size: int, device: torch.device) -> Callable[[Tensor], Any]:
    model = build_system(name, image_size=image_size, weights="none").eval().to(device).to(memory_format=_FAST)
    entry = entry_of(name, Faults())
    return lambda pixels: model(entry(pixels)).cpu()


@torch.inference_mode()
def _run_once(
    pool: Pool, timed: dict[str, Timed], image_size: int, spec: TimingSpec, device: torch.device
) -> dict[str, float]:
    """Seconds of decoding at each size, and of each network, for all images."""
    rows = np.arange(spec.images) % len(pool)
    batches = [rows[start : start + spec.batch_size] for start in range(0, len(rows), spec.batch_size)]
    sizes = dict.fromkeys([image_size, *(one.size for one in timed.values())])
    for size in sizes:
        warm = pool.pixels.decode(batches[0], size).to(device)
        for one in timed.values():
            for _ in range(_WARM if one.size == size else 0):
                one.run(warm)
    seconds = dict.fromkeys([*map(_decode, sizes), *timed], 0.0)
    for batch in batches:
        images = {}
        for size in sizes:
            began = time.perf_counter()
            images[size] = pool.pixels.decode(batch, size)
            seconds[_decode(size)] += time.perf_counter() - began
            images[size] = images[size].to(device)
        for name, one in timed.items():
            _wait(device)
            began = time.perf_counter()
            one.run(images[one.size])
            _wait(device)
            seconds[name] += time.perf_counter() - began
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
