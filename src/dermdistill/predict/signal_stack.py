"""The stack that signal handlers run on, put back after a library has replaced it.

OpenVINO asks the kernel for the AMX registers when it first looks at the processor, and gives the thread an alternate
signal stack that just holds them. The dynamic linker saves them once more when a handler calls a function for the first
time, and the stack overflows: on such a processor a Ctrl-C could end the process with a segmentation fault.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> tuple[int | None, int, int]:
    """Address, flags and bytes of the calling thread's alternate signal stack; flags are 2 where it has none. Linux."""
    found = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found.address, found.flags, found.size


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Put the calling thread's alternate signal stack back at the end; does nothing but on Linux."""
    if sys.platform != "linux":
        yield
        return
    before = signal_stack()
    try:
        yield
    finally:
        if signal_stack() != before:
            ctypes.CDLL(None).sigaltstack(ctypes.byref(_Stack(*before)), None)
