"""What runs in the processes of Ray; light to import, so that the one that only passes on progress stays small."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.core.cell import SCHEMA_VERSION
from bench.core.publish import sweep_staging
from bench.runner.events import Progress


class UnfitNode(Exception):
    """A node cannot be used: what was expected, what was found there, what to do."""


class Ear:
    """An actor that keeps what the tasks tell until the driver asks for it."""

    def __init__(self) -> None:
        self._heard: list[Progress] = []

    def put(self, progress: Progress) -> None:
        self._heard.append(progress)

    def take(self) -> list[Progress]:
        """What was told since the last call."""
        heard, self._heard = self._heard, []
        return heard


class _Mouth:
    """The queue of a worker process: what is put in reaches the ear, or nobody where that is gone."""

    def __init__(self, ear: Any) -> None:
        self._ear = ear

    def put(self, progress: Progress) -> None:
        self._ear.put.remote(progress)


_started = False


def perform(
    ear: Any,
    probe: Path,
    here: Path,
    version: int,
    threads: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> Any:
    """Result of ``function``, called as in a worker process that was started in the folder ``here``.

    The first task of a process also clears what dead processes of its node left in the output folder.

    Args:
        ear: handle of an :class:`Ear`.
        probe: a folder that the driver keeps in its output folder.
        here: the driver's working folder, which relative paths begin at.
        version: the driver's ``SCHEMA_VERSION``.

    Raises:
        UnfitNode: this node has no such folder, or a version of this package that stores other cells.
    """
    global _started
    from bench.runner import worker

    with contextlib.suppress(OSError):  # where it is missing, only absolute paths can be right
        os.chdir(here)
    node = f"node {socket.gethostname()}"
    if not probe.exists():
        raise UnfitNode(
            f"--out must be on storage that all nodes of the Ray cluster share, but {node} does not see "
            f"{probe.parent}; choose another folder."
        )
    if version != SCHEMA_VERSION:
        raise UnfitNode(
            f"every node of the Ray cluster must have this version of esm-bench, whose cells have schema {version}, "
            f"but those of {node} have {SCHEMA_VERSION}; install it there."
        )
    if not _started:
        _started = True
        worker.start(_Mouth(ear), threads, os.getppid())  # type: ignore[arg-type]
        sweep_staging(probe.parent)
    return function(*arguments)
