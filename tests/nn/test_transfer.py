"""Adaptive information transfer (Xi et al., KDD 2021) by a plain loop over rows."""

from __future__ import annotations

import numpy as np
import torch

from bench.nn.transfer import Transfer

WIDTH = 4


def made() -> tuple[Transfer, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    transfer = Transfer(WIDTH)
    for parameter in transfer.parameters():
        parameter.data.normal_(generator=generator)
    before, own = torch.randn(2, 6, WIDTH, generator=generator)
    return transfer, before, own


def linear(layer: tuple[torch.Tensor, torch.Tensor], x: np.ndarray) -> np.ndarray:
    return x @ layer[0].detach().numpy() + layer[1].detach().numpy()


def test_transfer_equals_a_loop() -> None:
    """w_u = softmax of <h2(u), h3(u)> / √k over the handed and the own vector; z = Σ w_u h1(u)."""
    transfer, before, own = made()
    found = transfer(before, own).detach().numpy()
    value, key, query = (transfer.parts.tower(name)[0] for name in ("value", "key", "query"))
    for row, (first, second) in enumerate(zip(before.numpy(), own.numpy(), strict=True)):
        handed = linear(transfer.handed.tower("handed")[0], first)
        vectors = [np.where(handed > 0, handed, 0.01 * handed), second]
        scores = [np.exp(linear(key, u) @ linear(query, u) / np.sqrt(WIDTH)) for u in vectors]
        expected = sum(s * linear(value, u) for s, u in zip(scores, vectors, strict=True)) / sum(scores)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


def test_a_strong_own_vector_keeps_what_is_handed_out() -> None:
    """The weights decide: with keys and queries that see only the own vector's size, nothing is transferred."""
    transfer, before, own = made()
    for layer in (transfer.parts.weights[0], transfer.parts.biases[0]):
        layer.data[1:] = 0.0
    transfer.parts.weights[0].data[1:] = torch.eye(WIDTH)
    large = own / own.norm(dim=1, keepdim=True) * 100.0
    value_weight, value_bias = transfer.parts.tower("value")[0]
    torch.testing.assert_close(transfer(before, large), large @ value_weight + value_bias)
    small = torch.zeros_like(own)
    assert (transfer(before, small) - (small @ value_weight + value_bias)).abs().max() > 0.1
