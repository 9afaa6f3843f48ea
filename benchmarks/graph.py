"""A training step recorded once as a CUDA graph and replayed: the host starts one thing a step in place of hundreds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.data.resident import ResidentBatchMaker
from bench.nn.optimisers import AdagradDecay, RowOptimizer

#: Steps before a recording: libraries allocate what they need.
WARM_UP = 3


class Step:
    """Batch, forward, backward and update, for so many row numbers that lie on the device.

    Where ``record`` is asked for, calls replay a CUDA graph. It keeps the learning rate that it was recorded with, and
    knows no number of the step: right for AdagradDecay after the warm-up of its learning rate. A model that asks the
    device for a shape cannot be recorded, such as one that gathers the clicked rows.

    Args:
        module: a model or a group of models, on the device of ``maker``.
        size: rows of a batch.
        blocks: blocks of a batch, at least.
    """

    def __init__(
        self, module: Any, optimizer: RowOptimizer, maker: ResidentBatchMaker, size: int, blocks: int, record: bool
    ) -> None:
        self.module, self.optimizer, self.maker, self.blocks = module.train(), optimizer, maker, blocks
        self.rows = torch.zeros(size, dtype=torch.int64, device=maker.resident.device)
        #: Sum of the losses of all steps, [].
        self.losses = torch.zeros((), device=maker.resident.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._record = record

    def __call__(self, rows: Tensor) -> None:
        """One step on these row numbers, int64 [size]."""
        self.rows.copy_(rows, non_blocking=True)
        if self._graph is None:
            self._run()
            return
        for group in self.optimizer.param_groups:
            group["steps"] += 1
        self._graph.replay()
        self.optimizer.before_step(self.optimizer.param_groups[0]["steps"] + 1)

    def warm_up(self, rows: Tensor) -> None:
        """A few steps on these row numbers, whose losses do not count, and the recording, which takes none.

        Raises:
            RuntimeError: the step cannot be recorded.
        """
        if self._record:
            self._recorded(rows)
        else:
            for _ in range(WARM_UP):
                self(rows)
        self.losses.zero_()

    def _recorded(self, rows: Tensor) -> None:
        if not isinstance(self.optimizer, AdagradDecay):
            raise RuntimeError("only AdagradDecay can be recorded: the rule of others depends on the step")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self(rows)
        torch.cuda.current_stream().wait_stream(stream)
        before = [group["steps"] for group in self.optimizer.param_groups]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._run()
        for group, steps in zip(self.optimizer.param_groups, before, strict=True):
            group["steps"] = steps  # what is recorded has not happened
        self._graph = graph

    def _run(self) -> None:
        self.optimizer.zero_grad()
        loss = self.module.training_step(self.maker.gather(self.rows, self.blocks), 0)["loss"]
        loss.backward()
        self.optimizer.step()
        self.losses += loss.detach()
