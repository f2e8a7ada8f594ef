"""A fresh process that loads a graph and judges one image: `python -m dermdistill.bench.child GRAPH RUNTIME SIZE`."""

import json
import sys
from pathlib import Path

import numpy as np

from dermdistill.predict.runtime import load


def peak_mib() -> float:
    """The largest resident memory of this process. Linux tells `getrusage` of the parent's memory too."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 1024


def main() -> None:
    graph, runtime, size = sys.argv[1:]
    image = np.zeros((1, 3, int(size), int(size)), np.float32)
    load(Path(graph), 1, runtime).run(["probabilities"], image)
    print(json.dumps({"peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
