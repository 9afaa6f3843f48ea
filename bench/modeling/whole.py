"""From what a model makes of its part of a batch to the global batch, before its loss is computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.data.batches import Labels
from bench.modeling.outputs import FunnelOutput
from bench.nn.distributed import join, parts_of
from bench.nn.funnel import LogProb


def whole_batch(output: FunnelOutput, labels: Labels, rows: Tensor) -> tuple[FunnelOutput, Labels]:
    """Output and labels of the rows of all processes, in the order of the ranks; of a lone process, its own.

    Args:
        rows: the row numbers of this process's part, int64 [n].
    """
    lengths = parts_of(rows)
    if lengths is None:
        return output, labels
    columns = [*_columns(output), *labels]
    joined = iter(join(torch.stack(columns, 1), lengths).unbind(1))
    return _refilled(output, joined), Labels(*joined)


def _columns(output: FunnelOutput) -> Iterator[Tensor]:
    """The tensors [n] that it consists of."""
    for value in output:
        if isinstance(value, Tensor):
            yield value
        elif value is not None:
            yield from value


def _refilled(output: FunnelOutput, columns: Iterator[Tensor]) -> FunnelOutput:
    """The output with other tensors in place of its own."""

    def refill(value: Any) -> Any:
        if value is None:
            return None
        return next(columns) if isinstance(value, Tensor) else LogProb(next(columns), next(columns))

    return FunnelOutput(*(refill(value) for value in output))
