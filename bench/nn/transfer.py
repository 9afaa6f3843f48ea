"""Adaptive information transfer from one step of the funnel to the next (Xi et al., KDD 2021, "AITM", Eq. 4-6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.nn.mlp import Towers


class Transfer(nn.Module):
    """z = Σ_u w_u h1(u) over u = p, q, with w = softmax of <h2(u), h3(u)> / √k.

    q is the step's own vector; p = g(z') is what the step before hands on. h1, h2, h3 are linear layers, g is one with
    activation and dropout.

    Args:
        width: k, of all vectors.
    """

    def __init__(self, width: int, activation: str = "leaky_relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.handed = Towers(("handed",), width, (width,), None, activation, dropout)
        self.parts = Towers(("value", "key", "query"), width, (), width)

    def reset(self, seed: int) -> None:
        self.handed.reset(seed)
        self.parts.reset(seed)

    def forward(self, before: Tensor, own: Tensor) -> Tensor:
        """[B, k] of the step before (z') and of this one (q) → [B, k]."""
        vectors = torch.stack([self.handed(before)[0], own])  # [2, B, k]
        value, key, query = self.parts(vectors.flatten(0, 1)).unflatten(1, vectors.shape[:2])
        weights = ((key * query).sum(-1, keepdim=True) * own.shape[-1] ** -0.5).softmax(0)  # [2, B, 1]
        mixed: Tensor = (weights * value).sum(0).to(own.dtype)
        return mixed
