"""Train the rows of Khan et al. 2022 on one GPU, in several calls if need be.

    python scripts/gpu_khan2022.py recipes/khan2022/full.toml --pack PACK --state STATE --out OUT --minutes 8
    python scripts/gpu_khan2022.py recipes/khan2022/full.toml --data MANIFEST --state STATE --out OUT --table 2

Rows follow one another, the first seeds first. Images lie in the GPU's memory as uint8. When the minutes are over, the
training writes a checkpoint, and the same command goes on with it. STATE is the study folder of `dermdistill reproduce
khan2022 --out`, and can be used as such. OUT gets the report of what is done, and zip files of the finished runs, none
larger than --part-mib: unzip them into the study folder elsewhere.

A GPU machine may have no network. ImageNet weights are then those of the pack, or none: --weights none trains from
scratch, --weights package --teacher lite0 takes EfficientNet-Lite0 for the teacher. Each is another study, and the
report says so.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dermdistill.errors import DermdistillError, InputError
from dermdistill.khan2022.data import Pixels
from dermdistill.khan2022.recipe import TABLES, Row, changed, named_rows, settings_of, timed_systems
from dermdistill.khan2022.report import write_report
from dermdistill.khan2022.reproduce import open_study, require_sizes
from dermdistill.khan2022.study import Study, kept_epoch, run_row
from dermdistill.khan2022.timing import measure_timing
from dermdistill.recipe.pack import MIB, Volumes, unpack
from dermdistill.training.loop import make_fabric

STOP_SECONDS = 30
"""How long before the end a training is asked to write its checkpoint; the report is written in this time, too."""
_READ = 256


class OnDevice:
    """A pool's images in the memory of the device, uint8 [N, 3, S, S]; files are decoded as they were."""

    def __init__(self, pixels: Pixels, count: int, device: torch.device):
        parts = [
            pixels.read(np.arange(start, min(start + _READ, count))).to(device) for start in range(0, count, _READ)
        ]
        self.images, self._pixels = torch.cat(parts), pixels

    def read(self, rows: np.ndarray) -> Tensor:
        """uint8 [B, 3, S, S] on the device."""
        return self.images[torch.from_numpy(np.asarray(rows)).to(self.images.device)]

    def decode(self, rows: np.ndarray, size: int | None = None) -> Tensor:
        """uint8 [B, 3, S, S] of the files, on the processor's side."""
        return self._pixels.decode(rows, size)


def main(arguments: list[str] | None = None) -> int:
    began = time.monotonic()
    asked = _arguments(arguments)
    try:
        study, rows = prepare(asked)
        ended = carry_out(study, rows, began + 60 * asked.minutes - STOP_SECONDS)
        if ended and asked.clock:
            settings = study.settings
            measure_timing(
                study.pool, timed_systems(settings), settings.image_size, settings.timing, study.fabric.device,
                study.folder / "timing.json",
            )  # fmt: skip
        report(study, rows, asked)
    except DermdistillError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{'all rows are done' if ended else 'stopped; the same command goes on'}, {time.monotonic() - began:.0f} s")
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--pack", type=Path, help="folder of part-*.zip, see gpu_pack.py")
    parser.add_argument("--data", type=Path, help="instead of a pack: a manifest, or the folder of the four arrays")
    parser.add_argument("--state", type=Path, required=True, help="the study folder, kept between calls")
    parser.add_argument("--out", type=Path, required=True, help="gets the report and the finished runs")
    parser.add_argument("--minutes", type=float, default=8, help="time for this call (8)")
    parser.add_argument("--table", choices=TABLES, action="append", help="repeat; by default all")
    parser.add_argument("--row", action="append", default=[], help="only the row of this name; repeat")
    parser.add_argument("--protocol", choices=["corrected", "as-published"], action="append", help="by default both")
    parser.add_argument("--weights", choices=["hub", "package", "none"], help="by default the recipe's")
    parser.add_argument("--teacher", help="another system as the teacher, such as lite0")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], help="by default the recipe's")
    parser.add_argument("--clock", action="store_true", help="time prediction when all rows are done")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu or gpu")
    parser.add_argument("--part-mib", type=float, default=15.5, help="largest file in OUT (15.5)")
    parser.add_argument("--model-weights", action="store_true", help="put the networks into OUT, too")
    return parser.parse_args(arguments)


