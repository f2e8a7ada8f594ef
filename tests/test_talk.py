"""How much is said, and bars that leave nothing where there is no terminal."""

import io
import time

import pytest

from dermdistill import talk
from dermdistill.talk import Loudness


class Terminal(io.StringIO):
    """Remembers what a terminal is sent."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def normal():
    yield
    talk.set_loudness(Loudness.NORMAL)


@pytest.mark.parametrize(
    ("loudness", "out", "err"),
    [
        (Loudness.QUIET, "", "look\nwrong\n"),
        (Loudness.NORMAL, "done\n", "going\nlook\nwrong\n"),
        (Loudness.VERBOSE, "done\n", "going\nwith\nlook\nwrong\n"),
    ],
)
def test_what_is_held_back(loudness, out, err, capsys):
    talk.set_loudness(loudness)
    talk.say("done")
    talk.note("going")
    talk.detail("with")
    talk.warn("look")
    talk.blame("wrong")
    assert capsys.readouterr() == (out, err)


def test_a_closed_stream_is_no_error(monkeypatch):
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}", None)
    talk.say("nobody hears it")
    talk.warn("nor this")
    with talk.bars() as bars:
        assert bars.disable


def _bar(**how) -> None:
    with talk.bars(**how) as bars:
        for _ in bars.track(range(3), description="count"):
            time.sleep(0.01)


def test_bars_write_nothing_where_there_is_no_terminal(capsys):
    _bar()
    assert capsys.readouterr() == ("", "")


def test_bars_on_a_terminal_tell_the_time_left(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    _bar()
    assert "count" in terminal.getvalue()
    assert "/3" in terminal.getvalue()
    assert "left" in terminal.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("hidden", ["quiet", "dumb", "disabled"])
def test_bars_are_not_drawn_where_nobody_wants_them(monkeypatch, hidden):
    monkeypatch.setenv("TERM", "dumb" if hidden == "dumb" else "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    if hidden == "quiet":
        talk.set_loudness(Loudness.QUIET)
    _bar(disable=hidden == "disabled")
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_turned_off(monkeypatch, variable, value):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    talk.warn("look")
    monkeypatch.setenv(variable, value)
    talk.warn("look")
    assert terminal.getvalue() == "\033[33mlook\033[0m\nlook\n"
