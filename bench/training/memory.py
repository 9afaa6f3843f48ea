"""Memory of this process: how much it took at most, and that what it frees stays its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Parameters of glibc's ``mallopt``, from malloc.h, and their values: memory above which the top of the heap is given
#: back, and the size from which memory is mapped for itself (the greatest that is allowed).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, 1 << 30), (-3, 32 << 20)

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Peak resident memory since it was made; where the system cannot reset its mark, since the process began."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")  # Linux: reset VmHWM

    def megabytes(self) -> float:
        with contextlib.suppress(OSError):
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def keep_freed_memory() -> None:
    """Let malloc keep what a training step frees, up to 1 GiB, for the next step.

    Else glibc gives it back to the system after every step, and the next one waits for its pages to be zeroed: 1,500
    page faults in a step of MMoE with 256 hidden units. What ``MALLOC_TRIM_THRESHOLD_`` or ``MALLOC_MMAP_THRESHOLD_``
    in the environment say is left alone, and another C library too.
    """
    mallopt = _of_glibc("mallopt")
    for (parameter, value), name in ((_TRIM_THRESHOLD, "TRIM"), (_MMAP_THRESHOLD, "MMAP")):
        if mallopt is not None and f"MALLOC_{name}_THRESHOLD_" not in os.environ:
            mallopt(parameter, value)


def give_back_memory() -> None:
    """Free what nothing refers to any more, and give the system what malloc keeps of it."""
    gc.collect()  # Lightning leaves cycles
    if not gc.get_freeze_count():
        gc.freeze()  # packages: half a million objects, which it took 0.2 to 0.4 s after every cell to look through
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., Any] | None:
    """A function of the C library, None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
