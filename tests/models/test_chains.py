"""AITM and DBMTL: what each step takes from those before it, and their losses by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.batches import Labels
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb

CLICK, CART, PURCHASE = [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0]
#: In order, but for the second row (CTCAR above CTR) and the third (CTCVR above both).
CTR, CTCAR, CTCVR = [0.8, 0.3, 0.4, 0.2], [0.4, 0.6, 0.1, 0.1], [0.2, 0.1, 0.7, 0.02]
LABELS = Labels(*(torch.tensor(values, dtype=torch.float64) for values in (CLICK, CART, PURCHASE, CART)))


def make(city: EncodedCity, name: str, **knobs: Any) -> FunnelModule:
    model: FunnelModule = MODELS.get(name)(Config(**({"hidden": (8, 4)} | knobs)), InputShape.of(city), seed=0)
    return model.eval()


def given(values: list[float], grad: bool = False) -> LogProb:
    return LogProb.from_logit(torch.tensor(values, dtype=torch.float64).logit().requires_grad_(grad))


def cross_entropy(p: list[float], y: list[int]) -> float:
    return float(np.mean([-np.log(a) if b else -np.log(1 - a) for a, b in zip(p, y, strict=True)]))


def ordered() -> FunnelOutput:
    ctr, ctcar, ctcvr = given(CTR), given(CTCAR), given(CTCVR)
    return FunnelOutput(ctr, ctcvr.divide(ctr), ctcvr, ctcar.divide(ctr), ctcar)


def test_losses_of_aitm_by_hand(city: EncodedCity) -> None:
    """Violations: 0.3 between click and action, 0.6 between action and purchase."""
    model = make(city, "aitm", weight_ctr=2.0, weight_cvr=3.0, weight_car=5.0, weight_calibrator=0.6)
    terms = {name: term.item() for name, term in model.losses(ordered(), LABELS).items()}
    assert terms == pytest.approx(
        {
            "ctr": 2 * cross_entropy(CTR, CLICK),
            "ctcvr": 3 * cross_entropy(CTCVR, [1, 0, 1, 0]),
            "ctcar": 5 * cross_entropy(CTCAR, [1, 1, 0, 0]),
            "calibrator": 0.6 * (0.3 + 0.6) / 4,
        }
    )


def test_the_calibrator_pulls_where_the_order_is_violated(city: EncodedCity) -> None:
    probabilities = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (CTR, CTCAR, CTCVR)]
    ctr, ctcar, ctcvr = (LogProb(p.log(), (1 - p).log()) for p in probabilities)
    output = FunnelOutput(ctr, ctcvr.divide(ctr), ctcvr, ctcar.divide(ctr), ctcar)
    make(city, "aitm", weight_calibrator=4.0).losses(output, LABELS)["calibrator"].backward()
    found = [p.grad.tolist() for p in probabilities if p.grad is not None]
    expected = [[0, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_aitm_clips_visibly(city: EncodedCity) -> None:
    """CVR = CTCVR / CTR, 1 in the third row; CAR = CTCAR / CTR, 1 in the second. The notes say how often."""
    model, output = make(city, "aitm"), ordered()
    assert output.car is not None
    np.testing.assert_allclose(output.cvr.probability(), [0.25, 1 / 3, 1.0, 0.1])
    np.testing.assert_allclose(output.car.probability(), [0.5, 1.0, 0.25, 0.5])
    model.losses(output, LABELS)
    assert model.notes() == {"clipped_car": 0.25, "clipped_cvr": 0.25}


def test_aitm_layer_by_layer(city: EncodedCity) -> None:
    model: Any = make(city, "aitm", hidden=(8, 6, 4))
    x = torch.randn(5, model.inputs.width, generator=torch.Generator().manual_seed(0))
    output = model.compose(x)
    click, action, purchase = model.towers(x)
    assert click.shape == (5, 4)
    second = model.to_ctcar(click, action)
    vectors = {"ctr": click, "ctcar": second, "ctcvr": model.to_ctcvr(second, purchase)}
    for name, vector in vectors.items():
        ((weight, bias),) = model.heads.tower(name)
        torch.testing.assert_close(getattr(output, name).probability(), (vector @ weight + bias)[:, 0].sigmoid())
    quotient = output.ctcvr.probability() / output.ctr.probability()
    torch.testing.assert_close(output.cvr.probability(), quotient.clamp_max(1.0))


def test_losses_of_dbmtl_by_hand(city: EncodedCity) -> None:
    """Click over the four exposures; action and purchase over the three clicks."""
    car, cvr = [0.4, 0.6, 0.1, 0.9], [0.2, 0.1, 0.7, 0.9]
    output = FunnelOutput(given(CTR), given(cvr), given(CTCVR), given(car), given(CTCAR))
    model = make(city, "dbmtl", weight_ctr=2.0, weight_cvr=3.0, weight_car=5.0)
    terms = {name: term.item() for name, term in model.losses(output, LABELS).items()}
    assert terms == pytest.approx(
        {
            "ctr": 2 * cross_entropy(CTR, CLICK),
            "cvr": 3 * cross_entropy(cvr[:3], PURCHASE[:3]),
            "car": 5 * cross_entropy(car[:3], CART[:3]),
        }
    )


@pytest.mark.parametrize("hidden", [(8, 6, 4), (8, 4), (4,)])
def test_dbmtl_layer_by_layer(city: EncodedCity, hidden: tuple[int, ...]) -> None:
    """Each relation layer reads its tower's vector, then the relation vectors of the targets before it."""
    model: Any = make(city, "dbmtl", hidden=hidden)
    x = torch.randn(5, model.inputs.width, generator=torch.Generator().manual_seed(0))
    output = model.compose(x)
    before: list[torch.Tensor] = []
    for name, own, relation in zip(
        ("ctr", "car", "cvr"), model.towers(x), (model.click, model.action, model.purchase), strict=True
    ):
        ((weight, bias),) = relation.tower(name)
        assert weight.shape == (own.shape[1] + 4 * len(before), 4)
        value = torch.cat([own, *before], 1) @ weight + bias
        before.append(torch.where(value > 0, value, 0.01 * value))
        ((weight, bias),) = model.heads.tower(name)
        torch.testing.assert_close(getattr(output, name).probability(), (before[-1] @ weight + bias)[:, 0].sigmoid())


@pytest.mark.parametrize(
    ("name", "steps"), [("aitm", ("ctr", "ctcar", "ctcvr")), ("dbmtl", ("ctr", "car", "cvr"))], ids=["aitm", "dbmtl"]
)
def test_a_step_reads_the_towers_before_it_and_none_after_it(
    city: EncodedCity, name: str, steps: tuple[str, ...]
) -> None:
    model: Any = make(city, name, hidden=(8, 6, 4))
    x = torch.randn(9, model.inputs.width, generator=torch.Generator().manual_seed(0))
    for place, step in enumerate(steps):
        (grad,) = torch.autograd.grad(getattr(model.compose(x), step).yes.sum(), model.towers.weights[0])
        assert grad.flatten(1).any(1).tolist() == [tower <= place for tower in range(3)], step
