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

    Every tower is initialised from its name, so that the tower ``ctr`` starts equal in all models. Hidden layers are
    computed in the dtype of the input, with weights rounded to it; a last linear layer always in float32, since the
    order of rows, and so an AUC, hangs on small differences of logits.

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
        """[B, inputs] (the same for all towers) or [T, B, inputs] → [T, B, outputs], in the dtype of the parameters
        where the last layer is linear, else in that of the input.
        """
        last = len(self.weights) - 1
        if last < 0 and x.dim() == 2:
            return x.expand(len(self.names), *x.shape)
        for layer, (weight, bias) in enumerate(self.layers()):
            if layer == last and self.linear_output:
                return _linear(x.to(weight.dtype), weight, bias)
            x = _linear(x, weight.to(x.dtype), bias.to(x.dtype))
            x = self.dropout(self.activation(x))
        return x

    def logits(self, x: Tensor) -> dict[str, Tensor]:
        """One logit [B] per tower, by name (towers with one output)."""
        return dict(zip(self.names, self(x).squeeze(-1), strict=True))

    def tower(self, name: str) -> list[tuple[Tensor, Tensor]]:
        """(weight [in, out], bias [out]) of each layer of one tower: its parameter space θ (ESMC Eq. 17)."""
        index = self.names.index(name)
        return [(weight[index], bias[index, 0]) for weight, bias in self.layers()]


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[B, in] or [T, B, in] → [T, B, out]. One product for all towers where they share the input, so that its gradient
    is one product as well, in place of T that are added up.
    """
    if x.dim() == 3:
        return torch.baddbmm(bias, x, weight)
    towers, fan_in, fan_out = weight.shape
    joined = torch.addmm(bias.view(-1), x, weight.transpose(0, 1).reshape(fan_in, -1))
    return joined.view(-1, towers, fan_out).transpose(0, 1).contiguous()
