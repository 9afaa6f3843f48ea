"""Task weighting by learned uncertainty (Kendall, Gal and Cipolla, CVPR 2018, their classification form)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class UncertaintyWeights(nn.Module):
    """A term L_t becomes exp(-s_t) L_t + s_t / 2, with a learned s_t = log σ_t² that starts at 0.

    Minimised over s_t alone this gives s_t = log(2 L_t): a term's weight tends to 1 / (2 L_t), and terms of any size
    count alike. A fixed weight within L_t then only moves s_t, and changes nothing once s_t has followed. How far s_t
    comes in a run depends on learning rate and steps: it takes the model's optimiser.

    Args:
        names: the terms that are weighted.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def reset(self, seed: int) -> None:
        """All s_t = 0."""
        for value in self.log_variance.values():
            value.data.zero_()

    def forward(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The terms [] by name, those that have an s_t replaced by exp(-s_t) L_t + s_t / 2."""
        known = self.log_variance
        return {
            name: (-known[name]).exp() * term + 0.5 * known[name] if name in known else term
            for name, term in terms.items()
        }

    @torch.no_grad()
    def weights(self) -> dict[str, float]:
        """exp(-s_t) by name of the term."""
        return {name: (-value).exp().item() for name, value in self.log_variance.items()}
