"""What a command takes to start: CPU seconds of a fresh process, the least of several tries, and memory.

    python benchmarks/startup.py

Prints a line for each command: seconds, their ratio to what the interpreter takes that imports nothing, and the memory
that is resident at most. Each has run once before, so that its bytecode is there, as after every installation by pip.
What a start must not import is tested in tests/test_imports.py and tests/test_project.py; how long it takes depends on
the machine and is measured here.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TRIES = 5
EXAMPLE = Path(__file__).resolve().parents[1] / "web" / "example.jpg"
DEMO = Path(__file__).resolve().parents[1] / "src" / "dermdistill" / "recipes" / "demo.toml"


def cost(command: list[str], bytecode: str) -> tuple[float, float]:
    """CPU seconds of a process, the least of `TRIES`, and its memory in MB; bytecode is kept in a folder."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}
    found = [_once(command, environment) for _ in range(1 + TRIES)][1:]
    return min(found)[0], max(memory for _, memory in found)


def _once(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python -c pass": ["-c", "pass"],
            "dermdistill --version": ["-m", "dermdistill", "--version"],
            "dermdistill predict --help": ["-m", "dermdistill", "predict", "--help"],
            "dermdistill predict one.jpg": ["-m", "dermdistill", "predict", str(EXAMPLE)],
            "import dermdistill.recipe.spec": ["-c", "import dermdistill.recipe.spec"],
            "dermdistill run --dry-run": ["-m", "dermdistill", "run", str(DEMO), "--dry-run", "--out", folder + "/run"],
        }
        base = 0.0
        for name, arguments in commands.items():
            seconds, memory = cost([sys.executable, *arguments], str(Path(folder, "bytecode")))
            base = base or seconds
            print(
                f"{name:<32} {seconds:.2f} s, {seconds / base:.1f} times the bare interpreter, {memory:.0f} MB resident"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
