"""A pool of Ray tasks: on this machine, or on the nodes of a cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import socket
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple

from bench.core.cell import SCHEMA_VERSION
from bench.core.errors import UserError
from bench.core.publish import ensure_folder, scratch
from bench.runner import ray_node
from bench.runner.events import Progress
from bench.runner.pool import Finished, Pool, Task, _cores

#: Seconds between two looks at the tasks.
POLL = 0.3
#: Seconds to wait for a node that has room for a task, and for tasks to end when the pool is closed.
PATIENCE, FAREWELL = 60.0, 5.0
#: How often its own process, or the node below it, may die before a task is given up.
CRASHES, NODES = 2, 6
#: Bytes of a node's store of objects, the least that Ray accepts: ours are small.
OBJECTS = 80 * 1024**2


class Share(NamedTuple):
    """What each of ``jobs`` tasks is given: CPUs, one thread each, and a part of a GPU."""

    jobs: int
    threads: int
    gpu: float


def share_of(nodes: Sequence[Mapping[str, float]], jobs: int | None) -> Share:
    """Divide nodes, given by their resources ``CPU`` and ``GPU``; by default one task per GPU, else one per CPU.

    A task has CPUs of one node only, and tasks share a GPU where there are more of them than GPUs.
    """
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    jobs = jobs or gpus or max(1, sum(cpus))
    threads = max(1, min(max(cpus, default=1), sum(cpus) // jobs))
    return Share(jobs, threads, math.floor(10_000 / math.ceil(jobs / gpus)) / 10_000 if gpus else 0.0)


@dataclass
class _Try(Generic[Task]):
    """A task, and how often its process and its node died under it."""

    task: Task
    crashes: int = 0
    nodes: int = 0


class RayPool(Pool):
    """Runs functions of :mod:`bench.runner.worker` as Ray tasks, each of which declares its CPUs and part of a GPU.

    A task whose process died is tried once more, after all others and alone, as in :class:`Pool`. One whose node
    died is tried again beside the others, until its ``NODES``-th died. Ray ends the tasks of a driver that is gone.

    Args:
        jobs: most tasks at once; by default one per GPU, else one per CPU.
        listen: called with every :class:`Progress`, from within :meth:`run`.
        out: the output folder. A folder in it, as long as the pool is open, shows to a node that it sees the same.
        address: of a running cluster, as in ``ray.init``; None for a Ray of the pool's own, out of reach for others.

    Raises:
        UserError: there is no such cluster, or it has no CPUs.
    """

    def __init__(
        self, jobs: int | None, listen: Callable[[Progress], None], out: Path, address: str | None = None
    ) -> None:
        self.listen = listen
        self._running: dict[Any, _Try[Any]] = {}
        ensure_folder(out)
        self._ray = _connected(address)
        self._probe = scratch(out.absolute())
        try:
            self.jobs, self.threads, self.gpu = share_of(self._nodes(), jobs)
            self._require_room()
            self._perform = self._ray.remote(ray_node.perform).options(
                num_cpus=self.threads, num_gpus=self.gpu, max_retries=0, scheduling_strategy="SPREAD"
            )
            self._ear = self._opened_ear()
        except BaseException:
            self.close()
            raise

    def run(
        self, function: Callable[..., Any], tasks: Sequence[Task], arguments: Callable[[Task], tuple[Any, ...]]
    ) -> Iterator[Finished[Task]]:
        """Yield each task as it finishes.

        Raises:
            UserError: a node does not see the output folder or lacks this version, no node has room for a task any
                more, or the cluster is gone.
        """
        waiting = deque(_Try(task) for task in tasks)
        suspects: deque[_Try[Task]] = deque()
        moved = time.monotonic()
        try:
            while waiting or suspects or self._running:
                while waiting and len(self._running) < self.jobs:
                    self._start(waiting.popleft(), function, arguments)
                if not self._running:
                    self._start(suspects.popleft(), function, arguments)
                done, _ = self._ray.wait(list(self._running), timeout=POLL)
                self._hear()
                if done or self._has_room():
                    moved = time.monotonic()
                elif time.monotonic() - moved > PATIENCE:
                    self._require_room()
                for reference in done:
                    attempt = self._running.pop(reference)
                    finished = self._finished(reference, attempt)
                    if finished is not None:
                        yield finished
                    else:
                        (suspects if attempt.crashes else waiting).append(attempt)
        except ConnectionError as error:  # of a ray:// address
            raise UserError(f"the Ray cluster must stay up, but {_first_line(error)}; run again to carry on.") from None
        finally:
            self._end()

    def close(self) -> None:
        """End the tasks at once, in the middle of their work if there are any, and leave the cluster."""
        self._end()
        shutil.rmtree(self._probe, ignore_errors=True)
        self._ray.shutdown()

    def _end(self) -> None:
        """End what is running."""
        running = list(self._running)
        self._running.clear()
        with contextlib.suppress(Exception):  # it may be the cluster that is gone
            for reference in running:
                self._ray.cancel(reference, force=True)
            if running:
                self._ray.wait(running, num_returns=len(running), timeout=FAREWELL)

    def _start(
        self, attempt: _Try[Task], function: Callable[..., Any], arguments: Callable[[Task], tuple[Any, ...]]
    ) -> None:
        place = self._ear, self._probe, Path.cwd(), SCHEMA_VERSION, self.threads
        self._running[self._perform.remote(*place, function, arguments(attempt.task))] = attempt

    def _finished(self, reference: Any, attempt: _Try[Task]) -> Finished[Task] | None:
        """What came of a task; None where it is to be tried again.

        Raises:
            UserError: its node does not see the output folder or lacks this version.
        """
        errors = self._ray.exceptions
        try:
            return Finished(attempt.task, self._ray.get(reference), None)
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            if isinstance(cause, ray_node.UnfitNode):
                raise UserError(str(cause)) from None
            if "failed to import on the worker" in str(cause):
                raise UserError(
                    "every node of the Ray cluster must have this version of esm-bench, but one has not: "
                    f"{str(cause).strip().splitlines()[-1]}; install it there."
                ) from None
            return Finished(attempt.task, None, cause)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError):
            attempt.crashes += 1
        except errors.RayError:  # NodeDiedError and its kin
            attempt.nodes += 1
        killed = attempt.crashes >= CRASHES or attempt.nodes >= NODES
        return Finished(attempt.task, None, None, killed=True) if killed else None

    def _opened_ear(self) -> Any:
        """The actor that hears of progress, on the node of this driver: it dies with no other."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        ear = self._ray.remote(ray_node.Ear).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
        return ear.remote()

    def _hear(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):  # what it had not passed on is lost with it
            for progress in self._ray.get(self._ear.take.remote(), timeout=FAREWELL):
                self.listen(progress)

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _has_room(self) -> bool:
        return any(node.get("CPU", 0) >= self.threads and node.get("GPU", 0) >= self.gpu for node in self._nodes())

    def _require_room(self) -> None:
        if not self._has_room():
            gpu = f" and {self.gpu:g} GPU" if self.gpu else ""
            raise UserError(
                f"the Ray cluster must have a node with {self.threads} CPUs{gpu} for a task, but has none; start one "
                "and run again."
            )


