"""The commands of docs/how-to/service.md do what the page says."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dermdistill.serve.keys import add_key

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "service.md"
BLOCKS = [block for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
          if "curl" in block]  # fmt: skip
pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("sh") is None or shutil.which("base64") is None,
    reason="needs sh, curl and base64",
)


def _run(block, port, folder, environment=None):
    script = block.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    return subprocess.run(
        ["sh", "-ec", script], cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


@pytest.fixture
def folder(tmp_path, photo):
    for name, kind in (("photo.jpg", "JPEG"), ("a.jpg", "JPEG"), ("b.png", "PNG")):
        (tmp_path / name).write_bytes(photo(0, (300, 200), kind))
    return tmp_path


def test_the_page_shows_commands():
    assert len(BLOCKS) >= 4
    assert sum(block.count("/v1/predict") for block in BLOCKS) >= 4


def test_curl_gets_what_the_page_says(listening, folder):
    with listening() as port:
        for block in BLOCKS:
            done = _run(block, port, folder)
            assert done.returncode == 0, block + done.stdout + done.stderr
            if "/v1/predict" in block:
                answers = [json.loads("{" + part) for part in re.split(r"(?:^|(?<=}))\{", done.stdout)[1:]]
                assert len(answers) == block.count("/v1/predict")
                assert all(entry["status"] == "ok" for answer in answers for entry in answer["results"])


def test_the_key_is_sent_as_the_page_says(listening, folder):
    import os

    key = add_key(folder / "keys.txt", "clinic")
    (block,) = [block for block in BLOCKS if "$KEY" in block]
    with listening(keys=folder / "keys.txt") as port:
        assert _run(block, port, folder, {**os.environ, "KEY": key}).returncode == 0
        refused = _run(block, port, folder, {**os.environ, "KEY": "none"})
    assert refused.returncode == 22
    assert json.loads(refused.stdout)["remedy"].startswith("ask the operator for a key")
