"""Photographs of a picture archive: found, fetched, judged, and the objects on them sent back, over DICOMweb.

Queries go by QIDO-RS, images come by WADO-RS, objects go by STOW-RS (DICOM PS3.18). Rows and messages number the images
in the order of the answers; they hold nothing that the archive says of patients.
"""

import contextlib
import dataclasses
import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dermdistill.errors import DermdistillError, InputError, MissingExtraError, did_you_mean
from dermdistill.images.dicom.files import expand_frames, split_frame
from dermdistill.images.dicom.header import PHOTOGRAPHS
from dermdistill.predict.dicom_objects import DicomObjects
from dermdistill.predict.dicom_source import discreet
from dermdistill.predict.predictor import Predictor, Result

if TYPE_CHECKING:
    from pydicom import Dataset

AUTHORIZATION = "DERMDISTILL_DICOMWEB_AUTHORIZATION"
"""The environment variable with the value of the header Authorization, such as 'Bearer …'."""
TIMEOUT = 60.0
"""Seconds for a connection, and for each wait for bytes."""
_PAGE = 200
"""Images of one answer to a query."""
_ATTEMPTS = 3
"""Of a request that the archive says to repeat."""
_BUSY = (408, 429, 502, 503, 504)
"""The statuses that say so."""
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Found:
    """An image that a query found."""

    study: str
    series: str
    instance: str


def parse_query(words: Sequence[str]) -> dict[str, str]:
    """The conditions of a query from words such as 'StudyDate=20260101-20260131'.

    Raises:
        InputError: a word is no KEYWORD=VALUE, or no keyword of DICOM. Its value is not repeated.
    """
    from pydicom.datadict import keyword_dict

    found: dict[str, str] = {}
    for word in words:
        keyword, equals, value = word.partition("=")
        if not equals or not value:
            raise InputError("a condition needs a keyword and a value, such as StudyDate=20260101-20260131")
        if keyword not in keyword_dict:
            raise InputError(f"'{keyword[:64]}' is no keyword of DICOM{did_you_mean(keyword, keyword_dict)}")
        found[keyword] = value
    return found


