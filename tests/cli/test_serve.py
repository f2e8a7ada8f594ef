import webbrowser

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.cli.serve import _greet
from dermdistill.errors import InputError

pytest.importorskip("fastapi")

from dermdistill.predict.predictor import Predictor
from dermdistill.serve import server
from dermdistill.serve.keys import read_keys
from dermdistill.serve.settings import Settings


@pytest.fixture
def started(monkeypatch):
    """What `serve` would run, and where."""
    runs = []
    monkeypatch.setattr(server, "run", lambda app, settings, at: runs.append((app, settings, server.address(at))))
    return runs


def test_options_become_settings(started):
    run = CliRunner().invoke(
        app,
        "serve --port 0 --threshold youden --max-megabytes 3 --max-megapixels 4 --max-images 5 --max-requests 6 "
        "--max-queue 7 --read-timeout 8 --answer-timeout 9 --shutdown-timeout 10 --batch-size 11 --decoders 1 "
        "--cors https://a.example --cors https://b.example",
    )
    assert run.exit_code == 0, run.output
    ((service, settings, address),) = started
    limits = settings.limits
    assert (limits.body_bytes, limits.pixels, limits.images) == (3_000_000, 4_000_000, 5)
    assert (limits.requests, limits.queue, limits.read_seconds, limits.answer_seconds) == (6, 7, 8, 9)
    assert (limits.shutdown_seconds, settings.batch_size, settings.decoders) == (10, 11, 1)
    assert settings.cors == ("https://a.example", "https://b.example")
    assert settings.host == "127.0.0.1"
    predictor = service.state.service.predictor
    assert predictor.threshold == predictor.bundle.spec.thresholds["youden"].value
    assert "not a medical device" in run.stderr
    assert f"serving lite0-cut-112 on {address}" in run.stderr
    assert "warning" not in run.stderr
    assert run.stdout == ""


def test_a_model_that_ships_is_served_by_its_name(started):
    run = CliRunner().invoke(app, ["serve", "--port", "0", "--model", "lite0-cut-64", "-q"])
    assert (run.exit_code, run.output) == (0, "")
    ((service, _, _),) = started
    assert service.state.service.predictor.bundle.spec.name == "lite0-cut-64"


def test_the_browser_is_opened_only_if_asked(started, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    for arguments in ([], ["--open"]):
        assert CliRunner().invoke(app, ["serve", "--port", "0", *arguments]).exit_code == 0
    assert opened == [started[1][2]]


@pytest.mark.parametrize(
    ("host", "keys", "warned"), [("0.0.0.0", None, True), ("0.0.0.0", "k", False), ("::1", None, False)]
)
def test_an_open_service_is_warned_of(host, keys, warned, capsys):
    _greet(Predictor(threads=1), Settings(host=host, keys=keys), "http://here")
    assert ("warning: everybody who reaches 0.0.0.0 is answered" in capsys.readouterr().err) == warned


def test_a_missing_file_of_keys_is_told_before_anything_listens(started, tmp_path):
    run = CliRunner().invoke(app, ["serve", "--port", "0", "--keys", str(tmp_path / "none")])
    assert isinstance(run.exception, InputError)
    assert "no such file of keys" in str(run.exception)
    assert started == []


def test_a_key_is_printed_once_and_let_in(tmp_path):
    file = tmp_path / "keys.txt"
    run = CliRunner().invoke(app, ["serve-key", "clinic", "--keys", str(file)])
    assert run.exit_code == 0
    key = run.stdout.strip()
    assert read_keys(file).owner(key) == "clinic"
    assert key not in run.stderr
    assert "note it now" in run.stderr
