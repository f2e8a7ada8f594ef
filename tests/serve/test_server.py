"""A real server on a socket of this machine: slow clients, too many of them, and its end."""

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pytest
from PIL import Image

from dermdistill.errors import InputError
from dermdistill.serve import server
from dermdistill.serve.settings import Limits, Settings
from dermdistill.serve.static import Page


def _connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def _in_progress(port, sent):
    """A connection whose request the service has let in; another one sent meanwhile could take its place."""
    connection = _connect(port)
    connection.sendall(sent)
    _wait(lambda: _metric(port, "dermdistill_requests_in_progress") == 2)  # and the one that asks
    return connection


def _until_closed(connection):
    found = bytearray()
    while chunk := connection.recv(1 << 20):
        found += chunk
    return bytes(found)


def _form(image):
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
    return head.encode() + image + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _post(port, image, timeout=60):
    """The status and the JSON of a prediction."""
    body, kind = _form(image)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", "/v1/predict", body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_body_that_comes_too_slowly_is_cut_off_and_others_are_answered(listening, photo):
    with listening({"read_seconds": 0.5}) as port, _connect(port) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 1000\r\n\r\n{")  # fmt: skip
        assert _post(port, photo())[0] == 200
        began = time.monotonic()
        found = _until_closed(slow)
        assert time.monotonic() - began < 10
    assert found.startswith(b"HTTP/1.1 408 ")
    problem = json.loads(found.partition(b"\r\n\r\n")[2])
    assert problem["type"] == "urn:dermdistill:slow-body"
    assert problem["detail"] == "1 bytes of a body in 0.5 s"


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost:", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET"]
)
def test_a_connection_without_a_whole_request_ends_after_a_time(listening, sent):
    """Even if a byte comes from time to time."""
    with listening({"head_seconds": 0.6}) as port, _connect(port) as slow:
        slow.sendall(sent)
        began, is_open = time.monotonic(), True
        slow.settimeout(0.1)
        while is_open and time.monotonic() - began < 10:
            try:
                is_open = slow.recv(4096) != b""
                if is_open:
                    continue
            except TimeoutError:
                slow.sendall(b"a")
            except ConnectionError:
                is_open = False
        assert not is_open
        assert 0.4 < time.monotonic() - began < 8


