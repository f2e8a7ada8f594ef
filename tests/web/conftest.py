"""A published page on a loopback server, and Debian's Chromium that opens it."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


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
        opened = started.chromium.launch(executable_path=found, args=["--headless", "--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """The page with the model that ships."""
    from dermdistill.predict.bundle import default_bundle, read_bundle
    from dermdistill.serve.site import write_page

    return write_page(tmp_path_factory.mktemp("published") / "page", read_bundle(default_bundle()))


@pytest.fixture(scope="session")
def site(published) -> Iterator[str]:
    """The address of `published`."""
    with _served(published) as address:
        yield address
