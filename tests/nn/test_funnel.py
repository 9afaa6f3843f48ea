"""Log-space probabilities against exact decimal arithmetic of the plain formulas."""

from __future__ import annotations

import itertools
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch

from bench.nn.funnel import LogProb

LOGITS = (-50.0, -12.5, -1.0, 0.0, 0.3, 7.0, 50.0)
#: Absolute error of a float64 logarithm near 0, where the probability is 1.
TINY = 4e-16


def sigmoid(logit: float) -> Decimal:
    return 1 / (1 + (-Decimal(logit)).exp())


def grid(count: int) -> list[tuple[float, ...]]:
    return list(itertools.product(LOGITS, repeat=count))


def tensors(points: list[tuple[float, ...]], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.tensor(column, dtype=dtype, requires_grad=True) for column in zip(*points, strict=True)]


def times(p: Decimal, q: Decimal) -> Decimal:
    return p * q


def mix(p: Decimal, q: Decimal, r: Decimal) -> Decimal:
    return p * q + (1 - p) * r


def composed(points: list[tuple[float, ...]], dtype: torch.dtype) -> tuple[LogProb, list[torch.Tensor]]:
    logits = tensors(points, dtype)
    first, *others = (LogProb.from_logit(logit) for logit in logits)
    if not others:
        return first, logits
    return (first.times(*others) if len(others) == 1 else first.mix(*others)), logits


def exact(points: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """log p and log(1-p) with 80 digits, from the definitions."""
    formula = {1: lambda p: p, 2: times, 3: mix}[len(points[0])]
    with localcontext() as context:
        context.prec = 80
        values = [formula(*(sigmoid(logit) for logit in point)) for point in points]
        return np.array([float(v.ln()) for v in values]), np.array([float((1 - v).ln()) for v in values])


@pytest.mark.parametrize("count", [1, 2, 3], ids=["from_logit", "times", "mix"])
@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(torch.float64, 1e-13, TINY), (torch.float32, 2e-6, 2e-7)])
def test_probability_and_complement_are_exact(count: int, dtype: torch.dtype, rtol: float, atol: float) -> None:
    points = grid(count)
    found, _ = composed(points, dtype)
    yes, no = exact(points)
    np.testing.assert_allclose(found.yes.detach(), yes, rtol=rtol, atol=atol)
    np.testing.assert_allclose(found.no.detach(), no, rtol=rtol, atol=atol)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_complements_sum_to_one_and_stay_probabilities(count: int) -> None:
    logits = torch.randn(count, 200_000, generator=torch.Generator().manual_seed(0)) * 8 + 4
    first, *others = (LogProb.from_logit(logit) for logit in logits)
    found = first if not others else first.times(*others) if count == 2 else first.mix(*others)
    p, q = found.probability(), found.no.exp()
    torch.testing.assert_close(p + q, torch.ones_like(p), rtol=0, atol=1e-6)
    assert ((p >= 0) & (p <= 1) & (q >= 0) & (q <= 1)).all()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cross_entropy_and_its_gradient(count: int, label: float, dtype: torch.dtype) -> None:
    """-log P or -log(1-P); the gradient by the chain rule, dP/dlogit = dP/dp p(1-p), in exact arithmetic."""
    points = grid(count)
    found, logits = composed(points, dtype)
    loss = found.cross_entropy(torch.full((len(points),), label, dtype=dtype))
    yes, no = exact(points)
    rtol, atol = (1e-12, 1e-14) if dtype == torch.float64 else (5e-6, 1e-6)
    np.testing.assert_allclose(loss.detach(), -yes if label else -no, rtol=rtol, atol=atol)
    loss.sum().backward()
    with localcontext() as context:
        context.prec = 80
        expected = np.array([_gradient(point, label) for point in points])
    for index, logit in enumerate(logits):
        assert logit.grad is not None
        assert torch.isfinite(logit.grad).all()
        np.testing.assert_allclose(logit.grad, expected[:, index], rtol=rtol, atol=atol)


def _gradient(point: tuple[float, ...], label: float) -> list[float]:
    p = [sigmoid(logit) for logit in point]
    if len(p) == 1:
        value, partial = p[0], [Decimal(1)]
    elif len(p) == 2:
        value, partial = times(*p), [p[1], p[0]]
    else:
        value, partial = mix(*p), [p[1] - p[2], p[0], 1 - p[0]]
    outer = -1 / value if label else 1 / (1 - value)
    return [float(outer * d * x * (1 - x)) for d, x in zip(partial, p, strict=True)]


def test_three_factors_keep_what_a_clamp_would_lose() -> None:
    """p q r with all logits 40: 1 - p q r is 3 e^-40, far below the last bit of p q r itself."""
    p = LogProb.from_logit(torch.tensor(40.0, dtype=torch.float64))
    assert p.times(p).times(p).no.item() == pytest.approx(np.log(3) - 40, rel=1e-12)


def test_a_part_of_a_whole_is_exact_and_clipped_at_one() -> None:
    """p / w against exact arithmetic where p < w; 1 where p >= w, with log(1-p) = -inf."""
    points = grid(2)
    part, whole = (LogProb.from_logit(logit.detach()) for logit in tensors(points))
    found = part.divide(whole)
    with localcontext() as context:
        context.prec = 80
        exact = [sigmoid(a) / sigmoid(b) for a, b in points]
        inside = np.array([ratio < 1 for ratio in exact])
        yes = np.array([float(min(ratio, Decimal(1)).ln()) for ratio in exact])
        no = np.array([float((1 - ratio).ln()) if ratio < 1 else -np.inf for ratio in exact])
    assert 0 < inside.sum() < len(points)
    np.testing.assert_allclose(found.yes, yes, rtol=1e-13, atol=TINY)
    assert (found.yes[~inside] == 0).all()
    assert (found.no[~inside] == -np.inf).all()
    well = inside & (yes < -1e-6)  # nearer to 1 the difference of two logarithms has lost its digits
    np.testing.assert_allclose(found.no[well], no[well], rtol=1e-8)
    assert ((found.probability() >= 0) & (found.probability() <= 1)).all()