class Archive:
    """A DICOMweb server.

    Args:
        url: of its root, such as 'https://archive.example/dicom-web'.
        authorization: the value of the header Authorization; by default that of the environment.

    Raises:
        InputError: no address of HTTP or HTTPS, or one with a password in it.
        MissingExtraError: the extra `dicom` is not installed.
    """

    def __init__(self, url: str, authorization: str | None = None):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("the archive's address must begin with https:// or http:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InputError(
                f"the archive's address may hold no name, password or query; put a header into {AUTHORIZATION}"
            )
        if importlib.util.find_spec("dicomweb_client") is None:
            raise MissingExtraError("dicom", "dicomweb-client")
        from dicomweb_client.api import DICOMwebClient

        given = os.environ.get(AUTHORIZATION, "") if authorization is None else authorization
        self.host = parts.netloc
        self.is_in_the_clear = parts.scheme == "http" and parts.hostname not in _LOCAL
        """Whether what travels can be read on the way."""
        headers = {"Authorization": given} if given else None
        self._client = DICOMwebClient(url.rstrip("/"), headers=headers, timeout=TIMEOUT, chunk_size=2**40)
        self._client.set_http_retry_params(True, _ATTEMPTS, 500, tuple(map(HTTPStatus, _BUSY)))

    def find(self, query: Mapping[str, str]) -> Iterator[Found]:
        """The photographs that a query finds, each once.

        Args:
            query: values by keywords of DICOM; without SOPClassUID, dermoscopic and other photographs are asked for.

        Raises:
            InputError: the archive cannot be reached, refuses, or answers with something else.
        """
        kinds = [query["SOPClassUID"]] if "SOPClassUID" in query else list(PHOTOGRAPHS)
        told: set[Found] = set()
        for kind in kinds:
            seen: set[Found] = set()
            while page := self._search({**query, "SOPClassUID": kind}, len(seen)):
                rows = list(_read(page))
                wanted = [one for one, its_kind in rows if its_kind in ("", kind) and one not in told]
                told.update(wanted)
                yield from dict.fromkeys(wanted)
                before = len(seen)
                seen.update(one for one, _ in rows)
                if len(page) < _PAGE or len(seen) == before:  # some archives know no pages, and begin anew
                    break

    def _search(self, query: dict[str, str], offset: int) -> list[dict[str, Any]]:
        with self._explained("a query"):
            return self._client.search_for_instances(search_filters=query, limit=_PAGE, offset=offset)

    def fetch(self, found: Found) -> "Dataset":
        """An image, as the archive has it.

        Raises:
            InputError: as `find`.
        """
        with self._explained("an image"):
            return self._client.retrieve_instance(found.study, found.series, found.instance)

    def store(self, made: "Dataset") -> None:
        """Send an object; may be called again with the same one.

        Raises:
            InputError: as `find`, or the archive takes the request and not the object.
        """
        with self._explained("an object to store"):
            answer = self._client.store_instances([made])
            if failed := answer.get("FailedSOPSequence"):
                reason = int(failed[0].get("FailureReason") or 0)
                raise InputError(f"the archive at {self.host} does not store the object (failure reason {reason:#06x})")

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn errors into ours, which name the host and nothing that was asked for or answered."""
        from requests import ConnectionError as NotConnected
        from requests import HTTPError, Timeout
        from retrying import RetryError

        try:
            with discreet():
                yield
        except DermdistillError:
            raise
        except (HTTPError, RetryError) as error:
            response: Any = error.response if isinstance(error, HTTPError) else error.last_attempt.value
            remedy = f"; check {AUTHORIZATION}" if response.status_code in (401, 403) else ""
            told = f"the archive at {self.host} answers {what} with HTTP {response.status_code}"
            raise InputError(f"{told}{remedy}") from None
        except (NotConnected, Timeout) as error:
            raise InputError(f"the archive at {self.host} cannot be reached ({type(error).__name__})") from None
        except Exception as error:  # of the client, on answers that do not fit, with their words
            told = f"the archive at {self.host} answers {what} with something else than DICOMweb"
            raise InputError(f"{told} ({type(error).__name__})") from None


def _read(page: Sequence[dict[str, Any]]) -> Iterator[tuple[Found, str]]:
    """The images of an answer, each with its SOP class, or an empty text if the archive does not tell."""
    for row in page:
        values = [_value(row, tag) for tag in ("0020000D", "0020000E", "00080018")]
        if all(re.fullmatch(r"[0-9.]{1,64}", value) for value in values):
            yield Found(*values), _value(row, "00080016")


def _value(row: dict[str, Any], tag: str) -> str:
    """The first value of an element in DICOM's JSON; empty if there is none."""
    values = row.get(tag, {}).get("Value") if isinstance(row, dict) and isinstance(row.get(tag, {}), dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


class Round:
    """Judges what a query finds, one image after the other.

    Args:
        predictor: the model.
        archive: where the images are.
        objects: makes and hands on the objects on results; None for none.
    """

    def __init__(self, predictor: Predictor, archive: Archive, objects: DicomObjects | None = None):
        self._predictor, self._archive, self._objects = predictor, archive, objects
        self._uids: dict[str, str] = {}

    def uid_of(self, name: str) -> str:
        """The SOP Instance UID of an image by the name that its row has."""
        return self._uids.get(name.partition("#")[0], "")

    def judge(self, query: Mapping[str, str]) -> Iterator[Result]:
        """The results on what a query finds, named 'image-1', 'image-2#1' and so on.

        An image that cannot be fetched has a row that says so. Each image lies in a folder of its own, which only this
        user may read, while it is judged.

        Raises:
            InputError: the query fails.
        """
        for number, found in enumerate(self._archive.find(query), 1):
            name = f"image-{number}"
            self._uids[name] = found.instance
            with tempfile.TemporaryDirectory(prefix="dermdistill-") as folder:
                yield from self._one(found, Path(folder) / name)

    def _one(self, found: Found, path: Path) -> Iterator[Result]:
        try:
            with discreet():
                self._archive.fetch(found).save_as(path, enforce_file_format=True)
        except DermdistillError as error:
            yield Result(path.name, "missing", None, None, "", f"{path.name}: {error}")
            return
        except Exception as error:  # pydicom raises nearly anything on what is no whole object
            yield Result(
                path.name, "unreadable", None, None, "", f"{path.name}: no DICOM object ({type(error).__name__})"
            )
            return
        for result in self._predictor.predict(list(expand_frames(path))):
            reported = self._objects.add(result) if self._objects else result
            yield _renamed(reported, path)


def _renamed(result: Result, path: Path) -> Result:
    """A result without the folder in which its image lay for a while."""
    file, frame = split_frame(Path(result.file))
    name = file.name if frame is None else f"{file.name}#{frame}"
    return dataclasses.replace(result, file=name, message=result.message.replace(str(path), path.name))
