"""How long a command takes to start, in CPU seconds of a fresh process; the least of several tries.

    python benchmarks/startup.py

Prints a line for each command: seconds, and as a ratio of what the interpreter takes that imports nothing. What a
start must not import is tested in tests/test_imports.py and tests/test_project.py; how long it takes depends on the
machine and is measured here.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TRIES = 5
EXAMPLE = Path(__file__).resolve().parents[1] / "web" / "example.jpg"
DEMO = Path(__file__).resolve().parents[1] / "src" / "dermdistill" / "recipes" / "demo.toml"


def seconds(command: list[str]) -> float:
    """CPU seconds of a process and its children, the least of `TRIES`."""
    found = []
    for _ in range(TRIES):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        found.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(found)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python -c pass": ["-c", "pass"],
            "dermdistill --version": ["-m", "dermdistill", "--version"],
            "dermdistill predict --help": ["-m", "dermdistill", "predict", "--help"],
            "dermdistill predict one.jpg": ["-m", "dermdistill", "predict", str(EXAMPLE)],
            "import dermdistill.recipe.spec": ["-c", "import dermdistill.recipe.spec"],
            "dermdistill run --dry-run": ["-m", "dermdistill", "run", str(DEMO), "--dry-run", "--out", folder],
        }
        base = 0.0
        for name, arguments in commands.items():
            found = seconds([sys.executable, *arguments])
            base = base or max(found, os.sysconf("SC_CLK_TCK") ** -1)
            print(f"{name:<32} {found:.2f} s, {found / base:.1f} times the bare interpreter")
    return 0


if __name__ == "__main__":
    sys.exit(main())
