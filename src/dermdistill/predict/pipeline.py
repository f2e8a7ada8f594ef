"""Work on many things side by side, in order, with no more of them in memory than there are threads to work on."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

BATCH = 8
"""Images a forward pass by default: with 16, a core's caches no longer hold what passes between layers, which takes a
tenth longer. Answers do not depend on it."""
_AHEAD = 2
"""Pieces for each thread that may be begun or wait, so that no thread is idle while the oldest piece is awaited."""


def usable_cores() -> int:
    """How many cores this process may use, which a container or a batch system may limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def chunks(things: Iterable[T], size: int, threads: int = 1) -> Iterator[list[T]]:
    """The things in lists of at most `size`.

    Where it is known how many there are, the last lists become ever shorter, so that several threads end at about the
    same time.
    """
    iterator = iter(things)
    left = len(things) if isinstance(things, Sized) and threads > 1 else math.inf
    while chunk := list(islice(iterator, int(min(size, max(1, left / (_AHEAD * threads)))))):
        left -= len(chunk)
        yield chunk


def ahead(work: Callable[[T], R], pieces: Iterable[T], threads: int) -> Iterator[R]:
    """The results of pieces of work in their order, while threads work on the next ones.

    Work that holds Python's lock gains nothing from it: decoders, resizing and graphs let go of it.

    Args:
        work: what is done with each piece; an exception is raised where its result would come.
        pieces: taken as they are needed, by the thread that iterates.
        threads: how many work side by side; with one, nothing runs ahead.
    """
    if threads == 1:
        yield from map(work, pieces)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for piece in pieces:
                waiting.append(pool.submit(work, piece))
                if len(waiting) >= _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
