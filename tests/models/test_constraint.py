"""The three readings of D_KL(θ_CTCAR ‖ θ_CTCVR) against scipy, and their place in ESMC's objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from scipy.stats import entropy, multivariate_normal
from torch import Tensor

from bench.core.config import Config, Constraint
from bench.core.registry import MODELS
from bench.data.batches import Batches, BatchMaker, Labels
from bench.data.encoded import EncodedCity
from bench.data.order import shuffled_by_visit
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb
from esm_models._constraint import DIVERGENCES

Layers = list[tuple[Tensor, Tensor]]


def layers(seed: int) -> Layers:
    """(weight [in, out], bias [out]) of a 5-4-3-1 tower."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(a, b, generator=generator, dtype=torch.float64, requires_grad=True),
            torch.randn(b, generator=generator, dtype=torch.float64, requires_grad=True),
        )
        for a, b in ((5, 4), (4, 3), (3, 1))
    ]


def by_hand(reading: str, first: Layers, second: Layers) -> float:
    total = 0.0
    for (weight, bias), (other, other_bias) in zip(first, second, strict=True):
        a, b = weight.detach().numpy(), other.detach().numpy()
        if reading == "gaussian":
            total += 0.5 * ((a - b) ** 2).sum() + 0.5 * (bias - other_bias).detach().square().sum().item()
        elif reading == "softmax":
            total += rel_entr(softmax(a.ravel()), softmax(b.ravel())).sum()
        else:
            total += sum(entropy(softmax(a[:, unit]), softmax(b[:, unit])) for unit in range(a.shape[1]))
    return float(total)


def test_every_reading_of_the_configuration_is_there() -> None:
    assert set(DIVERGENCES) == set(get_args(Constraint))


@pytest.mark.parametrize("reading", sorted(DIVERGENCES))
def test_values_equal_scipy(reading: str) -> None:
    first, second = layers(0), layers(1)
    found = DIVERGENCES[reading](first, second).item()
    assert found == pytest.approx(by_hand(reading, first, second), rel=1e-10)
    assert found > 0.1
    assert DIVERGENCES[reading](first, first).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("reading", ["softmax", "softmax_unit"])
def test_the_direction_is_that_of_the_first(reading: str) -> None:
    first, second = layers(0), layers(1)
    there, back = DIVERGENCES[reading](first, second).item(), DIVERGENCES[reading](second, first).item()
    assert there == pytest.approx(by_hand(reading, first, second), rel=1e-10)
    assert back == pytest.approx(by_hand(reading, second, first), rel=1e-10)
    assert abs(there - back) > 1e-2


def test_gaussian_is_the_divergence_of_two_gaussians() -> None:
    """E_P[log P - log Q] under P = N(θ, I), Q = N(θ', I) (ESMC Eq. 12), by 400 000 draws."""
    first, second = layers(0), layers(1)
    a, b = (np.concatenate([t.detach().numpy().ravel() for layer in side for t in layer]) for side in (first, second))
    draws = np.random.default_rng(0).normal(a, 1.0, (400_000, len(a)))
    ratio = multivariate_normal(a).logpdf(draws) - multivariate_normal(b).logpdf(draws)
    assert DIVERGENCES["gaussian"](first, second).item() == pytest.approx(ratio.mean(), rel=0.005)


@pytest.mark.parametrize("reading", sorted(DIVERGENCES))
def test_the_gradient_reaches_both_and_is_right(reading: str) -> None:
    first, second = layers(0), layers(1)
    flat = [tensor for side in (first, second) for layer in side for tensor in layer]

    def divergence(*tensors: Tensor) -> Tensor:
        pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
        return DIVERGENCES[reading](pairs[:3], pairs[3:])

    assert torch.autograd.gradcheck(divergence, flat)
    grads = torch.autograd.grad(divergence(*flat), flat, allow_unused=True)
    for index, grad in enumerate(grads):
        if index % 2 and reading != "gaussian":  # the softmax readings speak of weights, not of biases
            assert grad is None
        else:
            assert grad is not None
            assert grad.abs().max() > 1e-3


@pytest.mark.parametrize("reading", sorted(DIVERGENCES))
def test_extreme_weights_stay_finite(reading: str) -> None:
    first = [(100 * w.detach(), b.detach()) for w, b in layers(0)]
    second = [(100 * w.detach(), b.detach()) for w, b in layers(1)]
    assert np.isfinite(DIVERGENCES[reading](first, second).item())


def nothing_else() -> FunnelOutput:
    p = LogProb.from_logit(torch.zeros(3))
    return FunnelOutput(p, p, p, p, p)


