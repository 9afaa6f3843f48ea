"""Where tasks run: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from bench.core.errors import UserError, unknown
from bench.runner.events import Progress
from bench.runner.pool import Pool, default_jobs

EXECUTORS = ("local", "ray")


def require_executor(executor: str, address: str | None) -> None:
    """Check what was asked for before anything is made.

    Raises:
        UserError: there is no such executor, it is not installed, or the address is not for it.
    """
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    if executor == "ray" and importlib.util.find_spec("ray") is None:
        raise UserError("--executor ray needs the package ray, which is not installed: pip install 'esm-bench[ray]'")
    if executor != "ray" and address is not None:
        raise UserError(f"--ray-address {address} needs --executor ray, but got --executor {executor}.")


def open_pool(
    executor: str, jobs: int | None, address: str | None, listen: Callable[[Progress], None], out: Path
) -> Pool:
    """A pool to be closed after use.

    Args:
        executor: one of :data:`EXECUTORS`, see :func:`require_executor`.
        jobs: most tasks at once; by default as many as there are cores or, where there are any, GPUs.
        address: of a running Ray cluster; None for a Ray of this pool's own.
        listen: called with every :class:`Progress`.
        out: the output folder, which all nodes of a cluster must share.

    Raises:
        UserError: there is no such cluster.
    """
    if executor == "ray":
        from bench.runner.ray_pool import RayPool  # Ray: only where it is used

        return RayPool(jobs, listen, out, address)
    return Pool(jobs or default_jobs(), listen)
