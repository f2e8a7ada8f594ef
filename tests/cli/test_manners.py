"""What all commands have in common: help, examples, loudness, colours, errors in words, exit codes, completion."""

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dermdistill import cli, talk
from dermdistill.cli import app
from dermdistill.cli.catalogue import MODULES, PANELS
from dermdistill.errors import EXIT_CODES, ExitCode

ROOT = Path(__file__).resolve().parents[2]


def commands() -> dict[str, Any]:
    """Every command by its words, groups too."""

    def walk(command: Any, name: str) -> dict[str, Any]:
        below = getattr(command, "commands", {})
        found = {name: command} if name else {}
        for word, one in below.items():
            found |= walk(one, f"{name} {word}".strip())
        return found

    return walk(typer.main.get_command(app), "")


def test_every_command_has_a_panel_and_examples():
    known = {name for panel in PANELS.values() for name in panel}
    assert known == set(commands())


def test_every_command_is_found_in_its_module():
    """Else it would start with all others, or not at all."""
    named = [name for names in MODULES.values() for name in names]
    assert sorted(named) == sorted(name for name in commands() if " " not in name)


def test_a_command_starts_without_the_modules_of_others():
    code = (
        "import sys\n"
        "from dermdistill.cli import main\n"
        "sys.argv = ['dermdistill', 'predict', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'dermdistill.cli.predict' in sys.modules and 'dermdistill.cli.train' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_predict_starts_no_threads_of_numpy_unless_the_user_wants_some(given: dict[str, str], expected: str):
    asked = "from dermdistill.cli import main; import os, sys, atexit; "
    asked += "atexit.register(lambda: print(os.environ['OPENBLAS_NUM_THREADS'])); main()"
    command = [sys.executable, "-c", asked, "predict", "--help"]
    free = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(command, env=free | given, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected


@pytest.mark.parametrize("name", commands())
def test_help_shows_examples_and_the_options_of_every_command(name: str):
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert f"$ dermdistill {name}" in shown.output
    for option in ("--quiet", "-q", "--verbose", "-v", "--debug"):
        assert option in shown.output.split()


@pytest.mark.parametrize("line", [line for panel in PANELS.values() for lines in panel.values() for line in lines])
def test_examples_fit_the_commands(line: str):
    words = shlex.split(line.partition(" > ")[0])[1:]
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    command.make_context("dermdistill", words)


def test_the_help_groups_the_commands_and_tells_every_exit_code():
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).output
    places = [text.index(f"─ {panel} ") for panel in PANELS]
    assert places == sorted(places)
    assert "─ Commands ─" not in text
    for code, meaning in EXIT_CODES.items():
        assert f"{code}  {meaning}" in text


def test_the_reference_tells_every_exit_code():
    lines = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("| code | meaning |")
    told = lines[start + 2 : start + 2 + len(EXIT_CODES)]
    assert told == [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    assert set(EXIT_CODES) == set(ExitCode)


def _main(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    monkeypatch.setattr(sys, "argv", ["dermdistill", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return (end.value.code or 0, *capsys.readouterr())


@pytest.fixture
def broken(monkeypatch):
    """A command whose code has a fault."""

    def fault() -> list[Any]:
        raise ZeroDivisionError("what nobody foresaw")

    monkeypatch.setattr("dermdistill.publish.models.shipped_models", fault)


def test_a_fault_is_told_without_a_traceback(broken, monkeypatch, capsys):
    code, out, told = _main(monkeypatch, capsys, "models")
    assert (code, out) == (ExitCode.FAULT, "")
    (line,) = told.splitlines()
    assert line.startswith("error: ZeroDivisionError: what nobody foresaw. This is a fault of dermdistill")
    assert "--debug" in line


@pytest.mark.parametrize("arguments", [["--debug", "models"], ["models", "--debug"]], ids=" ".join)
def test_debug_shows_where_an_error_comes_from(broken, monkeypatch, capsys, arguments):
    code, _, told = _main(monkeypatch, capsys, *arguments)
    assert code == ExitCode.FAULT
    assert "Traceback (most recent call last)" in told
    assert 'raise ZeroDivisionError("what nobody foresaw")' in told
    assert told.splitlines()[-1].startswith("error: ZeroDivisionError")


def test_debug_is_of_one_command_alone(broken, monkeypatch, capsys):
    _main(monkeypatch, capsys, "models", "--debug")
    assert "Traceback" not in _main(monkeypatch, capsys, "models")[2]
    monkeypatch.setenv("DERMDISTILL_DEBUG", "1")
    assert "Traceback" in _main(monkeypatch, capsys, "models")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "meant"),
    [
        (["prdict", "x.jpg"], 2, "predict"),
        (["data", "splitt", "m.csv"], 2, "split"),
        (["predict", "--modle", "x", "x.jpg"], 2, "--model"),
        (["recipes", "copy", "relese"], 2, "release"),
        (["run", "relese"], 2, "release"),
        (["verify", "lite0-cut-46"], 2, "lite0-cut-64"),
        (["fetch-artifacts", "release-rums", "--list"], 2, "release-runs"),
        (["reproduce", "khan2022", "--budget", "smok"], 2, "smoke"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_mistyped_name_is_told_the_nearest(monkeypatch, capsys, arguments, code, meant):
    ended, _, told = _main(monkeypatch, capsys, *arguments)
    assert ended == code
    assert meant in " ".join(told.split())
    assert any(words in told.lower() for words in ("did you mean", "possible options"))


@pytest.fixture
def photo(tmp_path):
    from PIL import Image

    Image.radial_gradient("L").convert("RGB").save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_quiet_and_verbose_stand_before_or_after_the_command(photo):
    said, gate = {}, ("--gate", "off")
    for options in ([], ["-q"], ["--quiet"], ["-v"], ["--verbose"]):
        for line in ([*options, "predict", photo, *gate], ["predict", photo, *gate, *options]):
            run = CliRunner().invoke(app, line)
            assert run.exit_code == 0
            assert len(run.stdout.splitlines()) == 2
            said.setdefault(" ".join(options), set()).add(run.stderr)
    assert {options: len(texts) for options, texts in said.items()} == dict.fromkeys(said, 1)
    (plain,), (quiet,), (verbose,) = said[""], said["-q"], said["-v"]
    assert quiet == ""
    assert "not a medical device" in plain
    assert verbose.startswith(plain)
    assert "lite0-cut-112 " in verbose.removeprefix(plain)
    assert (said["--quiet"], said["--verbose"]) == ({quiet}, {verbose})


def test_a_command_within_a_group_takes_them_too(tmp_path):
    for line in (["-q", "recipes", "copy", "release"], ["recipes", "-q", "copy", "release"]):
        run = CliRunner().invoke(app, [*line, str(tmp_path / f"{len(line)}{line[0]}.toml")])
        assert (run.exit_code, run.output) == (0, "")
    assert "copied to" in CliRunner().invoke(app, ["recipes", "copy", "release", str(tmp_path / "r.toml")]).output


def test_quiet_and_verbose_together_are_refused():
    run = CliRunner().invoke(app, ["models", "-q", "-v"])
    assert run.exit_code == ExitCode.REFUSED
    assert "contradict each other" in run.output


def test_errors_are_told_however_quiet(monkeypatch, capsys):
    code, _, told = _main(monkeypatch, capsys, "-q", "verify", "nowhere")
    assert code == ExitCode.REFUSED
    assert told.startswith("error: there is no bundle at nowhere")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell):
    run = CliRunner().invoke(app, ["completion", shell])
    assert run.exit_code == 0
    assert "_DERMDISTILL_COMPLETE=complete_" + shell in run.stdout
    assert "_DERMDISTILL_COMPLETE" not in os.environ


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dermdistill verif", {"verify"}),
        ("dermdistill predict --model lite0-cut-6", {"lite0-cut-64"}),
        ("dermdistill predict --model lite0-cut-64 --threshold you", {"youden"}),
        ("dermdistill recipes copy releas", {"release", "release-free"}),
        ("dermdistill predict --format js", {"json", "jsonl"}),
    ],
)
def test_a_shell_completes_commands_and_names(line, expected):
    words = line.split()
    asked = {"_DERMDISTILL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    run = CliRunner().invoke(app, [], env=asked, prog_name="dermdistill")
    assert set(run.output.split()) == expected


def _on_a_terminal(arguments: list[str], **environment: str) -> str:
    """What a command writes to a terminal."""
    main, side = pty.openpty()
    command = [sys.executable, "-m", "dermdistill", *arguments]
    given = {**os.environ, "TERM": "xterm", **environment}
    subprocess.run(command, stdout=side, stderr=side, env=given, timeout=120, check=False)
    os.close(side)
    written = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        written += part
    os.close(main)
    return written.decode()


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_colours_are_for_terminals_that_want_them():
    arguments = ["verify", "nowhere"]
    assert "\033[31merror: " in _on_a_terminal(arguments)
    plain = _on_a_terminal(arguments, NO_COLOR="1")
    assert plain.startswith("error: ")
    assert "\033[" not in plain
    command = [sys.executable, "-m", "dermdistill", *arguments]
    assert "\033[" not in subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stderr


LISTINGS = {
    "models": lambda found: found[0]["name"],
    "recipes": lambda found: found[0]["file"],
    "recipes list": lambda found: found[0]["description"],
    "verify": lambda found: found["vectors"][0]["graph"],
    "data fetch --list": lambda found: found[0]["collections"][0]["number"],
    "fetch-artifacts --list": lambda found: found[0]["sha256"],
    "doctor --quick": lambda found: found["models"][0]["name"],
}


@pytest.mark.parametrize("line", LISTINGS)
def test_listings_are_there_for_machines(line):
    run = CliRunner().invoke(app, [*line.split(), "--json"])
    assert run.exit_code == 0, run.output
    assert LISTINGS[line](json.loads(run.stdout))


def test_json_of_students_and_of_a_manifest(tmp_path, make_manifest):
    from dermdistill.data.manifest import manifest_hash, write_manifest

    manifest = make_manifest(14)
    write_manifest(manifest, tmp_path / "m.parquet")
    found = json.loads(CliRunner().invoke(app, ["data", "show", str(tmp_path / "m.parquet"), "--json"]).stdout)
    assert (found["sha256"], found["images"]) == (manifest_hash(manifest), 14)
    assert found["sources"] == {
        "one": {"images": 14, "melanomas": 2, "diagnoses": dict.fromkeys(sorted(set(manifest["diagnosis"])), 2)}
    }
    students = json.loads(CliRunner().invoke(app, ["students", "--json"]).stdout)
    assert {"dsnet", "lite0_cut"} < {student["name"] for student in students}
    assert all(student["fits"] == (student["parameters"] <= 270_000) for student in students)


@pytest.fixture(autouse=True)
def normal():
    """Other tests are as loud as before."""
    yield
    talk.set_loudness(talk.Loudness.NORMAL)
