"""Downloads, against servers on this machine that speak as the ISIC archive and Zenodo do."""

import csv
import hashlib
import io
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.fetch import download
from dermdistill.data.fetch import isic as download_isic
from dermdistill.data.fetch.download import COLLECTIONS, Fetched, FetchError, fetch
from dermdistill.data.importing.datasets import import_dataset
from dermdistill.errors import InputError

IMAGES = 23
LICENCES = ("CC-0", "CC-BY", "CC-BY-NC")


def jpeg(number: int) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "JPEG")
    return stream.getvalue()


def isic_id(number: int) -> str:
    return f"ISIC_{number:07d}"


@dataclass
class World:
    """What the server holds, what it is to do wrong, and what it was asked."""

    root: str = ""
    page: int = 10
    collections: list[dict] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    wrong: dict[str, Callable[[BaseHTTPRequestHandler, bytes], None]] = field(default_factory=dict)
    """What happens to a request whose path contains the key, instead of the answer."""
    asked: Counter = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)

    @property
    def api(self) -> str:
        return f"{self.root}/api/v2/"

    def entry(self, number: int) -> dict:
        """An image as the API's listing shows it."""
        name = isic_id(number)
        return {
            "isic_id": name,
            "copyright_license": LICENCES[number % 3],
            "attribution": ["Anonymous", "Clinic A", "Clinic B"][min(number % 4, 2)],
            "files": {
                "full": {
                    "url": f"{self.root}/images/{name}.jpg?Signature=secret",
                    "size": len(self.files[f"/images/{name}.jpg"]),
                }
            },
            "metadata": {
                "acquisition": {"image_type": "dermoscopic", "pixels_x": 32, "pixels_y": 24},
                "clinical": {
                    "diagnosis_1": "Malignant" if number % 5 == 0 else "Benign",
                    "diagnosis_3": "Melanoma, NOS" if number % 5 == 0 else "Nevus",
                    "age_approx": 40 + number,
                    "sex": "female",
                    "lesion_id": f"IL_{number // 2:07d}",
                },
            },
        }


def fail(status: int) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_error(status)

    return answer


