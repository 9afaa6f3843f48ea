"""Uncertainty weighting: exp(-s) L + s / 2 by hand, and where its minimum lies."""

from __future__ import annotations

import math

import pytest
import torch

from bench.nn.uncertainty import UncertaintyWeights

TERMS = {"ctr": torch.tensor(0.2), "cvr": torch.tensor(3.0), "constraint": torch.tensor(7.0)}


def test_terms_by_hand() -> None:
    weights = UncertaintyWeights(("ctr", "cvr"))
    assert {name: term.item() for name, term in weights(TERMS).items()} == pytest.approx(
        {"ctr": 0.2, "cvr": 3.0, "constraint": 7.0}
    )
    weights.log_variance["ctr"].data.fill_(1.0)
    weights.log_variance["cvr"].data.fill_(-2.0)
    found = {name: term.item() for name, term in weights(TERMS).items()}
    expected = {"ctr": 0.2 * math.exp(-1) + 0.5, "cvr": 3.0 * math.exp(2) - 1.0, "constraint": 7.0}
    assert found == pytest.approx(expected)
    assert weights.weights() == pytest.approx({"ctr": math.exp(-1), "cvr": math.exp(2)})
    weights.reset(5)
    assert weights.weights() == {"ctr": 1.0, "cvr": 1.0}


def test_gradients_by_hand() -> None:
    """Of s: 1/2 - exp(-s) L; of L: exp(-s)."""
    weights = UncertaintyWeights(("ctr",))
    weights.log_variance["ctr"].data.fill_(0.7)
    loss = torch.tensor(0.2, requires_grad=True)
    weights({"ctr": loss})["ctr"].backward()
    assert weights.log_variance["ctr"].grad.item() == pytest.approx(0.5 - 0.2 * math.exp(-0.7))
    assert loss.grad is not None
    assert loss.grad.item() == pytest.approx(math.exp(-0.7))


def test_for_fixed_losses_the_minimum_is_at_log_2_l() -> None:
    weights = UncertaintyWeights(("ctr", "cvr"))
    steps = torch.optim.SGD(weights.parameters(), lr=0.5)
    for _ in range(300):
        steps.zero_grad()
        torch.stack(list(weights(TERMS).values())).sum().backward()
        steps.step()
    found = {name: value.item() for name, value in weights.log_variance.items()}
    assert found == pytest.approx({"ctr": math.log(0.4), "cvr": math.log(6.0)}, abs=1e-4)
    assert weights.weights() == pytest.approx({"ctr": 1 / 0.4, "cvr": 1 / 6.0}, rel=1e-3)
