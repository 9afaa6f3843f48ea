"""The processes that train together, as they are asked for."""

from __future__ import annotations

import pytest

from bench.core.errors import UserError
from bench.runner.team import Team, team_of

NODES = {"MASTER_ADDR": "first", "MASTER_PORT": "29500", "NODE_RANK": "1"}


def test_one_process_is_no_team() -> None:
    assert team_of(1, 1, {}) is None


def test_a_team_of_one_node_needs_no_environment() -> None:
    team = team_of(3, 1, {})
    assert team == Team(3)
    assert team.processes == 3


def test_nodes_are_told_apart_by_the_environment() -> None:
    team = team_of(2, 4, NODES)
    assert team == Team(2, 4, 1, "first", 29500)
    assert team.processes == 8


def test_torchrun_has_another_name_for_the_node() -> None:
    environment = {name: value for name, value in NODES.items() if name != "NODE_RANK"} | {"GROUP_RANK": "0"}
    assert team_of(1, 2, environment) == Team(1, 2, 0, "first", 29500)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MASTER_ADDR": ""}, "MASTER_ADDR, but it is not set"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT, from 1 to 65535, but got '70000'"),
        ({"NODE_RANK": "2"}, "NODE_RANK, from 0 to 1, but got '2'"),
        ({"NODE_RANK": "first"}, "NODE_RANK, from 0 to 1, but got 'first'"),
    ],
)
def test_an_environment_that_does_not_say_who_is_who_is_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        team_of(1, 2, NODES | changes)


@pytest.mark.parametrize(("devices", "nodes"), [(0, 1), (1, 0)])
def test_numbers_must_be_positive(devices: int, nodes: int) -> None:
    with pytest.raises(UserError, match="must be at least 1, but got 0"):
        team_of(devices, nodes, NODES)


def test_there_must_be_as_many_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert team_of(2, 1, {}) == Team(2)
    with pytest.raises(UserError, match="--devices 3 needs as many GPUs, but there are 2"):
        team_of(3, 1, {})
