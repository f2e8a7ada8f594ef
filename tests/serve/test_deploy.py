"""The container image and the systemd unit, as far as they can be tried without a container."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from dermdistill.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
UNIT = ROOT / "deploy" / "dermdistill.service"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, without comments and line breaks."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def last_stage() -> dict[str, str]:
    found = instructions()
    start = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return dict(found[start:])


def in_context(path: str) -> bool:
    """Whether the build sees a file: the last rule of the ignore file that fits it or a folder above it decides."""
    seen = True
    for rule in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").split():
        name = rule.removeprefix("!")
        fits = name == "*" or path == name or path.startswith(f"{name}/")
        if name.startswith("**/"):
            fits = f"/{name[3:]}/" in f"/{path}"
        if fits:
            seen = rule.startswith("!")
    return seen


def test_the_build_sees_all_that_the_wheel_is_made_of():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = ["pyproject.toml", project["project"]["readme"], *wheel["force-include"], *wheel["packages"], "LICENSE"]
    assert [name for name in needed if not (ROOT / name).exists()] == []
    assert [name for name in needed if not in_context(name)] == []
    assert in_context("src/dermdistill/weights/lite0-cut-112/model.onnx")


@pytest.mark.parametrize("path", [
    ".git/config", ".venv/bin/python", "work/demo/manifest.parquet", "keys.txt", "results/release/report.json",
    "src/dermdistill/__pycache__/api.cpython-311.pyc",
])  # fmt: skip
def test_the_build_sees_nothing_that_does_not_belong_into_an_image(path):
    assert not in_context(path)


def test_the_image_runs_without_root_and_from_a_python_that_is_supported():
    bases = [rest for word, rest in instructions() if word == "FROM"]
    (version,) = {re.fullmatch(r"python:(3\.\d+)-slim(?: AS build)?", base)[1] for base in bases}
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version}" in classifiers
    user = last_stage()["USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), (
        f"by number, so that Kubernetes can see that it is not root: {user}"
    )
    assert not [word for word, _ in instructions() if word == "ADD"]


def assert_starts(words: list[str]) -> None:
    """The command line is one that `dermdistill` takes; it is parsed and not carried out."""
    assert words[0] == "/opt/dermdistill/bin/dermdistill"
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    assert words[1] == "serve"
    with pytest.raises(typer.Exit):
        serve.make_context("serve", [*words[2:], "--help"])  # options that do not exist are looked at first
    context = serve.make_context("serve", words[2:], resilient_parsing=True)
    assert context.params["port"] == 8000


def test_the_image_starts_the_service_on_the_port_that_it_exposes():
    stage = last_stage()
    words = json.loads(stage["ENTRYPOINT"])  # as a list: a shell would not pass the signal on
    assert_starts([*words, "--keys", "/keys.txt"])
    assert words[words.index("--port") + 1] == stage["EXPOSE"]
    assert stage["STOPSIGNAL"] == "SIGTERM"


def test_the_images_check_of_health_tells_a_service_from_none(listening):
    command = last_stage()["HEALTHCHECK"].partition(" CMD ")[2]
    python, option, code = json.loads(command)
    assert (python, option) == ("/opt/dermdistill/bin/python", "-c")
    assert code.count("127.0.0.1:8000") == 1

    def check(port: int) -> int:
        there = code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        return subprocess.run([sys.executable, "-c", there], capture_output=True, timeout=60, check=False).returncode

    with listening() as port:
        assert check(port) == 0
    assert check(port) == 1, "nothing listens there any more"


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if re.match(r"\w+=", line):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_starts_the_service_with_the_keys_that_it_loads():
    known = unit()
    words = shlex.split(known["ExecStart"][0])
    assert_starts(words)
    credential = known["LoadCredential"][0].partition(":")[0]
    assert words[words.index("--keys") + 1] == f"${{CREDENTIALS_DIRECTORY}}/{credential}"
    assert words[words.index("--host") + 1] == "127.0.0.1"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit_and_finds_it_well_shut(tmp_path):
    """With a program that is there in the place of the one that the administrator installs."""
    copy = tmp_path / "dermdistill.service"
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/dermdistill/bin/dermdistill", str(shutil.which("true"))), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "dermdistill" in line]
    assert (done.returncode, told) == (0, []), done.stderr
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd is older than 250: no judgement without a running one")
    assert done.returncode == 0, "exposed more than 2.5 of 10:\n" + done.stdout[-600:]