def _connected(address: str | None) -> Any:
    """The module ``ray``, connected.

    Raises:
        UserError: it cannot be.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # Ray's switch for systems where it runs on one machine only: all its servers listen on the loopback.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        options |= {"num_cpus": _cores(), "include_dashboard": False, "object_store_memory": OBJECTS}
    import ray

    if address is None:
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # where it was imported before the switch was set
    try:
        if address is not None:
            _require_answer(ray, address)
        with warnings.catch_warnings(action="ignore"):
            ray.init(address=address or "local", **options)
    except Exception as error:
        raise UserError(_unreachable(address, error)) from None
    _silence(ray)
    return ray


def _require_answer(ray: Any, address: str) -> None:
    """Look whether anybody answers at the address: Ray itself would ask for many minutes.

    Raises:
        OSError: nobody does.
        ValueError: it is no address.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    if not address.startswith("ray://"):
        address = ray._private.services.canonicalize_bootstrap_address(address)
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        raise ValueError("it has no port")
    socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()


def _unreachable(address: str | None, error: Exception) -> str:
    reason = _first_line(error)
    if address is None:
        return f"Ray must start on this machine, but: {reason}; see its logs or take --executor local."
    if "ray[client]" in reason:
        return f"--ray-address {address} needs the client of Ray, which is not installed: pip install 'ray[client]'"
    return (
        f"--ray-address must be that of a running Ray cluster, but {address} is not: {reason}; start one with "
        "`ray start --head`, or leave the option out."
    )


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).strip() or repr(error)
    return str(text).splitlines()[0].rstrip(".")


def _silence(ray: Any) -> None:
    """Keep deaths of workers and nodes, which are told otherwise, from the terminal: Ray has no option for it."""
    ray._private.worker.print_worker_logs = lambda *_, **__: None
