"""Multi-gate mixture of experts (Ma et al., KDD 2018, Eq. 5-7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.nn.mlp import Towers


class MixtureOfExperts(nn.Module):
    """Experts shared by all tasks; each task mixes them by its own softmax gate over the input.

    A gate has a bias, zero at the start; the paper's is softmax(W x).

    Args:
        tasks: names of the tasks, T of them.
        experts: number of experts.
        inputs: width of the input.
        hidden: widths of an expert's hidden layers; the last is the width of the output.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        experts: int,
        inputs: int,
        hidden: Sequence[int],
        activation: str = "leaky_relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        names = [f"expert{index}" for index in range(experts)]
        self.experts = Towers(names, inputs, hidden, None, activation, dropout)
        self.gates = Towers([f"gate_{task}" for task in tasks], inputs, (), experts)

    def reset(self, seed: int) -> None:
        self.experts.reset(seed)
        self.gates.reset(seed)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] → [T, B, width]: per task the gate-weighted sum of the experts' outputs."""
        return mixtures(self.gates(x).softmax(-1), self.experts(x))


def mixtures(gates: Tensor, outputs: Tensor) -> Tensor:
    """Sums over E experts: weights [T, B, E], outputs [E, B, H] → [T, B, H] in the dtype of the outputs.

    They are added up in the dtype of the weights: so small a product is no faster in bfloat16.
    """
    rows = torch.bmm(gates.transpose(0, 1), outputs.to(gates.dtype).transpose(0, 1))
    return rows.transpose(0, 1).to(outputs.dtype)
