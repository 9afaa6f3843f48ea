"""Optimisers that update dense parameters whole and embedding tables on the touched rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.nn.distributed import mean_of_rows, processes
from bench.nn.embedding import EmbeddingTable
from bench.nn.fused import fused


class RowOptimizer(Optimizer):
    """Base: applies :meth:`rule` to dense parameters, and to copies of the touched rows of embedding tables.

    Where several processes train together, the rows are those that any of them touched.

    State lies in :attr:`state` as in every torch optimiser, so ``state_dict`` holds all of it.

    Args:
        parameters: dense parameters; those that require no gradient are left out.
        tables: embedding tables.
        slots: names of the state tensors that the rule keeps beside a parameter, with their first values.
        lr: learning rate.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        tables: Iterable[EmbeddingTable],
        slots: dict[str, float],
        lr: float,
    ) -> None:
        self.tables = list(tables)
        #: Whether backward updates rows of tables; see :mod:`bench.nn.fused`.
        self.is_fused = False
        for table in self.tables:
            table.fused = None  # an earlier optimiser's
        self.slots = tuple(slots)
        dense = [parameter for parameter in parameters if parameter.requires_grad]
        groups = [{"params": dense}] if dense else []
        groups += [{"params": [table.weight for table in self.tables]}] if self.tables else []
        super().__init__(groups, {"lr": lr, "steps": 0})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {name: torch.full_like(parameter, start) for name, start in slots.items()}

    def rule(self, weights: list[Tensor], grads: list[Tensor], state: list[list[Tensor]], lr: float, step: int) -> None:
        """Update ``weights`` and ``state`` (one list per slot) in place; ``step`` counts from 1."""
        raise NotImplementedError

    def before_step(self, step: int) -> None:
        """Hook for what happens to the whole state, at most once in a great many steps; ``step`` is not the first.

        It is called when the step before that is done, since fused tables are updated before :meth:`step`.
        """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["steps"] += 1
        step = self.param_groups[0]["steps"]
        self._step_dense(step)
        for table in self.tables:
            self._step_rows(table, step)
        self.before_step(step + 1)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, but for those that have updated a fused table already. A lookup that awaits its gradient
        stays: Lightning calls this before backward.
        """
        super().zero_grad(set_to_none)
        for table in self.tables:
            if table.fused is not None:
                table.fused.updated = False
            if table.touched is not None and table.touched.leaf.grad is not None:
                table.touched = None

    def _step_dense(self, step: int) -> None:
        group = self.param_groups[0]
        live = [parameter for parameter in group["params"] if parameter.grad is not None]
        if live:
            grads: list[Tensor] = [parameter.grad for parameter in live]
            state = [[self.state[parameter][slot] for parameter in live] for slot in self.slots]
            self.rule(live, grads, state, float(group["lr"]), step)

    def _step_rows(self, table: EmbeddingTable, step: int) -> None:
        if table.fused is not None:
            table.fused.updated = False
        touched, table.touched = table.touched, None
        grad = touched.leaf.grad if touched is not None else None
        if processes() > 1:
            touched, grad = mean_of_rows(table, touched, grad)
        if touched is None or grad is None:
            return
        rows, weight = touched.rows, touched.leaf.detach()
        whole = self.state[table.weight]
        state = [whole[slot].index_select(0, rows) for slot in self.slots]
        self.rule([weight], [grad], [[values] for values in state], float(self.param_groups[-1]["lr"]), step)
        if touched.first is not None:  # equal rows write the same, in whatever order
            weight, *state = (values.index_select(0, touched.first) for values in (weight, *state))
        table.weight.index_copy_(0, rows, weight)
        for slot, values in zip(self.slots, state, strict=True):
            whole[slot].index_copy_(0, rows, values)


class AdagradDecay(RowOptimizer):
    """Adagrad whose accumulator is multiplied by ``decay`` once every ``period`` steps.

    v ← v + g²; w ← w - lr g / (sqrt(v) + eps). Before every ``period``-th step v ← max(decay v, start), so that
    long training goes on learning: the AdagradDecay of Alibaba's DeepRec, the optimiser that the ESMC paper
    names (section VI-A). The decay passes over the whole state; with the default period that is never felt.

    Its tables are fused where that is possible, so they must lie on their device when it is made.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        tables: Iterable[EmbeddingTable] = (),
        lr: float = 0.005,
        initial_accumulator: float = 0.0,
        decay: float = 0.9,
        period: int = 100_000,
        eps: float = 1e-10,
    ) -> None:
        self.start, self.decay, self.period, self.eps = initial_accumulator, decay, period, eps
        self._no_step = torch.ones(())
        super().__init__(parameters, tables, {"accumulator": initial_accumulator}, lr)
        for table in self.tables:
            table.fused = fused(table.weight, eps, partial(self.of_next_step, table))
            self.is_fused |= table.fused is not None

    def of_next_step(self, table: EmbeddingTable) -> tuple[Tensor, float]:
        """A table's accumulator [rows, dim], and the learning rate."""
        return self.state[table.weight]["accumulator"], float(self.param_groups[-1]["lr"])

    def before_step(self, step: int) -> None:
        if step % self.period == 0:
            for state in self.state.values():
                state["accumulator"].mul_(self.decay).clamp_min_(self.start)

    def rule(self, weights: list[Tensor], grads: list[Tensor], state: list[list[Tensor]], lr: float, step: int) -> None:
        (accumulator,) = state
        alike = all(grad.stride() == weight.stride() for weight, grad in zip(weights, grads, strict=True))
        if alike and weights[0].device.type == "cpu":
            # The same in one pass over memory, element by element as they lie there; with lr_decay 0 no steps count.
            torch._fused_adagrad_(
                weights, grads, accumulator, [self._no_step] * len(weights),
                lr=lr, lr_decay=0.0, weight_decay=0.0, eps=self.eps, maximize=False,
            )  # fmt: skip
            return
        torch._foreach_addcmul_(accumulator, grads, grads)
        scale = torch._foreach_sqrt(accumulator)
        torch._foreach_add_(scale, self.eps)
        torch._foreach_addcdiv_(weights, grads, scale, value=-lr)


class Adam(RowOptimizer):
    """Adam (Kingma & Ba); on embedding rows the moments change only when a batch touches the row ("lazy").

    m ← β₁ m + (1-β₁) g; v ← β₂ v + (1-β₂) g²; w ← w - lr m̂ / (sqrt(v̂) + eps), bias correction by the step.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        tables: Iterable[EmbeddingTable] = (),
        lr: float = 0.0005,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.betas, self.eps = betas, eps
        super().__init__(parameters, tables, {"mean": 0.0, "square": 0.0}, lr)

    def rule(self, weights: list[Tensor], grads: list[Tensor], state: list[list[Tensor]], lr: float, step: int) -> None:
        mean, square = state
        first, second = self.betas
        torch._foreach_lerp_(mean, grads, 1.0 - first)
        torch._foreach_mul_(square, second)
        torch._foreach_addcmul_(square, grads, grads, value=1.0 - second)
        scale = torch._foreach_sqrt(square)
        torch._foreach_div_(scale, (1.0 - second**step) ** 0.5)
        torch._foreach_add_(scale, self.eps)
        torch._foreach_addcdiv_(weights, mean, scale, value=-lr / (1.0 - first**step))
