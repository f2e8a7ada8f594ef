"""Files that are either whole or not there: atomic writes, hashes and JSON."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dermdistill.errors import InputError, IntegrityError, OutputError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path whose content is at `path` once the block ends without an error.

    Everything that dermdistill writes goes this way:

    - A plain file is replaced at once; it keeps its mode and its owner. On an error it stays as it was.
    - A symbolic link is followed: its target is written, and the link stays.
    - A device, a pipe or an open file (/dev/stdout, /dev/fd/3) is written through, never replaced.
    - Parent folders are made if need be.

    Args:
        path: where the content belongs.

    Raises:
        OutputError: `path` is a folder, lies below a file, or cannot be written.
    """
    path = Path(path)
    with _as_output_error(path):
        old = _status(path)
        target = Path(os.path.realpath(path))
        if old is not None and stat.S_ISDIR(old.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        through = old is not None and (not stat.S_ISREG(old.st_mode) or _is_open_file(path))
        if not through:
            target.parent.mkdir(parents=True, exist_ok=True)
        temporary, through = _temporary(target, old, through)
    try:
        yield temporary
        with _as_output_error(path):
            _sync(temporary)
            if through or (old is not None and not _give(temporary, old)):
                _write_through(temporary, path)
            else:
                temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    """Turn what the system says into an error that names the path which was asked for."""
    try:
        yield
    except OSError as error:
        raise OutputError(path, error) from None


def _status(path: Path) -> os.stat_result | None:
    """What `path` leads to, links followed; None if nothing is there yet."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_open_file(path: Path) -> bool:
    """Whether the path stands for a file that a process holds open, such as /dev/stdout."""
    parts = path.absolute().parts
    return parts[1:2] == ("proc",) or parts[1:3] in (("dev", "fd"), ("dev", "stdout"), ("dev", "stderr"))


def _temporary(target: Path, old: os.stat_result | None, through: bool) -> tuple[Path, bool]:
    """An empty temporary file, and whether its content has to be copied into `target` in the end."""
    name = f".{target.name[:40]}.{secrets.token_hex(6)}{target.suffix[:20]}"
    if not through:
        try:
            return _make(target.with_name(name), 0o666 if old is None else 0o600), False
        except PermissionError:
            if old is None or not os.access(target, os.W_OK):
                raise  # a file that may be written in a folder that may not is written through
    return _make(Path(tempfile.gettempdir()) / name, 0o600), True


def _make(path: Path, mode: int) -> Path:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))  # less what the umask takes
    return path


def _give(temporary: Path, old: os.stat_result) -> bool:
    """Give a new file the mode and the owner of the old one; False where the owner cannot be given."""
    if os.name == "posix":
        new = temporary.stat()
        try:
            if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
                os.chown(temporary, old.st_uid, old.st_gid)
        except OSError:
            return False
    temporary.chmod(stat.S_IMODE(old.st_mode))
    return True


def _write_through(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as content, path.open("wb") as stream:
        shutil.copyfileobj(content, stream)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, atomically."""
    write_bytes(path, content.encode())


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` to `path` as indented JSON, atomically. NaN and infinities are refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file does not exist.
        IntegrityError: the file is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number too long, or nested too deep
        raise IntegrityError(f"{path} is not readable JSON ({error}); make it again") from None


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hex digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(content: Any) -> str:
    """The SHA-256 of `content` as canonical JSON (sorted keys, no spaces), as 64 hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
