"""The ISIC archive, asked through its own client `isic-cli`, used as a library.

What the client's command leaves open is closed here: it never reads the results of its download threads, so
that a failed image vanishes without a word, and without a network it retries for many minutes. Here all
images that the archive lists are compared with the disk in the end, and each missing one is named.
"""

import csv
import difflib
import io
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from dermdistill import talk
from dermdistill.data.fetch.publisher import (
    COLLECTIONS,
    ISIC_API,
    ISIC_PREFIX,
    Fetched,
    FetchError,
    as_fetch_errors,
    explain,
    write_failures,
)
from dermdistill.data.sources import SOURCES
from dermdistill.errors import InputError
from dermdistill.files import atomic_path, write_json, write_text

THREADS = 8
LIST = "list of images"
_PAGE = 100
_CHUNK = 2**20


class Archive:
    """The ISIC archive at one address."""

    def __init__(self, url: str, retries: int):
        if not re.match(r"https?://[^/]+", url):
            raise InputError(f"expected an address such as {ISIC_API}, got '{url}'")
        self.url = url.rstrip("/") + "/"
        self.retries = retries
        self.local = threading.local()

    def session(self) -> Any:
        """This thread's session: isic-cli's, but with retries that end within seconds, not minutes."""
        if not hasattr(self.local, "session"):
            from isic_cli.session import IsicCliSession
            from urllib3.util.retry import Retry

            retry = Retry(
                total=self.retries,
                connect=min(1, self.retries),
                backoff_factor=0.5,
                status_forcelist=[429, 500, 502, 503, 504],
                redirect=False,
                raise_on_status=False,
            )
            self.local.session = IsicCliSession(self.url, retry_strategy=retry)
        return self.local.session

    def fetch(self, name: str, folder: Path, limit: int | None) -> Fetched:
        """Download a data set or a collection; see `dermdistill.data.fetch.download.fetch`."""
        from isic_cli.io.http import get_images, get_num_images

        with as_fetch_errors(self.url):
            collections = self.resolve(name)
            numbers = ",".join(str(one["id"]) for one in collections)
            total = int(get_num_images(self.session(), "", numbers))
        if total == 0:
            raise FetchError(f"{self.url} lists no public image for {name} (collections {numbers})")
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".ISIC_*"):  # of a run that was killed
            leftover.unlink()
        if limit is None:
            self.check_disk(numbers, folder)
        result = Fetched(folder, expected=min(total, limit or total))
        images = islice(get_images(self.session(), "", numbers), result.expected)
        listed = self.download(images, result)
        self.write_record(name, collections, listed, result)
        return result

    def resolve(self, name: str) -> list[dict]:
        """The archive's entries of the collections that `name` stands for."""
        from isic_cli.io.http import get_collection, get_collections
        from requests.exceptions import HTTPError

        if name.startswith(ISIC_PREFIX):
            number = name.removeprefix(ISIC_PREFIX)
            try:
                return [get_collection(self.session(), number)]
            except HTTPError as error:
                if error.response is None or error.response.status_code != 404:
                    raise
                raise InputError(f"the ISIC archive has no public collection {number} ({self.url})") from None
        there = {one["name"]: one for one in get_collections(self.session())}
        wanted = [one.name for one in COLLECTIONS[name]]
        missing = [one for one in wanted if one not in there]
        if missing:
            names = difflib.get_close_matches(missing[0], list(there), n=5, cutoff=0.3)
            near = ", ".join(f"'{one}' ({there[one]['id']})" for one in names) or "none"
            raise InputError(
                f"the ISIC archive lists no collection {', '.join(map(repr, missing))} at {self.url}; the "
                f"nearest are: {near}. If one of them is what you want, fetch it as {ISIC_PREFIX}NUMBER"
            )
        return [there[one] for one in wanted]

    def check_disk(self, numbers: str, folder: Path) -> None:
        """Refuse to begin what cannot end well."""
        from isic_cli.io.http import get_available_disk_space, get_size_images

        with as_fetch_errors(self.url):
            needed = int(get_size_images(self.session(), "", numbers))
        needed -= sum(path.stat().st_size for path in folder.glob("ISIC_*"))
        free = get_available_disk_space(folder)
        if free is not None and needed > free:
            raise FetchError(
                f"{folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB more are needed; "
                "choose another folder, or take a part of the images with --limit"
            )

    def download(self, images: Iterator[dict], result: Fetched) -> list[dict]:
        """Download page by page, since the addresses of the images expire; what was listed comes back."""
        listed: list[dict] = []
        get = partial(self.one, folder=result.folder)
        with talk.bars() as bars, ThreadPoolExecutor(THREADS) as pool:
            bar = bars.add_task("download images", total=result.expected)
            try:
                while page := self.next_page(images, result, len(listed)):
                    listed += page
                    for image, (was, reason) in zip(page, pool.map(get, page), strict=True):
                        result.present += was == "present"
                        result.downloaded += was == "downloaded"
                        if was == "failed":
                            result.failures.append((str(image.get("isic_id")), reason))
                        bars.advance(bar)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return listed

    def next_page(self, images: Iterator[dict], result: Fetched, so_far: int) -> list[dict]:
        """The next images of the list. If the list breaks off, that is a failure with a name, too."""
        page: list[dict] = []
        try:
            with as_fetch_errors(self.url):
                for image in islice(images, _PAGE):
                    page.append(image)
        except FetchError as error:
            if not page and so_far == 0:
                raise
            reason = f"broke off after {so_far + len(page)} of {result.expected}: {error}"
            result.failures.append((LIST, reason))
            return page
        broke_off = any(what == LIST for what, _ in result.failures)
        if not page and so_far < result.expected and not broke_off:
            reason = f"ended after {so_far} images where {result.expected} were announced"
            result.failures.append((LIST, reason))
        return page

    def one(self, image: dict, folder: Path) -> tuple[str, str]:
        """Make sure that one image lies whole in the folder: 'present', 'downloaded' or 'failed', and why."""
        from requests.exceptions import RequestException

        try:
            path, url, size = _target(image, folder)
            if path.is_file() and path.stat().st_size == size:
                return "present", ""
            with atomic_path(path) as temporary:
                with self.session().get(url, stream=True) as answer, temporary.open("wb") as file:
                    answer.raise_for_status()
                    for chunk in answer.iter_content(_CHUNK):
                        file.write(chunk)
                if (got := temporary.stat().st_size) != size:
                    raise FetchError(f"{got} bytes came, {size} were announced")
        except (RequestException, FetchError, OSError) as error:
            return "failed", explain(error)
        return "downloaded", ""

    def write_record(self, name: str, collections: list[dict], listed: list[dict], result: Fetched) -> None:
        """Look at the disk, then write the table, attributions, licences, failures and what was asked."""
        failed = {what for what, _ in result.failures}
        result.failures += [pair for pair in _absent(listed, result.folder) if pair[0] not in failed]
        if LIST not in failed or not (result.folder / "metadata.csv").exists():
            # A list that broke off does not replace the table of an earlier, complete run.
            write_text(result.folder / "metadata.csv", _table(listed))
        result.licences = dict(Counter(str(image.get("copyright_license")) for image in listed))
        source = SOURCES.get(name, SOURCES["isic-archive"])
        write_text(result.folder / "attribution.txt", _attribution(listed, source.citation))
        for licence in result.licences:
            self.write_licence(licence, result)
        write_json(
            result.folder / "fetch.json",
            {
                "name": name,
                "address": self.url,
                "collections": [{"id": one["id"], "name": one["name"]} for one in collections],
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "images": len(listed),
                "licences": result.licences,
                "citation": source.citation,
                "failures": len(result.failures),
            },
        )
        write_failures(result)

    def write_licence(self, licence: str, result: Fetched) -> None:
        """Keep the text of a licence in licenses/."""
        from isic_cli.io.http import get_license
        from requests.exceptions import RequestException

        path = result.folder / "licenses" / f"{licence}.txt"
        try:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", licence):
                raise FetchError("not the name of a licence")
            if not path.is_file():
                write_text(path, get_license(self.session(), licence))
        except (RequestException, FetchError) as error:
            result.failures.append((f"text of the licence {licence}", explain(error)))


