"""What `keep_freed_memory` does to the allocator of a process, seen from outside: each case in a process of its own."""

import ctypes
import os
import subprocess
import sys

import pytest

from dermdistill.training import memory

PROGRAM = """
import ctypes, resource
from dermdistill.training.memory import keep_freed_memory
taken = keep_freed_memory() if {wanted} else False
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def touch():
    block = library.malloc({size})
    ctypes.memset(block, 1, {size})
    library.free(block)

touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({rounds}):
    touch()
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
SIZE, ROUNDS = 64 * 2**20, 10
"""A block larger than what glibc ever keeps by itself (32 MiB)."""


def _has_glibc():
    try:
        return hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    except (OSError, TypeError):
        return False


glibc_alone = pytest.mark.skipif(not _has_glibc(), reason="only glibc has these settings")


def _faults(wanted=True, **environment):
    """(whether the settings were taken, page faults of allocating, filling and freeing a block ten times)."""
    clean = {name: value for name, value in os.environ.items() if name not in memory._VARIABLES}
    code = PROGRAM.format(wanted=wanted, size=SIZE, rounds=ROUNDS)
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True, timeout=60
    )
    taken, faults = done.stdout.split()
    return taken == "True", int(faults)


@glibc_alone
def test_a_freed_block_stays_with_the_process():
    default, kept = _faults(wanted=False), _faults()
    assert default[0] is False
    assert kept[0] is True
    assert default[1] >= ROUNDS  # every round maps the block anew, page by page or in huge pages
    assert kept[1] < default[1] / 5


@glibc_alone
@pytest.mark.parametrize("name", ["MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_settings_that_the_user_chose_are_left_alone(name):
    taken, faults = _faults(**{name: "67108"})
    assert taken is False
    assert faults >= ROUNDS


def test_another_allocator_or_library_is_left_alone(monkeypatch):
    for name in memory._VARIABLES:
        monkeypatch.delenv(name, raising=False)

    class Musl:
        @staticmethod
        def mallopt(name, value):
            raise AssertionError("mallopt was called")

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Musl())
    assert memory.keep_freed_memory() is False
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError("no C library")))
    assert memory.keep_freed_memory() is False
    monkeypatch.setenv("LD_PRELOAD", "libjemalloc.so")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("the library was looked for"))
    assert memory.keep_freed_memory() is False
