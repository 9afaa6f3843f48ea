"""Which processes train a cell together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from bench.core.errors import UserError


class Team(NamedTuple):
    """``devices`` processes on each of ``nodes`` nodes, of which this is number ``node``.

    They meet at ``address``, a name of node 0, and ``port``; 0 for any that is free, on one node.
    """

    devices: int
    nodes: int = 1
    node: int = 0
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def processes(self) -> int:
        return self.devices * self.nodes


def team_of(devices: int, nodes: int, environment: Mapping[str, str] = os.environ) -> Team | None:
    """The team that was asked for; None for one process. Several nodes are told apart as Lightning and torchrun do it.

    Raises:
        UserError: a number is out of range, there are not so many GPUs, or the environment does not say who is who.
    """
    import torch

    for option, number in (("--devices", devices), ("--num-nodes", nodes)):
        if number < 1:
            raise UserError(f"{option} must be at least 1, but got {number}.")
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise UserError(
            f"--devices {devices} needs as many GPUs, but there are {torch.cuda.device_count()}; take at most these."
        )
    if nodes == 1:
        return Team(devices) if devices > 1 else None
    address = environment.get("MASTER_ADDR", "")
    if not address:
        raise UserError(
            "--num-nodes needs the address of node 0 in MASTER_ADDR, but it is not set; set it on all nodes."
        )
    port = _number(environment, ("MASTER_PORT",), 1, 65535, "a free port of node 0")
    node = _number(environment, ("NODE_RANK", "GROUP_RANK"), 0, nodes - 1, "the number of this node")
    return Team(devices, nodes, node, address, port)


def _number(environment: Mapping[str, str], names: tuple[str, ...], least: int, most: int, what: str) -> int:
    """The number in the first of the variables that is set."""
    name = next((name for name in names if name in environment), names[0])
    text = environment.get(name, "")
    if not text.isdigit() or not least <= int(text) <= most:
        raise UserError(
            f"--num-nodes needs {what} in {name}, from {least} to {most}, but got {text!r}; set it on every node."
        )
    return int(text)
