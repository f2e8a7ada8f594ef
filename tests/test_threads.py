"""Threads sleep while they wait, as many as the user says."""

import os
import subprocess
import sys

import pytest

from dermdistill.errors import InputError
from dermdistill.threads import COUNTS, WAIT_POLICY, use

TOLD = "import os, dermdistill; print(os.environ['OMP_WAIT_POLICY'])"


def _environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OMP_")} | more


@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({WAIT_POLICY: "ACTIVE"}, "ACTIVE")])
def test_threads_sleep_unless_the_user_says_otherwise(given, expected):
    done = subprocess.run([sys.executable, "-c", TOLD], env=_environment(**given), capture_output=True, check=True)
    assert done.stdout.decode().strip() == expected


def test_openmp_hears_the_policy_that_the_package_sets():
    """OpenMP tells its settings when it is loaded, with torch."""
    command = [sys.executable, "-c", "import dermdistill, torch; torch.ones(9).sum()"]
    done = subprocess.run(
        command, env=_environment(OMP_DISPLAY_ENV="true"), capture_output=True, text=True, check=True
    )  # fmt: skip
    if WAIT_POLICY not in done.stderr:
        pytest.skip("this build of torch has no OpenMP that tells its settings")
    assert f"{WAIT_POLICY} = 'PASSIVE'" in done.stderr


def test_the_option_limits_the_threads_of_a_training(tmp_path):
    recipe = tmp_path / "broken.toml"
    recipe.write_text("name = 1\n", encoding="utf-8")
    asked = "from dermdistill.cli import main; import os, sys, atexit; "
    asked += "atexit.register(lambda: print('threads', os.environ['OMP_NUM_THREADS'])); main()"
    command = [sys.executable, "-c", asked, "distill", str(recipe), "--threads", "3"]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    assert "threads 3" in done.stdout


def test_a_torch_that_is_there_is_told_too(monkeypatch):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    for name in COUNTS:
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    try:
        use(2)
        assert torch.get_num_threads() == 2
        assert {os.environ[name] for name in COUNTS} == {"2"}
    finally:
        torch.set_num_threads(before)


def test_no_threads_are_refused():
    with pytest.raises(InputError, match="at least 1, got 0"):
        use(0)
