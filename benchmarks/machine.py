"""Where and with what a measurement was made, in one line."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def line(*packages: str) -> str:
    """The day, processor, cores, load average, and versions of Python and some packages."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    load = f"load {os.getloadavg()[0]:.1f} at the end"
    return ", ".join([f"{datetime.now(UTC):%Y-%m-%d}", processor(), f"{os.cpu_count()} cores", load, *versions])


def processor() -> str:
    """The name that the system gives it."""
    return next(_named(), "") or platform.processor() or platform.machine()


def _named() -> Iterator[str]:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for text in cpuinfo.read_text(encoding="utf-8").splitlines():
            if text.startswith("model name"):
                yield text.partition(":")[2].strip()
