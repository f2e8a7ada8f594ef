"""Fuzz the readers of files from elsewhere, guided by coverage; `make fuzz` runs it.

    python fuzz/run.py [--seconds 600] [TARGET …]

Needs atheris (`uv sync --group fuzz`; Linux on x86_64). The seconds are shared out among the targets of `targets.py`,
each in a process of its own. A file that is read neither way, takes more than `PATIENCE` seconds or `MEMORY` MB is left
in `fuzz/found/`, and the exit code is 1. `python fuzz/run.py --try FILE TARGET` reads such a file again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOUND = HERE / "found"
PATIENCE, MEMORY, LARGEST = 30, 3000, 20_000


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["dermdistill", "pydicom", "tomllib"]):
        sys.path.insert(0, str(HERE))
        import targets

        target = targets.TARGETS[name]
    corpus = Path(tempfile.mkdtemp(prefix=f"dermdistill-{name}-"))
    for number, content in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(content)
    options = {
        "max_total_time": seconds, "timeout": PATIENCE, "rss_limit_mb": MEMORY, "max_len": LARGEST,
        "artifact_prefix": f"{FOUND}/{name}-", "print_final_stats": 1, "verbosity": 0,
    }  # fmt: skip
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)], target.try_on)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (600)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--try", dest="file", type=Path, help="read this file with the target, without fuzzing")
    asked = parser.parse_args()
    if asked.one:
        fuzz(asked.one, asked.seconds)
        return 0
    sys.path.insert(0, str(HERE))
    from targets import TARGETS

    names = asked.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"unknown targets {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if asked.file:
        for name in names:
            TARGETS[name].try_on(asked.file.read_bytes())
        return 0
    FOUND.mkdir(exist_ok=True)
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        command = [sys.executable, __file__, "--one", name, "--seconds", str(max(1, asked.seconds // len(names)))]
        ended = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        if ended.returncode:
            failed.append(name)
    print(f"FAIL: {', '.join(failed)}; see {FOUND}" if failed else f"PASS: {', '.join(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