def test_a_request_in_progress_is_not_ended_by_the_time_for_headers(listening, photo):
    body, kind = _form(photo())
    with listening({"head_seconds": 0.3}) as port, _connect(port) as slow:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
        slow.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:100])
        time.sleep(1)
        slow.sendall(body[100:])
        assert _until_closed(slow).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_take_its_answer_is_cut_off(listening):
    with listening({"write_seconds": 1}, Page({"large.wasm": bytes(30_000_000)})) as port:
        with _connect(port) as slow, contextlib.suppress(ConnectionError):
            slow.sendall(b"GET /large.wasm HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(2.5)
            assert len(_until_closed(slow)) < 30_000_000
        with _connect(port) as quick:
            quick.sendall(b"GET /large.wasm HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert len(_until_closed(quick)) > 30_000_000


def test_limits_that_would_refuse_everything_are_told():
    with pytest.raises(ValueError, match="the queue of 3 images takes no request of 4"):
        Limits(queue=3, images=4)
    with pytest.raises(ValueError, match="takes no body of 1,001"):
        Limits(memory_bytes=1000, body_bytes=1001)


def test_a_large_body_is_refused_before_it_is_read(listening):
    with listening({"body_bytes": 1000}) as port, _connect(port) as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                       b"Content-Length: 99999999999\r\n\r\n")  # fmt: skip
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
    with listening({"body_bytes": 1000}) as port, _connect(port) as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                       b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        client.sendall(b"3e9\r\n" + b"x" * 1001 + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_more_requests_or_bytes_than_allowed_are_told_when_to_come_again(listening, photo):
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n"
    with listening({"requests": 1}) as port, _in_progress(port, head) as first:
        assert _post(port, photo())[0] == 503
        with _connect(port) as second:
            second.sendall(head)
            found = second.recv(65536)
        assert found.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in found.lower()
        assert _get(port, "/readyz") == 200
        first.close()
        _wait(lambda: _post(port, photo())[0] == 200)
    with (
        listening({"memory_bytes": 10_000, "body_bytes": 10_000}) as port,
        _in_progress(port, head + b"x" * 8900) as first,
    ):
        _wait(lambda: _post(port, photo(0, (400, 300)))[0] == 503)
        first.close()
        small = photo(0, (16, 16))
        _wait(lambda: _post(port, small)[0] == 200)


def _get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def _metric(port, name):
    """A figure of the service, as it tells it itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return float(re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)[0])


def _wait(holds):
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_clients_that_leave_free_their_place(listening, photo):
    body, kind = _form(photo())
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    with listening({"requests": 2}) as port:
        for cut in (0, 10, len(body) - 5):
            for _ in range(4):
                with _connect(port) as leaving:
                    leaving.sendall(head + body[:cut])
        _wait(lambda: _post(port, photo())[0] == 200)


def test_an_address_that_is_taken_is_told():
    with server.listen(Settings(port=0)) as taken, pytest.raises(InputError, match=r"cannot listen on 127\.0\.0\.1"):
        server.listen(Settings(port=taken.getsockname()[1]))


def test_addresses_are_those_a_browser_takes():
    with server.listen(Settings(port=0)) as at:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.address(at))
    assert [Settings(host=host).is_local for host in ("127.0.0.1", "localhost", "::1", "127.3.0.1")] == [True] * 4
    assert [Settings(host=host).is_local for host in ("0.0.0.0", "::", "192.168.0.1", "example.org")] == [False] * 4


@pytest.fixture
def process(tmp_path):
    """A service of its own process, its port, and a file with its log."""
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "dermdistill", "serve", "--port", "0", "--threads", "1", "--gate", "off"]
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home)}
    with log.open("w") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment, cwd=home)
        try:
            for line in running.stderr:
                if found := re.search(r"on http://127\.0\.0\.1:(\d+)", line):
                    break
            yield running, int(found[1]), log, home
        finally:
            running.kill()
            running.wait(20)
            running.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_on_a_signal_every_accepted_request_is_answered(process, photo):
    """Four clients ask without a pause; what the service has logged as answered has arrived, and no answer is cut."""
    running, port, log, home = process
    image, answered, errors = photo(0, (600, 450)), [], []

    def ask():
        while True:
            try:
                answered.append(_post(port, image)[0])
            except (ConnectionError, http.client.RemoteDisconnected) as error:
                errors.append(error)
                return

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    _wait(lambda: len(answered) >= 20)
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == -signal.SIGTERM
    for client in clients:
        client.join(30)
        assert not client.is_alive()
    events = [json.loads(line) for line in log.read_text().splitlines()]
    logged = [event["status"] for event in events if event.get("route") == "/v1/predict"]
    assert set(answered) == {200}
    assert len(logged) == len(answered) >= 20
    assert len(errors) == 4
    assert events[-1]["message"].startswith("Finished server process")
    assert [path.name for path in home.rglob("*")] == [], "the service left files"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_killed_under_load_no_request_is_lost_without_an_error(process, photo):
    """Each request has a whole answer or an error of its connection, and soon: none waits, none has half an answer."""
    running, port, _, _ = process
    image, ended, lock = photo(0, (600, 450)), [], threading.Lock()
    asked = [0]

    def ask():
        while True:
            with lock:
                asked[0] += 1
            try:
                status, answer = _post(port, image, timeout=20)
                outcome = status if answer["results"][0]["status"] == "ok" else "half"
            except (ConnectionError, http.client.HTTPException) as error:
                outcome = error
            with lock:
                ended.append(outcome)
            if outcome != 200:
                return

    clients = [threading.Thread(target=ask) for _ in range(6)]
    for client in clients:
        client.start()
    _wait(lambda: len(ended) >= 20)
    running.kill()
    for client in clients:
        client.join(30)
        assert not client.is_alive()
    assert len(ended) == asked[0]
    errors = [one for one in ended if one != 200]
    assert len(errors) == 6
    assert all(isinstance(error, ConnectionError | http.client.HTTPException) for error in errors), errors


@pytest.mark.skipif(sys.platform != "linux", reason="the process tells its memory on Linux alone")
def test_memory_stays_flat_over_many_requests(process):
    """`benchmarks/serve.py` does the same with 10,000. Bodies that were kept would take 60 MB, decoded images 86."""
    _, port, _, _ = process
    noise, out = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8), io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG", quality=100)
    body, kind = _form(out.getvalue())
    assert len(body) > 200_000

    def ask(count):
        def client(share):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            for _ in range(share):
                connection.request("POST", "/v1/predict", body, {"Content-Type": kind})
                answer = connection.getresponse()
                answer.read()
                found.append(answer.status)
            connection.close()

        found = []
        clients = [threading.Thread(target=client, args=(count // 4,)) for _ in range(4)]
        for one in clients:
            one.start()
        for one in clients:
            one.join(200)
        assert found == [200] * count
        return _metric(port, "process_resident_memory_bytes")

    before = ask(60)
    assert ask(240) - before < 24e6