@pytest.mark.parametrize("reading", sorted(DIVERGENCES))
def test_esmc_constrains_the_cart_tower_against_the_purchase_tower(city: EncodedCity, reading: str) -> None:
    """ω4 D_KL(θ_CTCAR ‖ θ_CTCVR) in this order (ESMC Eq. 17), and no other tower."""
    config = Config(hidden=(8, 4), constraint=reading, constraint_weight=0.3)  # type: ignore[arg-type]
    model = MODELS.get("esmc")(config, InputShape.of(city), seed=0)
    zeros = torch.zeros(3)
    assert model.losses(nothing_else(), Labels(*[zeros] * 4))["constraint"].item() == pytest.approx(0, abs=1e-5)
    for tensor in (*model.towers.weights, *model.towers.biases):
        tensor.data.normal_(generator=torch.Generator().manual_seed(tensor.numel()))
    term = model.losses(nothing_else(), Labels(*[zeros] * 4))["constraint"]
    expected = by_hand(reading, model.towers.tower("car"), model.towers.tower("cvr"))
    assert term.item() == pytest.approx(0.3 * expected, rel=1e-4)
    if reading != "gaussian":
        back = by_hand(reading, model.towers.tower("cvr"), model.towers.tower("car"))
        assert term.item() != pytest.approx(0.3 * back, rel=1e-2)
    term.backward()
    moved = [model.towers.weights[0].grad[index].abs().sum().item() for index in range(3)]
    assert moved[0] == 0.0
    assert moved[2] > 1e-3
    if reading == "gaussian":
        assert moved[1] == pytest.approx(0, abs=1e-6)  # the mean of the twins is left alone


def test_without_a_coefficient_there_is_no_constraint(city: EncodedCity) -> None:
    model = MODELS.get("esmc")(Config(constraint_weight=0.0), InputShape.of(city), seed=0)
    zeros = torch.zeros(3)
    assert "constraint" not in model.losses(nothing_else(), Labels(*[zeros] * 4))


def test_the_limit_of_the_default_reading_is_one_tower() -> None:
    """Gradient steps on the constraint alone make the twins one: the Siamese network of ESMS."""
    first, second = layers(0), layers(1)
    tensors = [tensor for side in (first, second) for layer in side for tensor in layer]
    optimizer = torch.optim.SGD(tensors, lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        DIVERGENCES["gaussian"](first, second).backward()
        optimizer.step()
    for layer, other in zip(first, second, strict=True):
        for a, b in zip(layer, other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def trained(city: EncodedCity, name: str, weight: float, **knobs: Any) -> tuple[FunnelModule, np.ndarray, np.ndarray]:
    """A model after 90 steps, and its CVR and CAR of the test rows."""
    config = Config(hidden=(16, 8), batch_size=64, epochs=2, constraint_weight=weight, precision="float32", **knobs)
    model: FunnelModule = MODELS.get(name)(config, InputShape.of(city), seed=0)
    optimizer = model.optimizer()
    rows = city.rows("train")
    for epoch in range(2):
        order = shuffled_by_visit(np.asarray(city.visit[rows]), rows.start, epoch)
        for index, batch in enumerate(Batches(BatchMaker(city, 100, "copy"), order, 64)):
            optimizer.zero_grad()
            model.training_step(batch, index)["loss"].backward()
            optimizer.step()
    tested = city.rows("test")
    with torch.no_grad():
        found = model.eval().predict_step(BatchMaker(city, 100).make(np.arange(tested.start, tested.stop)), 0)
    return model, found["cvr"].numpy(), found["car"].numpy()


@pytest.mark.parametrize("reading", sorted(DIVERGENCES))
def test_the_towers_come_closer_as_the_coefficient_grows(build_city: Callable[..., EncodedCity], reading: str) -> None:
    city = build_city(rows=1500, size=8)
    grid = (0.0, 0.01, 0.05, 0.1, 0.5, 1.0, 100.0)
    distances = [trained(city, "esmc", weight, constraint=reading)[0].notes()["tower_distance"] for weight in grid]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 1.3 * distances[-1] > 0


def test_the_limit_of_a_huge_coefficient_is_esms(build_city: Callable[..., EncodedCity]) -> None:
    """ESMC V-B: "If we adjust the parameter constraints … to infinity, it is … a Siamese Network"."""
    city = build_city(rows=1500, size=8)
    _, tied, _ = trained(city, "esms", 0.0)
    gaps = []
    for weight in (0.0, 0.1, 10.0, 1e4):
        _, cvr, car = trained(city, "esmc", weight)
        gaps.append(float(np.abs(cvr - tied).mean()))
        if weight == 1e4:
            np.testing.assert_allclose(cvr, car, atol=2e-3)
            np.testing.assert_allclose(cvr, tied, atol=0.03)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.1 * gaps[0]
