"""How far the indexing stands back for the other programs of the machine."""

import ctypes
import os
import threading

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}  # no library of Python's own knows the call
_IO_CLASSES = {"best-effort": 2, "idle": 3}


def stand_back(nice: int, io_class: str) -> None:
    """Let others go before this thread, and before the processes that it starts; as far as the system allows it."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    number = _IOPRIO_SET.get(os.uname().machine)
    if io_class != "none" and number is not None:
        value = _IO_CLASSES[io_class] << 13 | (7 if io_class == "best-effort" else 0)
        ctypes.CDLL(None).syscall(number, 1, 0, value)  # ioprio_set(2), of this thread
