"""Keep freed memory: glibc gives large blocks back to the kernel at once, and every training step asks for them anew.

On a CPU each activation is then mapped, zeroed and unmapped again in every step, which can cost as much as the
arithmetic. `benchmarks/allocator.py` prints what it costs on a machine.
"""

import ctypes
import os

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_SETTINGS = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 2**28}
_VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep what is freed, for the rest of this process.

    The process holds on to its highest use of memory until it ends. Does nothing with another C library, or where
    the user chose settings or another allocator by MALLOC_* or LD_PRELOAD.

    Returns:
        Whether the settings were taken.
    """
    if any(name in os.environ for name in _VARIABLES):
        return False
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt if hasattr(library, "gnu_get_libc_version") else None
    except (AttributeError, OSError, TypeError):
        mallopt = None
    if mallopt is None:  # no glibc: macOS, Windows, musl
        return False
    return all(mallopt(name, value) == 1 for name, value in _SETTINGS.items())
