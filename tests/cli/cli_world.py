"""Helpers of the tests of the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.runner.pool import Finished

#: City 6 at a ten-thousandth of its size: 18,400 exposures.
WORLD = ("--scale", "0.0001", "--wandb", "off")
#: The run that is stored in ``trained``.
RUN = ("run", "--cities", "6", "--models", "shared_bottom,esmm,esmc,esms", "--seeds", "1", "--jobs", "2", *WORLD)


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Bench = Callable[..., Said]


def command(*arguments: str | Path) -> list[str]:
    """A command line that starts ``bench`` in a process of its own."""
    return [sys.executable, "-m", "bench.cli.main", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "100", "WANDB_MODE": "offline"}


def use_cores(first: int = 0, last: int = 1) -> None:
    """Keep this process to some cores: with one per job, every worker has one thread on any machine.

    It also hears Ctrl-C again, which a process in the background of a script is started deaf to.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[first : last + 1] or cores[:1])


def start(*arguments: str | Path, cores: tuple[int, int] = (0, 1)) -> subprocess.Popen[str]:
    """A command in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: use_cores(*cores),
    )


class InlinePool:
    """In place of worker processes: everything happens in this one."""

    def __init__(self, jobs: int, listen: Callable[[Any], None]) -> None:
        self.jobs, self.listen = jobs, listen

    def run(self, function: Any, tasks: Any, arguments: Any) -> Iterator[Finished[Any]]:
        for task in tasks:
            try:
                yield Finished(task, function(*arguments(task)), None)
            except Exception as error:
                yield Finished(task, None, error)

    def close(self) -> None:
        pass


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below ``folder``: when it was changed, and its bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
