"""The page's first answer: how long after it has loaded, in Chromium, and how large the page is.

    python benchmarks/page.py [--rounds 10]

Each round has a browser profile of its own, so that nothing is kept from the one before. Counted are the time from the
end of loading (the browser's load event) until the page takes images, and the time from when it gets the first image
until its probability stands there; what a person needs between the two is not counted. Needs Chromium and the
development dependencies.
"""

import argparse
import functools
import gzip
import http.server
import os
import shutil
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.run import hardware
from dermdistill.serve.site import write_page

GOAL = 1000
"""Milliseconds."""
LARGEST = 5e6
"""Bytes, packed with gzip."""
PATIENCE = 180_000
WATCH = """() => {
    window.given = new Promise(done =>
        addEventListener("change", () => done(performance.now()), {capture: true, once: true}));
    window.answered = new Promise(done => {
        const look = () => document.querySelector("#value") && (watcher.disconnect(), done(performance.now()));
        const watcher = new MutationObserver(look);
        watcher.observe(document.body, {childList: true, subtree: true, characterData: true});
    });
}"""
READY = """() => performance.getEntriesByName("dermdistill:ready")[0].startTime
    - performance.getEntriesByType("navigation")[0].loadEventEnd"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def once(browser: Browser, address: str, image: Path) -> tuple[float, float]:
    """Milliseconds from the load event until images are taken, at least 0, and from an image to its answer."""
    context = browser.new_context(locale="en-GB")
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_selector("html[data-phase=ready]")
        ready = max(0.0, page.evaluate(READY))
        page.evaluate(WATCH)
        page.set_input_files("#files", image)
        answer = page.evaluate("async () => await window.answered - await window.given")
        return ready, answer
    finally:
        context.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        print("no Chromium on the PATH: nothing measured")
        return 0
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as started:
        site = write_page(Path(scratch) / "page", read_bundle(default_bundle()))
        size = sum(len(gzip.compress(path.read_bytes())) for path in site.rglob("*") if path.is_file())
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = started.chromium.launch(
            executable_path=found, args=["--headless", "--no-sandbox", "--disable-gpu"], timeout=PATIENCE
        )
        print(f"machine: {hardware()}, load {os.getloadavg()[0]:.1f}; Chromium {browser.version}")
        address = f"http://127.0.0.1:{server.server_port}/"
        rounds = [once(browser, address, site / "example.jpg") for _ in range(asked.rounds)]
        browser.close()
        server.shutdown()
    both = [ready + answer for ready, answer in rounds]
    ready, answer = (statistics.median(column) for column in zip(*rounds, strict=True))
    median = statistics.median(both)
    print(f"rounds:  {asked.rounds}, each without anything kept; one image of 512x512")
    print(f"ready:   {ready:.0f} ms after the load event; answer: {answer:.0f} ms after the image (medians)")
    print(f"first answer: median {median:.0f} ms, {min(both):.0f} to {max(both):.0f}")
    is_good = median <= GOAL and size <= LARGEST
    print(f"{'PASS' if is_good else 'FAIL'}: {median:.0f} ms, at most {GOAL}; {size / 1e6:.1f} MB packed, at most 5")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
