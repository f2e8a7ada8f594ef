"""The engine for clusters: the bytes of the local one, with a worker that is killed in the middle."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from dermdistill.predict.engines import carry_out
from dermdistill.predict.shards import Settings

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
NAMES = [f"{number:02d}.jpg" for number in range(12)]


def _workers(of: int) -> list[int]:
    """The processes below one that carry out Ray's actors of ours."""
    import psutil

    found = []
    for child in psutil.Process(of).children(recursive=True):
        title = " ".join(child.cmdline())
        if title.startswith("ray::") and "IDLE" not in title:
            found.append((title, child.pid))
    return [pid for title, pid in found if "Map" in title]


def test_a_worker_that_is_killed_is_replaced_and_the_bytes_are_those_of_the_local_engine(files_server, draw, tmp_path):
    from dermdistill.predict.bundle import open_bundle

    draw(tmp_path / "web", NAMES)
    images = [f"{files_server.address}/{name}" for name in NAMES]
    settings = Settings(str(open_bundle(None).folder), 0.5, batch_size=3, gate="judge")
    list(carry_out(settings, images, str(tmp_path / "local"), shards=4))
    files_server.hold("/07.jpg")
    command = [
        sys.executable, "-m", "dermdistill", "predict", *images, "--shards", "4", "--out", str(tmp_path / "ray"),
        "--threshold", "0.5", "--batch-size", "3", "--gate", "judge", "--engine", "ray",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(process.communicate()[0]))
    reader.start()
    try:
        assert files_server.waits.wait(120), said
        workers = _workers(process.pid)
        assert len(workers) == 2
        for pid in workers:  # the one that waits, and the other
            os.kill(pid, signal.SIGKILL)
        files_server.held = None
        files_server.goes_on.set()
        reader.join(120)
        assert process.returncode == 0, said
    finally:
        process.kill()
        reader.join(10)
    shards = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("local", "ray")]
    assert shards[0] == shards[1]
