"""What HTTP costs: the service's rate against the bare model's, its latencies, and its memory over many requests.

    python benchmarks/serve.py [--requests 4000] [--clients 8]

The bare model is `Predictor.predict` on the same images in the same process as the clients, before the service starts:
JPEGs of 600x450 pixels from memory. Clients and service share the machine, so the rate is a lower bound. Memory is that
of the service's process after a tenth of the requests and after all; it must not grow by more than `GROWTH`.
"""

import argparse
import http.client
import io
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from dermdistill.predict.predictor import Predictor
from dermdistill.run import hardware, versions

IMAGES = 64
SIZE = (600, 450)
GROWTH = 32e6
"""Bytes."""
BOUNDARY = "dermdistill-benchmark"


def photographs(seed: int) -> list[bytes]:
    """JPEGs with structure at several scales, so that they are as large as photographs are."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(IMAGES):
        pixels = sum(
            np.asarray(
                Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).resize(SIZE, 2), np.float32
            )
            for side in (5, 40, 200)
        )
        out = io.BytesIO()
        Image.fromarray((pixels / 3).astype(np.uint8)).save(out, "JPEG", quality=90)
        made.append(out.getvalue())
    return made


def bare_rate(images: list[bytes], threads: int | None) -> float:
    """Images a second of the predictor alone, the median of five rounds."""
    predictor = Predictor(threads=threads, gate="judge")
    rates = []
    for _ in range(6):
        began = time.perf_counter()
        for result in predictor.predict(images):
            if result.p_melanoma is None:
                raise RuntimeError(result.message)
        rates.append(len(images) / (time.perf_counter() - began))
    return statistics.median(rates[1:])


@contextmanager
def service(threads: int | None) -> Iterator[int]:
    """The port of a service in a process of its own."""
    command = [sys.executable, "-m", "dermdistill", "serve", "--port", "0", "--gate", "judge"]
    command += ["--threads", str(threads)] if threads else []
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    try:
        yield next(int(found[1]) for line in running.stderr if (found := re.search(r"on http://\S+:(\d+)", line)))
    finally:
        running.terminate()
        running.wait(60)
        running.stderr.close()


def body(image: bytes) -> bytes:
    """A form with one image."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def ask(port: int, bodies: list[bytes], count: int) -> list[float]:
    """The seconds of each of several requests on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    seconds = []
    for number in range(count):
        began = time.perf_counter()
        connection.request("POST", "/v1/predict", bodies[number % len(bodies)], headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {content[:300]!r}")
        seconds.append(time.perf_counter() - began)
    connection.close()
    return seconds


def load(port: int, bodies: list[bytes], requests: int, clients: int) -> tuple[list[float], float]:
    """The seconds of each request of several clients at once, and of all together."""
    found: list[float] = []
    shares = [requests // clients + (number < requests % clients) for number in range(clients)]
    threads = [
        threading.Thread(target=lambda share=share: found.extend(ask(port, bodies, share))) for share in shares if share
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != requests:
        raise RuntimeError(f"{requests - len(found)} of {requests} requests failed")
    return found, time.perf_counter() - began


def memory(port: int) -> float:
    """Bytes of the service's process."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return float(re.findall(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--threads", type=int, help="of the runtime, by default all cores")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    images = photographs(asked.seed)
    print(f"machine: {hardware()}, load {os.getloadavg()[0]:.1f}; Python {versions()['python']}; seed {asked.seed}")
    print(f"data:    {IMAGES} generated JPEGs of {SIZE[0]}x{SIZE[1]}, {statistics.mean(map(len, images)) / 1e3:.0f} KB")
    bare = bare_rate(images, asked.threads)
    bodies = [body(image) for image in images]
    with service(asked.threads) as port:
        load(port, bodies, asked.clients, asked.clients)
        first, first_seconds = load(port, bodies, asked.requests // 10, asked.clients)
        before = memory(port)
        rest, rest_seconds = load(port, bodies, asked.requests - len(first), asked.clients)
        after = memory(port)
    milliseconds = [1000 * one for one in statistics.quantiles(first + rest, n=100)]
    rate = asked.requests / (first_seconds + rest_seconds)
    print(f"bare:    {bare:.0f} images/s")
    print(
        f"service: {rate:.0f} requests/s of one image from {asked.clients} clients, {rate / bare:.2f} of the bare rate"
    )
    print(f"latency: p50 {milliseconds[49]:.0f} ms, p99 {milliseconds[98]:.0f} ms")
    print(f"memory:  {before / 1e6:.0f} MB after {len(first)} requests, {after / 1e6:.0f} MB after {asked.requests}")
    is_flat = after - before <= GROWTH
    print(
        f"{'PASS' if is_flat else 'FAIL'}: memory grew by {(after - before) / 1e6:.1f} MB, at most {GROWTH / 1e6:.0f}"
    )
    return 0 if is_flat else 1


if __name__ == "__main__":
    sys.exit(main())
