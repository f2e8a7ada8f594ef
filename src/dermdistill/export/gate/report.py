"""A gate's figures in one file."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dermdistill.export.gate.examine import GateReport, cross_fitted, left_out, of_folders, of_generated
from dermdistill.export.gate.fit import Fitted, Photographs, Plan
from dermdistill.files import sha256_file
from dermdistill.predict.gate import Gate
from dermdistill.run import hardware


def examine(
    graph: Path,
    photographs: Photographs,
    fitted: Fitted,
    plan: Plan,
    *,
    folders: Sequence[Path] = (),
    collections: bool = True,
    tell: Callable[[str], None] = print,
) -> GateReport:
    """Measure a gate that was just fitted.

    Args:
        graph: its file.
        photographs: the dermoscopic images that it was fitted on.
        fitted: what was made of them.
        plan: how.
        folders: of images that are not dermoscopic.
        collections: whether each collection is left out in turn, which takes a training each.
        tell: gets a line a training.

    Raises:
        InputError: a folder holds no image.
    """
    gate = Gate(graph, plan.size)
    of_others = of_folders(gate, folders)
    return GateReport(
        command=shlex.join(["dermdistill", *sys.argv[1:]]),
        hardware=hardware(),
        gate_sha256=sha256_file(graph),
        facts=gate.facts,
        cross_fitted=cross_fitted(fitted, photographs.table, plan.folds),
        left_out=left_out(photographs, fitted, plan, tell) if collections else {},
        photographs=of_others,
        generated=of_generated(gate, plan.seed + 1),
    )
