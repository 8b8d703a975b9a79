"""Lowers the priority of the indexing, for the processor and for the disk, below that of other programs."""

import ctypes
import os
import threading

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}  # number of the system call by machine; Python has no function for it
_LOWEST_LEVEL = 7  # of the levels within the class best-effort
_IO_CLASSES = {"best-effort": 2, "idle": 3}


def stand_back(nice: int, io_class: str) -> None:
    """Lower the priority of this thread, and of the processes that it starts afterwards.

    ``nice`` is 0 … 19; a thread that is lower already stays there. ``io_class`` is a value of ``index.io_class``.
    Where the system allows no class, or the number of the call is not known, the priority for the disk stays as it is.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    number = _IOPRIO_SET.get(os.uname().machine)
    if io_class != "none" and number is not None:
        value = _IO_CLASSES[io_class] << 13 | (_LOWEST_LEVEL if io_class == "best-effort" else 0)
        ctypes.CDLL(None).syscall(number, 1, 0, value)  # ioprio_set(2), of this thread
