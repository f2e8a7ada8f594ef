"""Files in object stores and on web servers, named by URL. fsspec is imported when the first URL is used.

Each kind of store finds its credentials where its own programs do: the environment, a profile, or the machine's role.
"""

import re
import time
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

from dermdistill.errors import InputError, MissingExtraError, did_you_mean

PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
"""The schemes that are read, and the package that reads each."""
WEB = frozenset({"http", "https"})
"""Those that nothing can be written to, and whose folders can be listed only where a server shows them as links."""
EXTRA = "remote"
ATTEMPTS = 3
"""How often a store is asked that fails for a reason which may pass."""
_PAUSE = 0.2
"""Seconds before the second attempt, doubled before each further one."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?=.)", re.DOTALL)
_GONE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class UnreachableError(InputError):
    """A store does not answer, or answers with a failure that may pass."""


def is_url(name: object) -> TypeGuard[str]:
    """Whether a string names a file by URL; a path on Windows such as `C:\\photo.jpg` is none, nor is a `Path`."""
    return isinstance(name, str) and _URL.match(name) is not None


def scheme(url: str) -> str:
    """The scheme of a URL, in lower case.

    Raises:
        InputError: it is none that is read.
    """
    found = _URL.match(url)
    name = found[1].lower() if found else ""
    if name not in PACKAGES:
        raise InputError(f"{url}: URLs start with {', '.join(f'{one}://' for one in PACKAGES)}"
                         f"{did_you_mean(name, PACKAGES)}")  # fmt: skip
    return name


def filesystem(url: str) -> Any:
    """The fsspec file system that a URL lies in.

    Raises:
        InputError: a scheme that is not read.
        MissingExtraError: the package that reads it is not installed.
    """
    return _filesystem(scheme(url))


@cache
def _filesystem(kind: str) -> Any:
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError(EXTRA, "fsspec") from None
    try:
        return fsspec.filesystem(kind)
    except ImportError:
        raise MissingExtraError(EXTRA, PACKAGES[kind]) from None


def read(url: str, limit: int) -> bytes:
    """The bytes of a file, at most `limit` and one more, so that a larger one is known.

    Args:
        url: of the file.
        limit: bytes.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        UnreachableError: the store fails, after `ATTEMPTS` attempts.
        InputError: a scheme that is not read.
        MissingExtraError: the package that reads it is not installed.
    """
    store = filesystem(url)

    def once() -> bytes:
        try:
            return store.cat_file(url, start=0, end=limit + 1)
        except Exception as error:
            if _is_empty(error):
                return b""
            raise

    return _insist(once, url)


def list_files(url: str) -> list[str]:
    """The URLs of all files beneath a folder or of a pattern's matches, sorted.

    Args:
        url: a folder, or a pattern with `*` or `**`.

    Raises:
        As `read`.
    """
    store, kind = filesystem(url), scheme(url)
    try:
        listed = _insist(lambda: store.glob(url) if "*" in url else store.find(url), url)
    except ValueError as error:
        raise InputError(f"{url} is no pattern ({error}); write folder/**/*.jpg for all beneath a folder") from None
    return sorted(name if is_url(name) else f"{kind}://{name}" for name in listed)


def is_folder(url: str) -> bool:
    """Whether a URL names a folder: it ends with a slash, or the store says so; web servers are not asked."""
    if url.endswith("/"):
        return True
    if scheme(url) in WEB:
        return False
    store = filesystem(url)
    return bool(_insist(lambda: store.isdir(url), url))


def write(url: str, content: bytes) -> None:
    """Put a file into a store, whole or not at all.

    Raises:
        InputError: web servers take no files, or the store refuses it.
        UnreachableError, MissingExtraError: as `read`.
    """
    require_writable(url)
    store = filesystem(url)
    try:
        _insist(lambda: store.pipe_file(url, content), url)
    except _GONE as error:
        raise InputError(f"cannot write {url}: {_said(error)}; check the bucket and your rights there") from None


def require_writable(url: str) -> None:
    """Raise `InputError` for a URL of a web server or of a scheme that is not known."""
    if scheme(url) in WEB:
        raise InputError(f"cannot write {url}: web servers take no files; name a local file or an object store")


def write_to(place: str | Path, content: bytes) -> None:
    """Write a file by its URL or path, whole or not at all.

    Raises:
        OutputError: the path cannot be written.
        InputError: as `write`.
    """
    if is_url(place):
        write(place, content)
        return
    from dermdistill.files import write_bytes

    write_bytes(place, content)


def join(folder: str, name: str) -> str:
    """The file `name` in a folder that is named by URL or path."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else str(Path(folder) / name)


def _insist(work: Any, url: str) -> Any:
    """Try again what may succeed later.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError: as the store says.
        UnreachableError: whatever else it says at the last attempt.
    """
    for attempt in range(ATTEMPTS):
        try:
            return work()
        except (*_GONE, ValueError):
            raise
        except Exception as error:  # each store's package has errors of its own
            status = getattr(error, "status", None)
            if status in (401, 403):
                raise PermissionError(_said(error)) from None
            if attempt == ATTEMPTS - 1:
                raise UnreachableError(f"{url}: cannot be reached ({_said(error)})") from None
            time.sleep(_PAUSE * 2**attempt)
    raise AssertionError("unreachable")


def _is_empty(error: Exception) -> bool:
    """Whether a store refuses a range because the file has no bytes."""
    return getattr(error, "status", None) == 416 or "InvalidRange" in repr(error) or "not satisfiable" in str(error)


def _said(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
