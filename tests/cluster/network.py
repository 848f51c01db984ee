"""A network namespace of one's own for the cluster and for those who talk to it.

The thread that enters it takes along what it starts from then on, threads and processes alike: the cluster, a broker,
the simulator. Their ports, addresses and packet filters never meet the machine's own, and all of it is gone when the
last of them is.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """Move the calling thread into a new, empty network namespace, and back at the end.

    Raises OSError without the right to (root has it, outside of most containers).
    """
    # Python has os.unshare and os.setns from 3.12 on only.
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET))
    finally:
        os.close(home)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
