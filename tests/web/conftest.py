"""A published page on a loopback server, Debian's Chromium that opens it, and images with the answers of Python."""

import functools
import http.server
import json
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermdistill.predict.bundle import Bundle, default_bundle, read_bundle
from dermdistill.serve.site import write_page

TOLERANCE = 1e-3
"""Largest difference of a probability from Python's."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """A folder on a port of this machine; the address of its root."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def served():
    """Puts a folder on a port of this machine for the length of a `with` block, which gets its address."""
    return _served


@pytest.fixture(scope="module")
def browser():
    """Chromium, or skip. It closes after each file: its event loop would be in the way of tests that have their own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as started:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", *camera]
        opened = started.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """The page with the model that ships."""
    return write_page(tmp_path_factory.mktemp("published") / "page", read_bundle(default_bundle()))


@pytest.fixture(scope="session")
def gateless(tmp_path_factory) -> Bundle:
    """The bundle that ships, without its gate."""
    folder = tmp_path_factory.mktemp("gateless") / "bundle"
    shutil.copytree(default_bundle(), folder)
    header = json.loads((folder / "bundle.json").read_text("utf-8"))
    del header["files"]["gate.onnx"]
    (folder / "bundle.json").write_text(json.dumps(header), "utf-8")
    (folder / "gate.onnx").unlink()
    return read_bundle(folder)


@pytest.fixture(scope="session")
def site(published) -> Iterator[str]:
    """The address of `published`."""
    with _served(published) as address:
        yield address


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> list[Path]:
    """Generated images in the forms that people have: kinds of files, sides, turned, transparent, grey."""
    from dermdistill.data.synthetic.generate import generate

    folder = tmp_path_factory.mktemp("images")
    generate(folder / "set", n=6, size=160, seed=5)
    paths = sorted((folder / "set" / "images").glob("*.jpg"))
    pictures = [Image.open(path).convert("RGB") for path in paths]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    made = {
        "turned.jpg": (pictures[0].resize((300, 200)), {"exif": exif, "quality": 90}),
        "large.jpg": (pictures[1].resize((2600, 1950), Image.Resampling.BICUBIC), {"quality": 92, "subsampling": 2}),
        "small.png": (pictures[2].resize((50, 40)), {}),
        "grey.jpg": (pictures[3].convert("L"), {"quality": 95}),
        "lossless.webp": (pictures[4], {"lossless": True}),
        "profile.png": (pictures[5], {"icc_profile": _wide_profile()}),
    }
    half = pictures[5].convert("RGBA")
    half.putalpha(Image.linear_gradient("L").resize(half.size))
    made["transparent.png"] = (half, {})
    for name, (picture, options) in made.items():
        picture.save(folder / name, **options)
    return [*paths, *(folder / name for name in made)]


def _wide_profile() -> bytes:
    """A colour profile that Python passes over, as training did."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.fixture(scope="session")
def real_images(real_data) -> list[Path]:
    """Fifty photographs."""
    every = [path for name in ("ham10000", "isic2017") for path in (real_data / name / "images").glob("*.jpg")]
    return random.Random(0).sample(sorted(every), 50)


@pytest.fixture(scope="session")
def assert_same() -> Callable[[dict[str, dict[str, str]], list[Path]], None]:
    """Compares the rows of the page's CSV, by file, with the answers of Python, those to refused images included."""
    import dermdistill

    def compare(rows: dict[str, dict[str, str]], paths: list[Path]) -> None:
        predictor = dermdistill.Predictor(threads=1, gate="judge")
        for path, result in zip(paths, predictor.predict(paths), strict=True):
            row = rows[path.name]
            assert row["status"] == result.status, path.name
            found = [float(row[f"p_{name}"]) for name in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")]
            assert np.abs(np.subtract(found, result.probabilities)).max() <= TOLERANCE, path.name
            assert row["decision"] == result.decision, path.name

    return compare
