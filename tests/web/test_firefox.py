"""The page in Firefox gives the answers of Python. Debian's Firefox is driven by its own protocol, Marionette."""

import csv
import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 150
"""Seconds; a busy machine takes its time."""
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element in WebDriver's JSON."""


class Firefox:
    """A headless Firefox with a profile of its own. Messages are JSON behind their length and a colon."""

    def __init__(self, program: str, profile: Path) -> None:
        self.downloads = profile / "downloads"
        self.downloads.mkdir(parents=True)
        preferences = {
            "marionette.port": 0, "browser.download.folderList": 2, "browser.download.dir": str(self.downloads),
            "browser.download.always_ask_before_handling_new_types": False, "intl.accept_languages": "en-GB",
        }  # fmt: skip
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (profile / "user.js").write_text("".join(lines), encoding="utf-8")
        command = [program, "--headless", "--no-remote", "--marionette", "--profile", str(profile)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = int(_wait(lambda: _text(profile / "MarionetteActivePort")))
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            self._stream, self._number = self._socket.makefile("rb"), 0
            self._read()  # its greeting
            timeouts = {"script": 1000 * PATIENCE, "pageLoad": 1000 * PATIENCE, "implicit": 0}
            self.ask("WebDriver:NewSession", capabilities={"alwaysMatch": {"timeouts": timeouts}})
        except BaseException:
            self.close()
            raise

    def _read(self) -> Any:
        length = b""
        while (byte := self._stream.read(1)) != b":":
            if not byte:
                raise ConnectionError("Firefox has closed the connection")
            length += byte
        return json.loads(self._stream.read(int(length)))

    def ask(self, command: str, **parameters: Any) -> Any:
        """Send a command and give its value."""
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(f"{len(message)}:".encode() + message)
        _, number, error, result = self._read()
        assert number == self._number
        assert error is None, error
        return result.get("value") if isinstance(result, dict) and set(result) == {"value"} else result

    def run(self, script: str) -> Any:
        """What a script returns."""
        return self.ask("WebDriver:ExecuteScript", script=script, args=[])

    def find(self, selector: str) -> str:
        return self.ask("WebDriver:FindElement", using="css selector", value=selector)[ELEMENT]

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _wait(look: Any) -> Any:
    """What `look` gives, as soon as it is something."""
    until = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def firefox(tmp_path_factory) -> Iterator[Firefox]:
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox on the PATH: apt-get install firefox-esr")
    opened = Firefox(program, tmp_path_factory.mktemp("firefox"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def ready(firefox, site) -> Firefox:
    firefox.ask("WebDriver:Navigate", url=site)
    phase = _wait(lambda: firefox.run("const { phase } = document.documentElement.dataset;"
                                      "return ['ready', 'failed'].includes(phase) ? phase : ''"))  # fmt: skip
    assert phase == "ready", firefox.run("return document.querySelector('#problem').textContent")
    return firefox


def answers(firefox: Firefox, paths: list[Path]) -> dict[str, dict[str, str]]:
    """The rows of the page's CSV by file, for images that are given together; refused ones with their answers."""
    firefox.run("const clear = document.querySelector('#clear'); if (clear) clear.click()")
    given = "\n".join(map(str, paths))
    firefox.ask("WebDriver:ElementSendKeys", id=firefox.find("#files"), text=given)
    _wait(lambda: firefox.run(f"return document.querySelectorAll('#list tbody tr').length === {len(paths)}"))
    _wait(lambda: firefox.run("return !document.querySelector('#list').textContent.includes('waiting')"))
    firefox.run("""document.querySelectorAll("#list td.refused").forEach((cell) => {
        document.getElementById(cell.closest("tr").querySelector(".pick").id).click();
        document.getElementById("anyway").click();
    })""")
    for old in firefox.downloads.glob("*"):
        old.unlink()
    firefox.run("document.querySelector('#csv').click()")
    text = _wait(lambda: _text(firefox.downloads / "dermdistill.csv"))
    return {row["file"]: row for row in csv.DictReader(io.StringIO(text))}


def test_answers_are_those_of_python(ready, images, assert_same):
    """But for images that are partly transparent: Firefox rounds otherwise when it lays them on white."""
    opaque = [path for path in images if path.name != "transparent.png"]
    assert_same(answers(ready, opaque), opaque)


@pytest.mark.real_data
def test_answers_on_real_images_are_those_of_python(ready, real_images, assert_same):
    assert_same(answers(ready, real_images), real_images)


def test_firefox_refuses_what_the_page_would_send(ready):
    said = ready.ask(
        "WebDriver:ExecuteAsyncScript",
        args=[],
        script="""
        const done = arguments[0];
        fetch("page.json", {method: "POST", body: "x"}).then(() => done("sent"), () => done("refused"));""",
    )
    assert said == "refused"
    assert ready.run("return document.querySelector('#privacy').dataset.state") == "closed"
