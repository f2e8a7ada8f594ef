"""A small picture archive on a port of this machine: QIDO-RS, WADO-RS and STOW-RS (DICOM PS3.18) over a dictionary."""

import contextlib
import email.parser
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

_BOUNDARY = "part-of-the-archive"
_SHOWN = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientName", "PatientID")


@dataclass
class Store:
    """What the archive holds, and how it behaves."""

    objects: dict[str, bytes] = field(default_factory=dict)
    """Files by SOP Instance UID."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and address of each request."""
    headers: list[dict[str, str]] = field(default_factory=list)
    knows_conditions: bool = True
    knows_pages: bool = True
    key: str = ""
    """The header Authorization that is wanted."""
    fails: dict[str, list[int]] = field(default_factory=dict)
    """Statuses that the next requests of a method get; 0 for an answer that is no DICOMweb."""
    refuses_objects: bool = False

    def add(self, content: bytes) -> str:
        import pydicom

        uid = str(pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).SOPInstanceUID)
        self.objects[uid] = content
        return uid

    def found(self, query: dict[str, str]) -> list[dict]:
        import pydicom

        rows = []
        for content in self.objects.values():
            header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            wanted = {key: value for key, value in query.items() if key not in ("limit", "offset")}
            if self.knows_conditions and any(str(header.get(key, "")) != value for key, value in wanted.items()):
                continue
            shown = pydicom.Dataset()
            for name in _SHOWN:
                shown[name] = header[name]
            rows.append(shown.to_json_dict())
        if self.knows_pages:
            start = int(query.get("offset", 0))
            rows = rows[start : start + int(query.get("limit", len(rows)))]
        return rows


class _Handler(BaseHTTPRequestHandler):
    store: Store

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, status: int, content: bytes = b"", kind: str = "application/dicom+json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _goes_on(self) -> bool:
        """Note the request; answer it here if it is to fail."""
        self.store.asked.append((self.command, self.path))
        self.store.headers.append(dict(self.headers))
        if self.store.key and self.headers.get("Authorization") != self.store.key:
            self._answer(401)
            return False
        if waiting := self.store.fails.get(self.command):
            status = waiting.pop(0)
            self._answer(status or 200, b"<html>Zzyzxdoe</html>", "text/html")
            return False
        return True

    def do_GET(self) -> None:
        if not self._goes_on():
            return
        parts = urlsplit(self.path)
        if parts.path == "/web/instances":
            self._answer(200, json.dumps(self.store.found(dict(parse_qsl(parts.query)))).encode())
            return
        words = parts.path.split("/")
        if words[2::2] != ["studies", "series", "instances"] or words[-1] not in self.store.objects:
            self._answer(404)
            return
        content = self.store.objects[words[-1]]
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        self._answer(200, head + content + f"\r\n--{_BOUNDARY}--\r\n".encode(), kind)

    def do_POST(self) -> None:
        import pydicom

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._goes_on():
            return
        assert self.path == "/web/studies"
        form = email.parser.BytesParser().parsebytes(
            f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body
        )
        answer = pydicom.Dataset()
        for part in form.get_payload():
            content = part.get_payload(decode=True)
            header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            told = pydicom.Dataset()
            told.ReferencedSOPClassUID, told.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
            if self.store.refuses_objects:
                told.FailureReason = 0xA700
                answer.FailedSOPSequence = [told]
            else:
                self.store.add(content)
                answer.ReferencedSOPSequence = [told]
        self._answer(200, json.dumps(answer.to_json_dict()).encode())


@contextmanager
def serving(store: Store) -> Iterator[str]:
    """The address of an archive for the length of a block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": store}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/web"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def archive_store():
    """archive_store(): what an archive holds; needs the extra `dicom`."""
    pytest.importorskip("pydicom")
    return Store


@pytest.fixture
def archive_server():
    """archive_server(store): the address of an archive for the length of a `with` block."""
    return serving


class FilesServer(ThreadingHTTPServer):
    """A web server of a folder, which may fail or keep somebody waiting."""

    daemon_threads = True

    def __init__(self, folder):
        self.fails: dict[str, list[int]] = {}
        """Statuses that the next requests of a path get."""
        self.held: str | None = None
        """The path whose request waits."""
        self.waits, self.goes_on = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), partial(_FilesHandler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.server_port}"

    def hold(self, path: str) -> None:
        """Keep the next requests of a path waiting until `goes_on` is set."""
        self.held = path
        self.waits.clear()
        self.goes_on.clear()


class _FilesHandler(SimpleHTTPRequestHandler):
    server: FilesServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == self.server.held:
            self.server.waits.set()
            self.server.goes_on.wait(120)
        if waiting := self.server.fails.get(self.path):
            self.send_error(waiting.pop(0))
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().do_GET()


@pytest.fixture
def files_server(tmp_path):
    """A web server on this machine of the folder `tmp_path / "web"`, which is made; needs the extra `remote`."""
    pytest.importorskip("aiohttp")
    pytest.importorskip("fsspec")
    (tmp_path / "web").mkdir()
    server = FilesServer(tmp_path / "web")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.goes_on.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def draw():
    """draw(folder, names): small JPEG files, each of another colour."""
    from PIL import Image

    def drawn(folder, names):
        folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            image = Image.radial_gradient("L").convert("RGB").resize((120, 90))
            Image.blend(image, Image.new("RGB", (120, 90), (200, 5 * number % 256, 130)), 0.5).save(folder / name)

    return drawn
