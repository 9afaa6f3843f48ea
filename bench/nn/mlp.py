"""Several equal MLPs ("twin towers") as one batched product per layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.core.seeding import derive

ACTIVATIONS: dict[str, type[nn.Module]] = {"leaky_relu": nn.LeakyReLU, "relu": nn.ReLU}


class Towers(nn.Module):
    """T MLPs of the same shape, one batched matrix product per layer for all of them.

    Every tower is initialised from its name, so that the tower ``ctr`` starts equal in all models.

    Args:
        names: names of the towers, T of them.
        inputs: width of the input.
        hidden: widths of the hidden layers, each followed by activation and dropout.
        outputs: width of a last linear layer; None for none.
    """

    def __init__(
        self,
        names: Sequence[str],
        inputs: int,
        hidden: Sequence[int],
        outputs: int | None = 1,
        activation: str = "leaky_relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.linear_output = outputs is not None
        widths = [inputs, *hidden] + ([outputs] if outputs is not None else [])
        shapes = list(pairwise(widths))
        count = len(self.names)
        self.weights = nn.ParameterList(torch.zeros(count, fan_in, fan_out) for fan_in, fan_out in shapes)
        self.biases = nn.ParameterList(torch.zeros(count, 1, fan_out) for _, fan_out in shapes)
        self.activation = ACTIVATIONS[activation](inplace=True)
        self.dropout = nn.Dropout(dropout)

    def reset(self, seed: int) -> None:
        """He-uniform weights from (seed, tower name, layer), biases zero."""
        for layer, weight in enumerate(self.weights):
            bound = (6.0 / weight.shape[1]) ** 0.5
            if self.linear_output and layer == len(self.weights) - 1:
                bound /= 6.0**0.5
            for tower, name in enumerate(self.names):
                generator = torch.Generator().manual_seed(derive(seed, name, layer))
                weight.data[tower].uniform_(-bound, bound, generator=generator)
        for bias in self.biases:
            bias.data.zero_()

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """(weights [T, in, out], biases [T, 1, out]) of each layer of all towers."""
        return list(zip(self.weights, self.biases, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] (the same for all towers) or [T, B, inputs] → [T, B, outputs]."""
        if x.dim() == 2:
            x = x.expand(len(self.names), *x.shape)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(self.layers()):
            x = torch.baddbmm(bias, x, weight)
            if layer < last or not self.linear_output:
                x = self.dropout(self.activation(x))
        return x

    def logits(self, x: Tensor) -> dict[str, Tensor]:
        """One logit [B] per tower, by name (towers with one output)."""
        return dict(zip(self.names, self(x).squeeze(-1), strict=True))

    def tower(self, name: str) -> list[tuple[Tensor, Tensor]]:
        """(weight [in, out], bias [out]) of each layer of one tower: its parameter space θ (ESMC Eq. 17)."""
        index = self.names.index(name)
        return [(weight[index], bias[index, 0]) for weight, bias in self.layers()]
