"""Blocks without warnings, in which several threads may be at once."""

import contextlib
import threading
import warnings
from collections.abc import Iterator


class _Silence:
    """Ignores warnings as long as any thread is in a block; the last one that leaves restores what was before.

    Where blocks of `warnings.catch_warnings` overlap on two threads, the first one that ends lets the other's warnings
    through, and the other one then makes the silence permanent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._before.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._before.close()


silent = _Silence()
"""A block without warnings: `with silent():`."""
