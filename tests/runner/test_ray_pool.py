"""The pool of Ray tasks: shares of a cluster, results, errors, and processes that die."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import ray_tasks

from bench.core.cell import SCHEMA_VERSION
from bench.core.errors import UserError
from bench.data.source import SourceOptions
from bench.runner import executor, ray_pool
from bench.runner.executor import open_pool, require_executor
from bench.runner.layout import Layout
from bench.runner.pool import Finished
from bench.runner.prepare import encoded_folder, open_source
from bench.runner.ray_pool import RayPool, _Try, share_of
from bench.runner.run import prepare

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="module")
def heard() -> list[Any]:
    return []


@pytest.fixture(scope="module")
def pool(heard: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayPool]:
    """Two tasks at once on a Ray of its own; starting one takes seconds, so that all tests share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "")
        pool = open_pool("ray", 2, None, heard.append, tmp_path_factory.mktemp("out"))
        yield pool  # type: ignore[misc]
        pool.close()


def run(pool: RayPool, folder: Path, tasks: list[str]) -> dict[str, Finished[str]]:
    return {finished.task: finished for finished in pool.run(ray_tasks.work, tasks, lambda task: (folder, task))}


def tries(folder: Path, task: str) -> int:
    return (folder / task).stat().st_size


@pytest.mark.parametrize(
    ("nodes", "jobs", "share"),
    [
        ([{"CPU": 8.0}], None, (8, 1, 0.0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}, {}], None, (12, 1, 0.0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], 3, (3, 4, 0.0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], 1, (1, 8, 0.0)),  # a task is on one node
        ([{"CPU": 2.0}], 5, (5, 1, 0.0)),
        ([{"CPU": 16.0, "GPU": 4.0}, {"CPU": 16.0}], None, (4, 8, 1.0)),
        ([{"CPU": 16.0, "GPU": 4.0}], 2, (2, 8, 1.0)),
        ([{"CPU": 16.0, "GPU": 4.0}], 6, (6, 2, 0.5)),  # two on each of three GPUs
        ([{"CPU": 16.0, "GPU": 1.0}], 3, (3, 5, 0.3333)),
        ([], None, (1, 1, 0.0)),
    ],
)
def test_shares_of_a_cluster(nodes: list[dict[str, float]], jobs: int | None, share: tuple[int, int, float]) -> None:
    assert share_of(nodes, jobs) == share


def test_an_executor_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^unknown executor 'rya'. Did you mean 'ray'\? Known: local, ray\.$"):
        require_executor("rya", None)
    with pytest.raises(UserError, match=r"^--ray-address auto needs --executor ray, but got --executor local"):
        require_executor("local", "auto")
    monkeypatch.setattr(executor, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda _: None)))
    require_executor("local", None)
    with pytest.raises(UserError, match=r"which is not installed: pip install 'esm-bench\[ray\]'$"):
        require_executor("ray", None)


def test_a_task_is_given_up_after_two_crashes_or_six_nodes() -> None:
    lost, crashed = type("RayError", (Exception,), {}), type("WorkerCrashedError", (Exception,), {})
    errors = {"RayTaskError": KeyError, "WorkerCrashedError": crashed, "OutOfMemoryError": KeyError, "RayError": lost}

    def outcomes(*deaths: type[Exception]) -> list[bool]:
        attempt, found = _Try("task"), []
        for death in deaths:
            get = Mock(side_effect=death)
            pool = SimpleNamespace(_ray=SimpleNamespace(get=get, exceptions=SimpleNamespace(**errors)))
            finished = RayPool._finished(pool, None, attempt)  # type: ignore[arg-type]
            found.append(finished is not None and finished.killed)
        return found

    assert outcomes(crashed, crashed) == [False, True]
    assert outcomes(*[lost] * 6) == [False] * 5 + [True]
    assert outcomes(*[lost] * 5, crashed, crashed) == [False] * 6 + [True]


