"""How many threads compute, and how they wait for each other.

Threads of OpenMP spin at the end of each loop until the last one arrives. Beside other work the last one arrives late:
it waits for a core that the spinning ones hold, and a training takes many times its time. So threads sleep while they
wait (`OMP_WAIT_POLICY`), unless the user has set another policy. OpenMP reads its variables when it is loaded; that is
why the package sets them when it is imported, before torch is.
"""

import os
import sys

WAIT_POLICY = "OMP_WAIT_POLICY"
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def wait_asleep() -> None:
    """Let threads that wait give their core away, here and in processes started later; a policy that is set stays."""
    os.environ.setdefault(WAIT_POLICY, "PASSIVE")


def use(threads: int) -> None:
    """Compute with so many threads, here and in processes started later.

    Raises:
        InputError: fewer than one.
    """
    from dermdistill.errors import InputError

    if threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    for name in COUNTS:
        os.environ[name] = str(threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
