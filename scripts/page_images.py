"""The pictures of the page in docs/images/, with generated lesions: python scripts/page_images.py

Needs Chromium and the development dependencies. Look at each picture before it is committed.
"""

import functools
import http.server
import io
import shutil
import tempfile
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from dermdistill.data.synthetic.generate import generate
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.serve.site import write_page

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
VIEWS = {
    "page-light": {"viewport": {"width": 1180, "height": 1060}, "color_scheme": "light", "locale": "en-GB"},
    "page-dark": {"viewport": {"width": 1180, "height": 1060}, "color_scheme": "dark", "locale": "de-DE"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "locale": "en-GB"},
}
SHOWN = (6, 1, 13)
"""Numbers of the generated images of seed 3; the first is the page's own example."""
PATIENCE = 180_000


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as started:
        site = write_page(Path(scratch) / "page", read_bundle(default_bundle()))
        generate(Path(scratch) / "set", n=14, size=512, seed=3)
        images = sorted((Path(scratch) / "set" / "images").glob("*.jpg"))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for name, options in VIEWS.items():
            page = _judged(browser, f"http://127.0.0.1:{server.server_port}/", options, [images[n] for n in SHOWN])
            taken = page.screenshot(full_page=name == "page-phone")
            Image.open(io.BytesIO(taken)).save(IMAGES / f"{name}.webp", quality=88, method=6)
            page.context.close()
        server.shutdown()


def _judged(browser: Browser, address: str, options: dict, images: list[Path]) -> Page:
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("html[data-phase=ready]")
    page.wait_for_selector("#offline:not([hidden])")
    page.set_input_files("#files", images)
    page.locator("td.number").nth(len(images) - 1).wait_for()
    page.click("#map-button")
    page.wait_for_selector(".map")
    page.wait_for_timeout(500)
    page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    return page


if __name__ == "__main__":
    main()