def cut_short(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Announce the whole, send half, hang up: a connection that breaks."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])
    handler.close_connection = True


def half(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Half of the file as if it were the whole: a truncated copy on the server."""
    send(handler, content[: len(content) // 2])


def send(handler: BaseHTTPRequestHandler, content: bytes, kind: str = "application/octet-stream") -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def make_handler(world: World) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            world.asked[path] += 1
            content, kind = self.content(path, parse_qs(urlsplit(self.path).query))
            for part, answer in world.wrong.items():
                if part in self.path:
                    return answer(self, content or b"")
            if content is None:
                return self.send_error(404)
            asked = self.headers.get("Range")
            if asked and path.startswith("/zenodo"):
                return self.rest(content, asked)
            return send(self, content, kind)

        def rest(self, content: bytes, asked: str) -> None:
            world.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:])

        def content(self, path: str, query: dict[str, list[str]]) -> tuple[bytes | None, str]:
            if path in world.files:
                return world.files[path], "image/jpeg"
            if path.startswith("/api/v2/zip-download/license-file/"):
                return f"The text of {path.split('/')[-2]}.".encode(), "text/plain"
            answer = self.api(path.removeprefix("/api/v2/"), query)
            return None if answer is None else json.dumps(answer).encode(), "application/json"

        def api(self, path: str, query: dict[str, list[str]]) -> dict | None:
            numbers = [number for number in range(IMAGES) if query.get("collections", [""])[0]]
            start = int(query.get("cursor", ["0"])[0])
            if path == "collections/":
                half = len(world.collections) // 2 + 1
                more = f"{world.api}collections/?cursor={half}" if start == 0 else None
                part = world.collections[start : start + half]
                return {"next": more, "previous": None, "results": part}
            if path.startswith("collections/"):
                return next((one for one in world.collections if str(one["id"]) == path.split("/")[1]), None)
            if path == "images/search/size/":
                return {"size": sum(map(len, world.files.values()))}
            if path == "images/search/":
                step = int(query.get("limit", [str(world.page)])[0])
                ids = query.get("collections", [""])[0]
                end = start + step
                more = f"{world.api}images/search/?query=&collections={ids}&cursor={end}"
                return {
                    "next": more if end < len(numbers) else None,
                    "previous": None,
                    "results": [world.entry(number) for number in numbers[start:end]],
                    "count": len(numbers),
                }
            return None

    return Handler


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    world = World()
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(world))
    world.root = f"http://127.0.0.1:{server.server_address[1]}"
    names = [one.name for collections in COLLECTIONS.values() for one in collections]
    # Other numbers than those in the table: the names must decide.
    world.collections = [
        {"id": 900 + k, "name": name, "public": True, "pinned": True, "locked": True, "doi": None}
        for k, name in enumerate(names)
    ]
    world.files = {f"/images/{isic_id(number)}.jpg": jpeg(number) for number in range(IMAGES)}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield world
    server.shutdown()
    server.server_close()
    thread.join()


def get(world: World, folder: Path, name: str = "ham10000", **options: int) -> Fetched:
    return fetch(name, folder, api_url=world.api, retries=0, **options)


def images_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.jpg")}


def failures_in(folder: Path) -> dict[str, str]:
    with (folder / "failures.csv").open(newline="") as file:
        return {row["what"]: row["reason"] for row in csv.DictReader(file)}


def test_all_images_arrive_with_table_licences_and_attribution(world: World, tmp_path: Path):
    folder = tmp_path / "ham"
    result = get(world, folder)
    assert (result.expected, result.downloaded, result.present, result.failures) == (IMAGES, IMAGES, 0, [])
    assert images_in(folder) == {Path(name).name: content for name, content in world.files.items()}
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    with (folder / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == IMAGES
    assert list(rows[0])[:3] == ["isic_id", "attribution", "copyright_license"]
    assert rows[0]["diagnosis_3"] == "Melanoma, NOS"
    assert result.licences == {"CC-0": 8, "CC-BY": 8, "CC-BY-NC": 7}
    assert (folder / "licenses" / "CC-BY-NC.txt").read_text() == "The text of CC-BY-NC."
    attribution = (folder / "attribution.txt").read_text()
    assert "Tschandl" in attribution
    assert attribution.index("Clinic B") < attribution.index("Clinic A") < attribution.index("Anonymous")
    record = json.loads((folder / "fetch.json").read_text())
    assert record["collections"] == [{"id": 900, "name": "HAM10000"}]
    assert not (folder / "failures.csv").exists()


def test_what_was_fetched_can_be_imported(world: World, tmp_path: Path):
    get(world, tmp_path / "ham")
    manifest = import_dataset(tmp_path / "ham", source="ham10000").manifest
    assert len(manifest) == IMAGES
    assert set(manifest["licence"]) == set(LICENCES)
    assert manifest["melanoma"].sum() == 5
    assert manifest["lesion_id"].nunique() == 12


@pytest.mark.parametrize("name", COLLECTIONS)
def test_each_name_stands_for_its_collections(world: World, tmp_path: Path, name: str):
    get(world, tmp_path / name, name, limit=1)
    record = json.loads((tmp_path / name / "fetch.json").read_text())
    assert [one["name"] for one in record["collections"]] == [one.name for one in COLLECTIONS[name]]
    assert all(one["id"] >= 900 for one in record["collections"])


def test_any_collection_by_number(world: World, tmp_path: Path):
    assert get(world, tmp_path / "one", "isic-collection:905").downloaded == IMAGES
    with pytest.raises(InputError, match="no public collection 7"):
        get(world, tmp_path / "none", "isic-collection:7")
    assert not (tmp_path / "none").exists()


def test_a_limit(world: World, tmp_path: Path):
    result = get(world, tmp_path / "some", limit=12)
    assert (result.expected, result.downloaded, len(images_in(tmp_path / "some"))) == (12, 12, 12)
    with pytest.raises(InputError, match="limit must be at least 1"):
        get(world, tmp_path / "some", limit=0)


def test_a_second_run_fetches_only_what_is_missing_or_partial(world: World, tmp_path: Path):
    get(world, tmp_path)
    (tmp_path / f"{isic_id(3)}.jpg").unlink()
    part = tmp_path / f"{isic_id(4)}.jpg"
    part.write_bytes(part.read_bytes()[:50])
    (tmp_path / ".ISIC_0000005.jpg.killed.jpg").write_bytes(b"left by a killed run")
    world.asked.clear()
    result = get(world, tmp_path)
    assert (result.downloaded, result.present) == (2, IMAGES - 2)
    assert {path for path in world.asked if path.startswith("/images/")} == {
        f"/images/{isic_id(number)}.jpg" for number in (3, 4)
    }
    assert images_in(tmp_path) == {Path(name).name: content for name, content in world.files.items()}
    assert not list(tmp_path.glob(".ISIC*"))


def test_each_failure_is_counted_and_named_and_a_later_run_mends_it(world: World, tmp_path: Path):
    world.wrong = {isic_id(2): fail(500), isic_id(11): cut_short, isic_id(12): half, isic_id(20): fail(403)}
    result = get(world, tmp_path)
    assert result.downloaded == IMAGES - 4
    failures = failures_in(tmp_path)
    assert set(failures) == {isic_id(number) for number in (2, 11, 12, 20)}
    assert "500" in failures[isic_id(2)]
    assert "403" in failures[isic_id(20)]
    assert "were announced" in failures[isic_id(12)]
    assert not any("secret" in reason for reason in failures.values())
    assert len(images_in(tmp_path)) == IMAGES - 4
    assert not list(tmp_path.glob(".ISIC*"))

    world.wrong = {}
    result = get(world, tmp_path)
    assert (result.downloaded, result.present, result.failures) == (4, IMAGES - 4, [])
    assert not (tmp_path / "failures.csv").exists()


def test_an_error_of_the_server_is_tried_again(world: World, tmp_path: Path):
    def flaky(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        if world.asked[urlsplit(handler.path).path] == 1:
            handler.send_error(503)
        else:
            send(handler, content)

    world.wrong = {isic_id(1): flaky}
    result = fetch("ham10000", tmp_path, api_url=world.api, retries=2)
    assert (result.downloaded, result.failures) == (IMAGES, [])


def test_what_the_disk_lacks_in_the_end_is_a_failure_whatever_the_threads_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    honest = download_isic.Archive.one

    def liar(self: download_isic.Archive, image: dict, folder: Path) -> tuple[str, str]:
        return ("downloaded", "") if image["isic_id"] == isic_id(9) else honest(self, image, folder)

    monkeypatch.setattr(download_isic.Archive, "one", liar)
    get(world, tmp_path)
    assert set(failures_in(tmp_path)) == {isic_id(9)}


def test_a_list_that_breaks_off_is_a_failure_and_keeps_the_earlier_table(world: World, tmp_path: Path):
    get(world, tmp_path)
    whole = (tmp_path / "metadata.csv").read_text()
    world.wrong = {"cursor=20": fail(500)}
    result = get(world, tmp_path)
    assert result.present == 20
    assert "broke off after 20 of 23" in failures_in(tmp_path)["list of images"]
    assert (tmp_path / "metadata.csv").read_text() == whole


def test_a_licence_without_text_is_a_failure(world: World, tmp_path: Path):
    world.wrong = {"license-file/CC-BY-NC": fail(404)}
    get(world, tmp_path)
    assert set(failures_in(tmp_path)) == {"text of the licence CC-BY-NC"}


def test_a_name_that_leads_out_of_the_folder_is_refused(world: World, tmp_path: Path):
    entry = world.entry
    world.entry = lambda number: entry(number) | ({"isic_id": "../../evil"} if number == 6 else {})  # type: ignore[method-assign]
    get(world, tmp_path / "deep" / "er")
    assert set(failures_in(tmp_path / "deep" / "er")) == {"../../evil"}
    assert not list(tmp_path.rglob("evil*"))


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("isic_cli.io.http.get_available_disk_space", lambda _: 100)
    with pytest.raises(FetchError, match="GB more are needed"):
        get(world, tmp_path)
    assert not any(path.startswith("/images/") for path in world.asked)


def test_a_collection_that_the_archive_does_not_list(world: World, tmp_path: Path):
    for one in world.collections:
        one["name"] = one["name"].replace("2024: Training", "2024: Train")
    told = r"lists no collection 'Challenge 2024: Training'.*'Challenge 2024: Train' \(9"
    with pytest.raises(InputError, match=told):
        get(world, tmp_path, "isic2024")


def test_unreachable_is_told_quickly_with_the_address(tmp_path: Path):
    told = r"cannot fetch from http://127\.0\.0\.1:9/api/v2/: no connection.*HTTPS_PROXY"
    with pytest.raises(FetchError, match=told):
        fetch("ham10000", tmp_path / "x", api_url="http://127.0.0.1:9/api/v2/")
    assert not (tmp_path / "x").exists()


def test_something_else_than_the_archive_answers(world: World, tmp_path: Path):
    world.wrong = {"collections/": lambda handler, _: send(handler, b"<html>log in to the hotel</html>")}
    with pytest.raises(FetchError, match="answers, but not as expected"):
        get(world, tmp_path)
    with pytest.raises(InputError, match="expected an address such as"):
        fetch("ham10000", tmp_path, api_url="api.isic-archive.com")


def test_unknown_names(tmp_path: Path):
    for name in ("ham1000", "isic-collection:", "isic-collection:x"):
        with pytest.raises(InputError, match="There are ham10000, isic2016"):
            fetch(name, tmp_path)


def test_the_command(world: World, tmp_path: Path):
    command = ["data", "fetch", "ham10000", "--out", str(tmp_path / "ham"), "--api-url", world.api]
    world.wrong = {isic_id(8): fail(404)}
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert f"failed: {isic_id(8)}: the server answered 404" in done.output
    assert "22 of 23 there" in done.output
    world.wrong = {}
    done = CliRunner().invoke(app, command[:-2], env={"DERMDISTILL_ISIC_API": world.api})
    assert done.exit_code == 0, done.output
    assert "23 of 23 there (1 downloaded, 22 before)" in done.output
    assert "licence CC-BY-NC: 7 images" in done.output


def test_the_list_of_names():
    done = CliRunner().invoke(app, ["data", "fetch", "--list"])
    assert done.exit_code == 0
    for name in download.NAMES:
        assert name in done.output
    assert "number 212" in done.output


@pytest.fixture
def zenodo(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    from medmnist.info import INFO

    stream = io.BytesIO()
    arrays = {}
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        noise = np.random.default_rng(count)
        arrays[f"{part}_images"] = noise.integers(0, 255, (count, 64, 64, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count)[:, None] % 7
    np.savez_compressed(stream, **arrays)
    world.files["/zenodo/dermamnist_64.npz"] = stream.getvalue()
    monkeypatch.setitem(INFO["dermamnist"], "url_64", f"{world.root}/zenodo/dermamnist_64.npz?download=1")
    monkeypatch.setitem(INFO["dermamnist"], "MD5_64", hashlib.md5(stream.getvalue()).hexdigest())
    return world


def test_dermamnist_arrives_can_be_imported_and_is_fetched_once(zenodo: World, tmp_path: Path):
    result = fetch("dermamnist", tmp_path, size=64)
    assert (result.expected, result.downloaded, result.failures) == (1, 1, [])
    assert (tmp_path / "dermamnist_64.npz").read_bytes() == zenodo.files["/zenodo/dermamnist_64.npz"]
    assert "CC BY-NC 4.0" in (tmp_path / "attribution.txt").read_text()
    assert len(import_dataset(tmp_path).manifest) == 11
    zenodo.asked.clear()
    assert fetch("dermamnist", tmp_path, size=64).present == 1
    assert not zenodo.asked


def test_dermamnist_goes_on_where_it_stopped(zenodo: World, tmp_path: Path):
    zenodo.wrong = {"/zenodo/": cut_short}
    with pytest.raises(FetchError, match="cannot fetch from"):
        fetch("dermamnist", tmp_path, size=64)
    there = (tmp_path / "dermamnist_64.npz.part").stat().st_size
    assert 0 < there < len(zenodo.files["/zenodo/dermamnist_64.npz"])
    assert not (tmp_path / "dermamnist_64.npz").exists()
    zenodo.wrong = {}
    fetch("dermamnist", tmp_path, size=64)
    assert zenodo.ranges == [f"bytes={there}-"]
    assert [path.name for path in tmp_path.glob("*npz*")] == ["dermamnist_64.npz"]


def test_dermamnist_with_another_checksum_is_refused(zenodo: World, tmp_path: Path):
    zenodo.wrong = {"/zenodo/": half}
    with pytest.raises(FetchError, match=r"MD5 .* expected"):
        fetch("dermamnist", tmp_path, size=64)
    assert not list(tmp_path.glob("*npz*"))


def test_dermamnist_sizes(tmp_path: Path):
    with pytest.raises(InputError, match="28, 64, 128, 224 pixels, not 32"):
        fetch("dermamnist", tmp_path, size=32)
    (tmp_path / "dermamnist.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"already holds dermamnist\.npz"):
        fetch("dermamnist", tmp_path, size=64)


@pytest.mark.parametrize("name", ["isic", "medmnist", "publisher"])
def test_sources_do_not_import_what_chooses_among_them(name):
    """Each source stands by itself: no cycle."""
    code = f"import sys, dermdistill.data.fetch.{name}; sys.exit('dermdistill.data.fetch.download' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
