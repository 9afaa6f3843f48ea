"""The dense part of a training step: from the vectors that were looked up to the losses and back to their gradient."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bench.data.batches import Batch
from bench.modeling.module import FunnelModule

PRODUCTS = {getattr(torch.ops.aten, name) for name in ("mm", "addmm", "bmm", "baddbmm")}


class Fixed(nn.Module):
    """In place of a model's inputs: the same [B, width] for every batch, which takes a gradient, and nothing to do."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x.detach().requires_grad_()

    def look_up(self, batch: Batch) -> tuple[Tensor, ...]:
        return (self.x,)

    def assemble(self, batch: Batch, found: tuple[Tensor, ...]) -> Tensor:
        return found[0]


@contextmanager
def dense_part(model: FunnelModule, batch: Batch) -> Iterator[Callable[[], None]]:
    """A call that runs the dense part once, forward and backward, on the input that ``batch`` has."""
    inputs = model.inputs
    with torch.no_grad():
        fixed = Fixed(inputs(batch))

    def step() -> None:
        model.training_step(batch, 0)["loss"].backward()
        model.zero_grad()
        fixed.x.grad = None

    model.inputs = fixed
    try:
        yield step
    finally:
        model.inputs = inputs


def operations(model: FunnelModule, batch: Batch) -> int:
    """Floating-point operations of the matrix products of the dense part, backward included."""
    with dense_part(model, batch) as step, FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def traffic(model: FunnelModule, batch: Batch) -> int:
    """Bytes of the factors and results of these products, each read or written once."""
    with dense_part(model, batch) as step, _Traffic() as counter:
        step()
    return counter.bytes


def seconds(model: FunnelModule, batch: Batch, steps: int) -> list[float]:
    """Seconds of each of so many runs of the dense part, after three that do not count."""
    found = []
    with dense_part(model, batch) as step:
        for turn in range(steps + 3):
            start = time.perf_counter()
            step()
            if turn >= 3:
                found.append(time.perf_counter() - start)
    return found


def product_peak(size: int, repeats: int, dtype: torch.dtype = torch.float32) -> float:
    """The best floating-point operations per second of a product of two [size, size] matrices."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


class _Traffic(TorchDispatchMode):
    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in PRODUCTS:
            tensors = [part for part in (*args, result) if isinstance(part, Tensor)]
            self.bytes += sum(part.numel() * part.element_size() for part in tensors)
        return result
