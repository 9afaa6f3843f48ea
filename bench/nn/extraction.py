"""Customized gate control: experts of each task beside shared ones (Tang et al., RecSys 2020, "PLE", Eq. 1-8)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.seeding import derive
from bench.nn.experts import mixtures
from bench.nn.mlp import Towers


class ExtractionLevel(nn.Module):
    """One level: every task mixes its own and the shared experts by a softmax gate over what reached it from below.

    Below the last level there is also a shared output, whose gate chooses among the experts of all groups. A gate has
    a bias, zero at the start; the paper's is softmax(W x).

    Args:
        tasks: names of the tasks, T of them.
        experts: experts of each task, and shared ones.
        inputs: width of the input.
        hidden: widths of an expert's hidden layers; the last is the width of the output.
        last: whether the shared output is left out.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        experts: int,
        inputs: int,
        hidden: Sequence[int],
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.groups, self.count = (*tasks, "shared"), experts
        names = [f"expert_{group}{index}" for group in self.groups for index in range(experts)]
        self.experts = Towers(names, inputs, hidden, None, activation, dropout)
        self.gates = Towers([f"gate_{task}" for task in tasks], inputs, (), 2 * experts)
        self.shared_gate = None if last else Towers(("gate_shared",), inputs, (), len(names))

    def reset(self, seed: int) -> None:
        for part in (self.experts, self.gates, self.shared_gate):
            if part is not None:
                part.reset(seed)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] (the same for all groups) or [T + 1, B, inputs], shared last → [T + 1, B, width]; the last
        level [T, B, width].
        """
        one = x.dim() == 2
        outputs = self.experts(x if one else x.repeat_interleave(self.count, 0))  # [(T + 1) E, B, H]
        gates = self.gates(x if one else x[:-1]).softmax(-1)  # [T, B, 2 E]
        weights = [self._among_all(gate, task) for task, gate in enumerate(gates)]
        if self.shared_gate is not None:
            weights.append(self.shared_gate(x if one else x[-1:])[0].softmax(-1))
        return mixtures(torch.stack(weights), outputs)

    def _among_all(self, gate: Tensor, task: int) -> Tensor:
        """[B, 2 E] of one task, its own experts and the shared ones → [B, (T + 1) E], 0 for those of other tasks."""
        own, shared = gate[:, : self.count], gate[:, self.count :]
        before, after = task * self.count, (len(self.groups) - 2 - task) * self.count
        return torch.cat([F.pad(own, (before, after)), shared], -1)


class Extraction(nn.Module):
    """Levels on top of each other ("PLE"): experts with all of ``hidden`` at the first, one layer of the last width,
    the input's where ``hidden`` is empty, at the others. Arguments as of :class:`ExtractionLevel`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        experts: int,
        levels: int,
        inputs: int,
        hidden: Sequence[int],
        activation: str = "leaky_relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = hidden[-1] if hidden else inputs
        shapes = [(inputs, tuple(hidden))] + [(self.width, (self.width,))] * (levels - 1)
        self.levels = nn.ModuleList(
            ExtractionLevel(tasks, experts, *shape, activation, dropout, last=level == levels - 1)
            for level, shape in enumerate(shapes)
        )

    def reset(self, seed: int) -> None:
        for index, level in enumerate(self.levels):
            level.reset(derive(seed, index))  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] → [T, B, width]."""
        for level in self.levels:
            x = level(x)
        return x
