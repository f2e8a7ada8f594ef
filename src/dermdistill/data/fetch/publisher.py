"""What the publishers of data sets have in common: names, what a download brought, errors in words."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dermdistill.errors import DermdistillError, InputError
from dermdistill.files import write_text

ISIC_API = "https://api.isic-archive.com/api/v2/"
ISIC_PREFIX = "isic-collection:"
RETRIES = 4


@dataclass(frozen=True)
class Collection:
    """A collection of the ISIC archive: its name, which is looked up, and the number last seen beside it."""

    name: str
    number: int
    seen: str


_MONET = "output of `isic collection list` kept in github.com/suinleelab/MONET"
COLLECTIONS: dict[str, tuple[Collection, ...]] = {
    "ham10000": (Collection("HAM10000", 212, _MONET),),
    "isic2016": (
        Collection("Challenge 2016: Training", 74, _MONET),
        Collection("Challenge 2016: Test", 61, _MONET),
    ),
    "isic2017": (
        Collection("Challenge 2017: Training", 60, _MONET),
        Collection("Challenge 2017: Validation", 71, _MONET),
        Collection("Challenge 2017: Test", 69, _MONET),
    ),
    "isic2018": (
        Collection("Challenge 2018: Task 3: Training", 66, _MONET),
        Collection("Challenge 2018: Task 3: Validation", 73, _MONET),
        Collection("Challenge 2018: Task 3: Test", 67, _MONET),
    ),
    "isic2019": (Collection("Challenge 2019: Training", 65, _MONET),),
    "isic2020": (Collection("Challenge 2020: Training", 70, "README of github.com/ImageMarkup/isic-cli"),),
    "isic2024": (Collection("Challenge 2024: Training", 390, "challenge.isic-archive.com/data"),),
}
"""The archive's collections behind each name, and where name and number were read.

The names decide: they are resolved through the archive's own list when something is fetched, so that a number
that has changed does no harm. The test parts of 2019 and 2020 were not in the list that was seen; where the
archive shows them to you, fetch them as isic-collection:NUMBER.
"""

NAMES = (*COLLECTIONS, "dermamnist")


class FetchError(DermdistillError):
    """The publisher cannot be reached, or answers something else than its interface promises."""


@dataclass
class Fetched:
    """What a download brought."""

    folder: Path
    expected: int
    present: int = 0
    """Files that were there before, whole."""
    downloaded: int = 0
    licences: dict[str, int] = field(default_factory=dict)
    """Images under each licence."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Image id (or what else was asked for) and reason."""


def write_failures(result: Fetched) -> None:
    """Write failures.csv, or remove that of an earlier run if nothing failed."""
    path = result.folder / "failures.csv"
    if not result.failures:
        path.unlink(missing_ok=True)
        return
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["what", "reason"])
    writer.writerows(result.failures)
    write_text(path, stream.getvalue())


def explain(error: Exception) -> str:
    """An error of the network in few words, without the query of an address, which may carry credentials."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import HTTPError, Timeout

    if isinstance(error, HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, Timeout):
        return "no answer in time"
    if isinstance(error, NoConnection):
        cause = getattr(error.args[0] if error.args else error, "reason", None) or error
        return f"no connection ({re.sub(r'^.*?: ', '', str(cause), count=1)})"
    return re.sub(r"\?[^\s')]*", "", str(error)) or type(error).__name__


@contextmanager
def as_fetch_errors(url: str) -> Iterator[None]:
    """Turn what can go wrong between here and `url` into a FetchError that says how to mend it."""
    from requests.exceptions import JSONDecodeError, RequestException

    try:
        yield
    except InputError:
        raise
    except RequestException as error:
        if isinstance(error, JSONDecodeError):
            raise _unlike(url, error) from None
        raise FetchError(
            f"cannot fetch from {url}: {explain(error)}. Check the network and, behind a proxy, HTTPS_PROXY; "
            "what is already there stays, and the same command goes on with the rest. For a machine without "
            "a network, fetch elsewhere and copy the folder"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise _unlike(url, error) from None


def _unlike(url: str, error: Exception) -> FetchError:
    return FetchError(
        f"{url} answers, but not as expected ({type(error).__name__}: {error}); check the address and "
        "whether a proxy or a login page answers in its place"
    )