def prepare(asked: argparse.Namespace) -> tuple[Study, list[Row]]:
    """Open the images, bring them into the device's memory, and list the rows, those of Table 2 first.

    Raises:
        InputError: not one of a pack and data, or settings that do not fit.
    """
    if (asked.pack is None) == (asked.data is None):
        raise InputError(
            "give either --pack, the folder of a pack's parts, or --data, a manifest or the folder of the arrays"
        )
    data = asked.data
    if data is None:
        folder = (asked.state / "pack").absolute()
        unpack(asked.pack, folder)
        os.environ["DERMDISTILL_WEIGHTS"] = str(folder / "weights")
        data = folder / "manifest.parquet"
    settings = changed(settings_of("full", asked.recipe), weights=asked.weights, teacher=asked.teacher)
    if asked.precision:
        settings = settings.model_copy(update={"precision": asked.precision})
    protocols = asked.protocol or ["corrected", "as-published"]
    tables: Any = asked.table or list(TABLES)
    listed = [row for protocol in protocols for row in named_rows(asked.row, tables, settings, protocol)]
    rows = list(dict.fromkeys(listed))  # the ablation is the same under both
    require_sizes(settings, rows, asked.clock)
    fabric = make_fabric(asked.accelerator, precision=settings.precision)
    fabric.launch()
    study = open_study(settings, asked.state, data, asked.state / "cache", fabric, _tell(asked.state / "log.txt"))
    pixels = OnDevice(study.pool.pixels, len(study.pool), fabric.device)
    return dataclasses.replace(study, pool=dataclasses.replace(study.pool, pixels=pixels)), rows


def _tell(log: Path) -> Any:
    def tell(line: str) -> None:
        print(line, flush=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S+00:00', time.gmtime())} {line}\n")

    return tell


def carry_out(study: Study, rows: list[Row], deadline: float) -> bool:
    """Train and measure rows until all are done or the time is over; then the training writes a checkpoint.

    Args:
        study: where.
        rows: in their order; the first seed of all comes before the second of any.
        deadline: of `time.monotonic()`.

    Returns:
        Whether all rows are done.
    """
    before = signal.signal(signal.SIGALRM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, max(0.01, deadline - time.monotonic()))
    seeds = study.settings.seeds
    try:
        for seed in range(max(map(seeds.of, rows))):
            for row in rows:
                if time.monotonic() >= deadline:
                    return False
                if seed < seeds.of(row):
                    run_row(study, row, seed)
    except KeyboardInterrupt:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return True


def report(study: Study, rows: list[Row], asked: argparse.Namespace) -> None:
    """Write the report and the finished runs into OUT, and say how far every row is."""
    asked.out.mkdir(parents=True, exist_ok=True)
    write_report(study)
    with Volumes(asked.out, "khan2022", int(asked.part_mib * MIB)) as volumes:
        for name in ("report.json", "report.md", "report.html", "log.txt", "timing.json"):
            if (study.folder / name).exists():
                volumes.add(name, (study.folder / name).read_bytes())
        done = {}
        for row in rows:
            for seed in range(study.settings.seeds.of(row)):
                done[study.run(row, seed).folder] = (
                    f"{row.table} {row.name}, seed {seed}: {_standing(study, row, seed)}"
                )
        for folder in sorted(path.parent for path in study.folder.glob("runs/*/result-*.json")):
            for path in sorted(folder.iterdir()):
                if path.suffix != ".safetensors" or asked.model_weights:
                    volumes.add(path.relative_to(study.folder).as_posix(), path.read_bytes())
    for line in done.values():
        print(line)
    for path in volumes.paths:
        print(f"{path}  {path.stat().st_size / MIB:.1f} MiB")


def _standing(study: Study, row: Row, seed: int) -> str:
    """How far a row is, in words."""
    result, run = study.result(row, seed), study.run(row, seed)
    if result is not None and "failed" in result:
        return f"failed, {result['failed']}"
    if result is not None:
        return f"done, accuracy {result['test']['accuracy']['value']:.3f}, {kept_epoch(row)} epoch"
    lines = run.read_metrics() if run.header_path.exists() else []
    if not lines:
        return "to do"
    pace = lines[-1]["seconds"] / len(lines)
    left = row.training.epochs - len(lines)
    return f"{len(lines)} of {row.training.epochs} epochs, {pace * left:.0f} s to go"


if __name__ == "__main__":
    sys.exit(main())
