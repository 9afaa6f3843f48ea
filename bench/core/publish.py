"""Atomic publishing: a folder that exists under its final name is complete, whenever the machine stopped."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from bench.core.errors import UserError

_STAGING = ".staging-"
#: Seconds after which a folder that another machine left unchanged is nobody's: its process cannot be asked.
_ABANDONED = 7 * 24 * 3600


def checksum(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ensure_folder(path: Path) -> Path:
    """Create ``path`` and check that it can be written to.

    Raises:
        UserError: it cannot be created or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the folder {path} must be writable, but {error.strerror or error}; choose another with --out."
        ) from None
    return path


def scratch(parent: Path) -> Path:
    """A fresh folder in ``parent``, which :func:`sweep_staging` removes once this process is gone."""
    folder = parent / f"{_STAGING}{os.getpid()}-{_machine()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    return folder


@contextlib.contextmanager
def publishing(final: Path) -> Iterator[Path]:
    """A fresh folder to fill; on success it is renamed to ``final``, on any error it is removed.

    Where ``final`` appeared meanwhile (another process was faster), the new folder is dropped.
    """
    staging = scratch(ensure_folder(final.parent))
    try:
        yield staging
        for path in sorted(staging.rglob("*")):
            _sync(path)
        _sync(staging)
        try:
            staging.rename(final)
        except OSError:
            if not final.is_dir():
                raise
        _sync(final.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Write one file so that readers see the old text or the new one, never a part."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Hold the file ``lock`` until the end of the block or of this process, however that comes.

    Raises:
        UserError: another process holds it.
    """
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"only one {what} may run in {lock.parent} at a time, but another is running; "
                "wait for it or take another --out."
            ) from None
        yield


def sweep_staging(parent: Path) -> int:
    """Remove staging folders below ``parent`` whose process is gone; returns how many.

    Those of other machines, which may share the storage, go when they have not changed for a week.
    """
    removed = 0
    for folder in parent.rglob(f"{_STAGING}*"):
        pid, *more = folder.name.removeprefix(_STAGING).split("-")
        if not pid.isdigit():
            continue
        ours = len(more) < 2 or more[0] == _machine()  # older versions named no machine
        if not _alive(int(pid)) if ours else _unchanged(folder) > _ABANDONED:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


@functools.cache
def _machine() -> str:
    """Tells process ids of this machine, since it started, and of this container from those of others."""
    known = [socket.gethostname()]
    with contextlib.suppress(OSError):
        known += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def _unchanged(folder: Path) -> float:
    """Seconds since something appeared in the folder or left it; 0 where it has just gone."""
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):  # it was killed, but its parent has not asked for it yet
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