@needs_ray
@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1:1", "127.0.0.1:1 is not: Connection refused"),
        ("ray://127.0.0.1:1", "ray://127.0.0.1:1 is not: Connection refused"),
        ("ray://head", "ray://head is not: it has no port"),
    ],
)
def test_an_address_where_nobody_answers_is_told_at_once(address: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^--ray-address must be that of a running Ray cluster, but {found}; start"):
        open_pool("ray", None, address, lambda event: None, tmp_path)
    assert not list(tmp_path.iterdir())


@needs_ray
@pytest.mark.slow
def test_results_errors_and_progress_come_back(
    pool: RayPool, heard: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    heard.clear()
    found = run(pool, Path(), ["a", "error", "b"])
    assert [found[task].result for task in "ab"] == [(str(tmp_path), pool.threads)] * 2
    assert isinstance(found["error"].error, UserError)
    assert (str(found["error"].error), found["error"].killed) == ("wrong", False)
    wait_for(lambda: pool._hear() or len(heard) == 3)  # what was told last may come after the result
    assert sorted(progress.key for progress in heard) == ["a", "b", "error"]
    assert run(pool, tmp_path, []) == {}


@needs_ray
@pytest.mark.slow
def test_a_task_that_kills_its_process_twice_is_given_up_and_no_other(pool: RayPool, tmp_path: Path) -> None:
    found = run(pool, tmp_path, ["die", "a", "die-once", "b"])
    assert (found["die"].killed, found["die"].result) == (True, None)
    assert {task: tries(tmp_path, task) for task in found} == {"die": 2, "a": 1, "die-once": 2, "b": 1}
    assert all(found[task].result for task in ("a", "die-once", "b"))


@needs_ray
@pytest.mark.slow
def test_no_other_machine_can_reach_a_ray_of_its_own(pool: RayPool) -> None:
    addresses = listening(children(os.getpid()))
    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


@needs_ray
@pytest.mark.slow
def test_a_node_that_does_not_see_the_output_folder_is_named(pool: RayPool, tmp_path: Path) -> None:
    pool._probe.rmdir()
    with pytest.raises(UserError, match=f"^--out must be on storage that all .* node {socket.gethostname()} does not"):
        run(pool, tmp_path, ["a"])
    pool._probe.mkdir()
    assert not (tmp_path / "a").exists()


@needs_ray
@pytest.mark.slow
def test_a_node_with_another_version_is_named(pool: RayPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "SCHEMA_VERSION", 99)
    with pytest.raises(UserError, match=rf"whose cells have schema 99, but those of node .* have {SCHEMA_VERSION};"):
        run(pool, tmp_path, ["a"])


@needs_ray
@pytest.mark.slow
def test_a_cluster_without_room_is_told(pool: RayPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.runner.ray_pool.PATIENCE", 0.5)
    monkeypatch.setattr(pool, "threads", 1000)
    with pytest.raises(UserError, match=r"^the Ray cluster must have a node with 1000 CPUs for a task, but has none"):
        run(pool, tmp_path, ["sleep"])


@needs_ray
@pytest.mark.slow
def test_ctrl_c_ends_tasks_in_the_middle_of_their_work(pool: RayPool, tmp_path: Path) -> None:
    def type_it() -> None:
        wait_for(lambda: (tmp_path / "pid").exists())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=type_it).start()
    with pytest.raises(KeyboardInterrupt):
        run(pool, tmp_path, ["sleep"])
    process = int((tmp_path / "pid").read_text())
    wait_for(lambda: process not in children(os.getpid()))


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def children(process: int) -> set[int]:
    """Processes below ``process``."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has just ended
            continue
    found, below = set[int](), {process}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found |= below
    return found


def listening(processes: set[int]) -> set[str]:
    """Addresses at which some processes wait for connections."""
    sockets = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(str(link.readlink()))
            except OSError:
                continue
    found = set()
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                address,
                _,
                state,
                *_,
            ) = fields = line.split()
            if state == "0A" and f"socket:[{fields[9]}]" in sockets:
                words = bytes.fromhex(address.partition(":")[0])
                ordered = b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4))
                found.add(socket.inet_ntop(family, ordered))
    return found


@needs_ray
def test_data_are_prepared_by_shards_of_users(pool: RayPool, tmp_path: Path) -> None:
    """As Ray tasks, with the bytes that one process makes."""
    source = open_source("six_cities", SourceOptions(scale=0.0001, knobs={"block_users": 3}))
    assert source.shards("6") == 2
    encoded_folder(Layout(tmp_path / "here"), source, "6")
    assert not prepare(tmp_path / "ray", [(source, "6")], pool).errors
    here, there = (
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in (tmp_path / "here", tmp_path / "ray")
    )
    assert here == there
