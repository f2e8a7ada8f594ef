"""API keys: a file of hashes, one a line, such as `clinic sha256:9f86d0…`.

A key is 32 random bytes, which cannot be guessed whatever the hash costs. A slow hash, as passwords need, would only
let anybody keep the service busy.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from dermdistill.errors import InputError
from dermdistill.files import atomic_path
from dermdistill.specs import NAME

KEY_BYTES = 32
_LINE = re.compile(r"(\S+)\s+sha256:([0-9a-f]{64})")


class Keys:
    """The keys that are let in.

    Args:
        hashes: the SHA-256 of each key in hexadecimal digits, under its owner's name.
    """

    def __init__(self, hashes: Mapping[str, str]):
        self._hashes = dict(hashes)

    def owner(self, key: str) -> str | None:
        """Whose key it is, None if nobody's; takes the same time either way."""
        found, owner = digest(key), None
        for name, known in self._hashes.items():
            if hmac.compare_digest(found, known):
                owner = name
        return owner


def digest(key: str) -> str:
    """The SHA-256 of a key in hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: str | Path) -> Keys:
    """Read a file of keys. Empty lines and those that begin with # are passed over.

    Raises:
        InputError: no such file, a line that is none of a key, a name that stands twice, or no key at all.
    """
    hashes: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(
                f"{path}, line {number}: expected a name and 'sha256:' with 64 hexadecimal digits; "
                "make a line with `dermdistill serve-key NAME`"
            )
        if match[1] in hashes:
            raise InputError(f"{path}, line {number}: the name '{match[1]}' stands twice; give each key its own")
        hashes[match[1]] = match[2]
    if not hashes:
        raise InputError(f"{path} holds no key, so nobody would be let in; make one with `dermdistill serve-key NAME`")
    return Keys(hashes)


def add_key(path: str | Path, name: str) -> str:
    """Make a key, add its hash to a file, and return the key, which is kept nowhere.

    Raises:
        InputError: a name that does not fit or stands in the file already, or a file that cannot be read.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    if not re.fullmatch(NAME, name):
        raise InputError(f"the name of a key has letters, digits, '.', '_' and '-', got '{name}'")
    before = _text(path) if path.exists() else ""
    if any(line.split()[:1] == [name] for line in before.splitlines()):
        raise InputError(f"{path} has a key of '{name}' already; choose another name, or delete that line")
    key = secrets.token_urlsafe(KEY_BYTES)
    is_new = not path.exists()
    with atomic_path(path) as temporary:
        if is_new:
            temporary.chmod(0o600)
        start = before if not before or before.endswith("\n") else before + "\n"
        temporary.write_text(f"{start}{name} sha256:{digest(key)}\n", encoding="utf-8")
    return key


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"no such file of keys: {path}; make one with `dermdistill serve-key NAME`") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8; make a file of keys with `dermdistill serve-key NAME`") from None