def _target(image: dict, folder: Path) -> tuple[Path, str, int]:
    """Path, address and size in bytes of an image; named as isic-cli names it."""
    try:
        name, full = str(image["isic_id"]), image["files"]["full"]
        url, size = str(full["url"]), int(full["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise FetchError(f"its entry in the list lacks something ({error})") from None
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower() or ".jpg"
    if not re.fullmatch(r"ISIC_\d+", name) or suffix not in (".jpg", ".jpeg", ".png", ".tif", ".tiff"):
        raise FetchError(f"'{name}{suffix}' is not the name of an image of the archive")
    return folder / f"{name}{suffix}", url, size


def _absent(listed: list[dict], folder: Path) -> Iterator[tuple[str, str]]:
    """What was listed and does not lie whole in the folder, whatever the threads have said."""
    for image in listed:
        try:
            path, _, size = _target(image, folder)
        except FetchError as error:
            yield str(image.get("isic_id")), str(error)
            continue
        if not path.is_file() or path.stat().st_size != size:
            yield str(image["isic_id"]), "not whole on the disk although its download ended well"


def _table(listed: list[dict]) -> str:
    """The images' metadata in the columns that `isic image download` writes."""
    first = ["isic_id", "attribution", "copyright_license"]
    rows = []
    for image in listed:
        known = image.get("metadata") or {}
        details = (known.get("acquisition") or {}) | (known.get("clinical") or {})
        rows.append({key: image.get(key) for key in first} | details)
    columns = first + sorted({key for row in rows for key in row} - set(first))
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _attribution(listed: list[dict], citation: str) -> str:
    """Whom to name: the citation, then the contributors by number of images, anonymous ones last."""
    counts = Counter(str(image.get("attribution")) for image in listed)
    order = sorted(counts.items(), key=lambda pair: (pair[0] == "Anonymous", -pair[1], pair[0]))
    return "\n\n".join([f"Cite: {citation}", *[f"{name} ({count} images)" for name, count in order]]) + "\n"
