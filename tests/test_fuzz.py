"""Every reader of files from elsewhere reads damaged ones or refuses them with an error of ours, and soon.

`make fuzz` does the same for minutes, guided by coverage.
"""

import importlib.util
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
SOON = 10
"""Seconds of the processor for one file."""


def _load():
    spec = importlib.util.spec_from_file_location("fuzz_targets", ROOT / "fuzz" / "targets.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


targets = _load()
HOSTILE = {
    "recipe": [b"a=" + b"[" * 50_000, b"a=" + b"9" * 50_000, b"[" + b" " * 50_000, b"\n" * 100_000 + b"=", 
               b"a." * 50_000 + b"a=1", b"a={" + b"b ." * 50_000 + b"b=1}", b"[" + b"'a'." * 50_000 + b"a]",
               b"[data]\nsynthetic = " + b"{ a = " * 3000, b"a = 2020-99-99", b"a='" + b"x" * 100_000,
               b"name = 1\nb = '''\n[" + b" " * 50_000 + b"\n" + b" a" * 9999 + b"\n'''\n", b"#" * 2**21],
    "table": [b"", b"\n\n", b"image_id,image_id\n1,2\n", b'"' * 999, b"sep=\"\na\"b\n", b"a, a,\xef\xbb\xbfa\n1,2,3\n",
              b"sep=\\\na\\b\n", b"," * 20_000 + b"\n", b"width\n" + b"9" * 5000, b"image_id\n\0\n"],
    "bundle": [b"[" * 100_000, b"9" * 10_000, b'{"format": 1e999}', b"null", b'{"format": ["dermdistill-bundle/2"]}'],
    "image": [b"BM", b"P6 99999999 99999999 255 ", b"II*\0\x08\0\0\0\xff\xff", b"GIF89a\xff\xff\xff\xff\0\0\0;"],
}  # fmt: skip
"""Files that are known to be hard on readers of their kind."""


@pytest.fixture(scope="module")
def seeds():
    return {name: target.seeds() for name, target in targets.TARGETS.items()}


@pytest.mark.parametrize("name", targets.TARGETS)
def test_whole_files_are_read(seeds, name, tmp_path):
    for number, content in enumerate(seeds[name]):
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / f"input{targets.TARGETS[name].suffix}"
        path.write_bytes(content)
        targets.TARGETS[name].read(path)


@pytest.mark.parametrize(("name", "content"), [(name, one) for name, files in HOSTILE.items() for one in files])
def test_hostile_files_are_refused_soon(name, content):
    began = time.process_time()
    targets.TARGETS[name].try_on(content)
    assert time.process_time() - began < SOON


def _change(data, content):
    """A file with some bytes replaced, put in, taken out, or doubled, perhaps cut off."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, min(len(changed), 2000)) | st.integers(0, len(changed)))
        length = data.draw(st.integers(0, 8))
        match data.draw(st.sampled_from(["replace", "insert", "delete", "double"])):
            case "replace":
                changed[at : at + length] = data.draw(st.binary(min_size=length, max_size=length))
            case "insert":
                changed[at:at] = data.draw(
                    st.binary(max_size=8) | st.sampled_from([b"\0" * 40, b"[", b'"', b"\xff" * 8])
                )
            case "delete":
                del changed[at : at + length**2]
            case "double":
                changed[at:at] = changed[at : at + length**2]
    return bytes(changed[: data.draw(st.integers(0, len(changed)))] if data.draw(st.booleans()) else changed)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_changed_files_are_read_or_refused(seeds, name):
    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(data=st.data())
    def run(data):
        content = _change(data, data.draw(st.sampled_from(seeds[name])))
        began = time.process_time()
        targets.TARGETS[name].try_on(content)
        assert time.process_time() - began < SOON

    run()
