"""Towers of which two are twins, kept as their mean and half their difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.nn.mlp import Towers


class TwinTowers(Towers):
    """:class:`Towers` whose last two, θ and θ', are held as (θ + θ') / 2 and (θ - θ') / 2. They start equal.

    A constraint on θ - θ' then reaches the half difference alone. Kept as θ and θ', both would pass its gradients
    through an adaptive optimiser, whose accumulator they fill: a large coefficient would hardly let the twins
    learn instead of making them one. Kept so, the mean learns as a single tower that has both losses, and the
    limit of a large coefficient is that tower (ESMC V-B: the Siamese network).
    """

    def __init__(self, names: Sequence[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(names, *args, **kwargs)
        if len(self.names) < 2:
            raise ValueError(f"twins must be two towers, but got {self.names}.")

    def reset(self, seed: int) -> None:
        """As of :class:`Towers`; the last tower starts as the one before it."""
        super().reset(seed)
        for weight in self.weights:
            weight.data[-1].zero_()

    def twins(self) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
        """θ and θ' alone, as :meth:`tower` gives them."""
        pairs = [(_two(weight), _two(bias)) for weight, bias in super().layers()]
        first, second = ([(weight[place], bias[place][0]) for weight, bias in pairs] for place in (0, 1))
        return first, second

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        return [(_untwined(weight), _untwined(bias)) for weight, bias in super().layers()]


def _untwined(kept: Tensor) -> Tensor:
    return torch.stack([*kept.unbind(0)[:-2], *_two(kept)])


def _two(kept: Tensor) -> tuple[Tensor, Tensor]:
    mean, half = kept.unbind(0)[-2:]
    return mean + half, mean - half
