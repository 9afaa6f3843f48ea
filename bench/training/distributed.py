"""The Trainer of a cell that several processes train together, by Lightning's DDP."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import ClusterEnvironment  # type: ignore[attr-defined]
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from bench.core.seeding import derive
from bench.data.batches import Batch, Labels
from bench.nn.distributed import gather, parts_of, processes, rank

#: How long a process waits for the others: rank 0 may evaluate many rows while they have nothing to do.
PATIENCE = timedelta(hours=1)


class Place(NamedTuple):
    """Which of the processes this is: process ``local`` of ``devices`` on node ``node`` of ``nodes``."""

    local: int = 0
    devices: int = 1
    node: int = 0
    nodes: int = 1

    @property
    def rank(self) -> int:
        return self.node * self.devices + self.local

    @property
    def processes(self) -> int:
        return self.nodes * self.devices


_place = Place()


def join_group(place: Place, store: Any) -> None:
    """Wait for all processes and train with them from now on; ``store`` is where they meet. On GPUs by NCCL."""
    global _place
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(place.local)
        backend = "nccl"
    dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.processes, timeout=PATIENCE)
    _place = place


def leave_group() -> None:
    """The opposite of :func:`join_group`."""
    global _place
    dist.destroy_process_group()
    _place = Place()


def trainer_options() -> dict[str, Any]:
    """Arguments of the Trainer: one device, or DDP over the processes of the group."""
    if processes() == 1:
        return {"devices": 1}
    return {"devices": _place.devices, "num_nodes": _place.nodes, "strategy": DataParallel(_place)}


class DataParallel(DDPStrategy):
    """DDP of processes that run already.

    A process leaves parameters without a gradient where its part has no use for them (no click, no history). Buffers
    never change while training. Initial values hang on the seed, dropout on the rank too.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(
            cluster_environment=_Running(place), timeout=PATIENCE, find_unused_parameters=True, broadcast_buffers=False
        )

    def setup_environment(self) -> None:
        super().setup_environment()
        # Of a gradient [1, in, out] there are two ways to write the strides.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        if rank():
            torch.manual_seed(derive(torch.initial_seed(), "rank", rank()))


class _Running(ClusterEnvironment):
    """Processes that were started by :mod:`bench.runner.ranks`, and have met."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        raise NotImplementedError("the processes have met already")

    @property
    def main_port(self) -> int:
        raise NotImplementedError("the processes have met already")

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._place.processes

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self._place.local

    def node_rank(self) -> int:
        return self._place.node


def whole_evaluation(outputs: Mapping[str, Tensor], batch: Batch) -> tuple[Mapping[str, Tensor], Labels, Tensor]:
    """Probabilities, labels and row numbers of all processes' parts of a batch, in the order of the ranks.

    Args:
        outputs: probabilities by name of this process's part, each with the rows in the last dimension.
    """
    labels = Labels(*batch.labels.unbind(1))
    lengths = parts_of(batch.rows)
    if lengths is None:
        return outputs, labels, batch.rows
    columns = torch.stack([*outputs.values(), *labels], 1)
    found = torch.cat(gather(columns, lengths)).unbind(1)
    named = dict(zip(outputs, found, strict=False))
    return named, Labels(*found[len(named) :]), torch.cat(gather(batch.rows, lengths))
