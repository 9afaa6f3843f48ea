"""Runs on a Ray cluster: nodes and drivers that die cost nothing but time."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_world import RUN, start
from test_interrupt import assert_all_gone, assert_same_results, stored, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head, which runs no tasks, and two nodes with a CPU each; only this machine reaches them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 80 * 1024**2}
        soon = {
            "health_check_initial_delay_ms": 500,
            "health_check_period_ms": 500,
            "health_check_failure_threshold": 3,
        }
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon, **small}
        cluster = Cluster(initialize_head=True, head_node_args=head | {"ray_client_server_port": free_port()})
        try:
            for _ in range(2):
                cluster.add_node(wait=False, num_cpus=1, **small)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            cluster.shutdown()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def busy(out: Path) -> set[int]:
    """Processes that train a cell or were killed while they did."""
    return {int(folder.name.split("-")[1]) for folder in out.glob("cells/.staging-*")}


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_killed_driver_and_a_killed_node_cost_nothing_but_time(cluster: Any, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = (*RUN, "--executor", "ray", "--ray-address", cluster.address, "--out", out)

    process, at_work = start(*run), set[int]()
    while not stored(out) and process.poll() is None:
        at_work |= busy(out)
    process.kill()
    process.communicate(timeout=30)
    assert_all_gone(list(at_work))
    first = stored(out)
    assert 1 <= len(first) < 4
    dead = busy(out)

    process = start(*run)
    wait_for(lambda: bool(busy(out) - dead) or process.poll() is not None)
    raylet = parent((busy(out) - dead).pop())
    (node,) = [node for node in cluster.worker_nodes if node.all_processes["raylet"][0].process.pid == raylet]
    cluster.remove_node(node, allow_graceful=False)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert "jobs 2 on ray" in said
    assert f"{len(first)} of 4 cells are stored already" in said
    assert f"{4 - len(first)} cells trained; next" in said
    assert "raylet" not in said
    assert first.items() <= stored(out).items()
    assert_same_results(out, trained)


@pytest.mark.skipif(importlib.util.find_spec("grpc") is None, reason="the client of Ray is not installed")
def test_a_client_of_the_cluster_runs_cells(cluster: Any, trained: Path, tmp_path: Path) -> None:
    """The driver reaches the cluster by ray://, as from a machine that is no part of it."""
    port = cluster.head_node._ray_params.ray_client_server_port
    process = start(*RUN, "--executor", "ray", "--ray-address", f"ray://127.0.0.1:{port}", "--out", tmp_path / "out")
    said, errors = process.communicate(timeout=180)
    assert (process.returncode, errors) == (0, "")
    assert "jobs 2 on ray" in said
    assert "4 cells trained; next" in said
    assert_same_results(tmp_path / "out", trained)
