"""ESCM²: the risks by hand and in expectation over the clicks, the clip, and where gradients must not go."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.batches import Labels
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from esm_models._counterfactual import dr_risk, imputation_loss, ips_risk

CLICK, PURCHASE = [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]
#: CTR of 0.5, 0.1, 0.8 and 0.01; CVR of 0.5, 0.2, 0.9 and 0.6; ê of 0.3, 1.2, 0.7 and 0.4.
CTR, CVR, IMPUTED = [0.5, 0.1, 0.8, 0.01], [0.5, 0.2, 0.9, 0.6], [0.3, 1.2, 0.7, 0.4]
ERROR = [-np.log(0.5), -np.log(0.8), -np.log(0.1), -np.log(0.4)]
BOTH = pytest.mark.parametrize("name", ["escm2_ips", "escm2_dr"])


def column(values: list[float], grad: bool = False) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def leaves() -> dict[str, Tensor]:
    """Logits of the towers that give :data:`CTR`, :data:`CVR` and :data:`IMPUTED`."""
    probabilities = {"ctr": column(CTR).logit(), "cvr": column(CVR).logit()}
    imputation = column(IMPUTED).expm1().log()  # softplus^-1
    return {name: value.requires_grad_() for name, value in (probabilities | {"imputation": imputation}).items()}


def make(city: EncodedCity, name: str, logits: dict[str, Tensor], **knobs: Any) -> dict[str, Tensor]:
    """The loss terms of a model whose towers say ``logits``."""
    model: FunnelModule = MODELS.get(name)(Config(hidden=(8, 4), **knobs), InputShape.of(city), seed=0)
    model.towers.logits = lambda x: logits  # type: ignore[union-attr, assignment]
    output = model.compose(torch.zeros(4, model.inputs.width))
    terms = model.losses(output, Labels(column(CLICK), column(CLICK), column(PURCHASE), column(CLICK)))
    assert model.notes()["clipped_propensities"] == np.mean(np.array(CTR) < model.config.propensity_clip)
    return terms


def test_risks_by_hand() -> None:
    click, error, propensity = column(CLICK), column(ERROR), column([0.5, 0.1, 0.8, 0.05])
    first, second, fourth = ERROR[0] / 0.5, ERROR[1] / 0.1, ERROR[3] / 0.05
    assert ips_risk(click, error, propensity).item() == pytest.approx((first + second + fourth) / 4)
    corrections = (ERROR[0] - 0.3) / 0.5 + (ERROR[1] - 1.2) / 0.1 + (ERROR[3] - 0.4) / 0.05
    expected = (sum(IMPUTED) + corrections) / 4
    assert dr_risk(click, error, propensity, column(IMPUTED)).item() == pytest.approx(expected)
    squares = (ERROR[0] - 0.3) ** 2 / 0.5 + (ERROR[1] - 1.2) ** 2 / 0.1 + (ERROR[3] - 0.4) ** 2 / 0.05
    assert imputation_loss(click, error, propensity, column(IMPUTED)).item() == pytest.approx(squares / 4)


def expectation(risk: Any, truth: list[float], propensity: list[float], *more: Tensor) -> float:
    """Over all 16 patterns of clicks, each with its probability under ``truth``."""
    total = 0.0
    for clicks in itertools.product((0.0, 1.0), repeat=4):
        chance = np.prod([p if click else 1 - p for p, click in zip(truth, clicks, strict=True)])
        total += chance * risk(column(list(clicks)), column(ERROR), column(propensity), *more).item()
    return total


def test_with_true_propensities_both_risks_are_unbiased() -> None:
    full = np.mean(ERROR)
    assert expectation(ips_risk, CTR, CTR) == pytest.approx(full, rel=1e-12)
    assert expectation(dr_risk, CTR, CTR, column(IMPUTED)) == pytest.approx(full, rel=1e-12)


def test_with_wrong_propensities_only_a_right_imputation_is_unbiased() -> None:
    full, wrong = np.mean(ERROR), [0.4, 0.3, 0.5, 0.05]
    assert expectation(dr_risk, CTR, wrong, column(ERROR)) == pytest.approx(full, rel=1e-12)
    assert expectation(dr_risk, CTR, wrong, column(IMPUTED)) != pytest.approx(full, rel=0.01)
    assert expectation(ips_risk, CTR, wrong) != pytest.approx(full, rel=0.01)


def test_a_clip_biases_the_ips_risk_towards_zero() -> None:
    clipped = [max(p, 0.2) for p in CTR]
    expected = (ERROR[0] + ERROR[1] * 0.1 / 0.2 + ERROR[2] + ERROR[3] * 0.01 / 0.2) / 4
    assert expectation(ips_risk, CTR, clipped) == pytest.approx(expected, rel=1e-12)
    assert expected < np.mean(ERROR)


@BOTH
def test_terms_by_hand(city: EncodedCity, name: str) -> None:
    """CTR of the last row, 0.01, is clipped at 0.05; the others are as they are."""
    terms = make(city, name, leaves(), propensity_clip=0.05, weight_risk=3.0, weight_ctr=2.0, weight_cvr=5.0)
    least = column([0.5, 0.1, 0.8, 0.05])
    click, error, imputed = column(CLICK), column(ERROR), column(IMPUTED)
    ctcvr = np.array(CTR) * np.array(CVR)
    expected = {
        "ctr": 2.0 * np.mean([-np.log(0.5), -np.log(0.1), -np.log(0.2), -np.log(0.01)]),
        "ctcvr": 5.0 * np.mean([-np.log(ctcvr[0]), *-np.log(1 - ctcvr[1:])]),
    }
    if name == "escm2_ips":
        expected["cvr_risk"] = 3.0 * ips_risk(click, error, least).item()
    else:
        expected["cvr_risk"] = 3.0 * dr_risk(click, error, least, imputed).item()
        expected["imputation"] = 3.0 * imputation_loss(click, error, least, imputed).item()
    assert {key: term.item() for key, term in terms.items()} == pytest.approx(expected, rel=1e-10)


@BOTH
def test_the_risk_teaches_the_cvr_tower_alone(city: EncodedCity, name: str) -> None:
    """Neither the CTR, whose rise would lower it, nor the imputation. The gradient is o (CVR - purchase) / (p B)."""
    logits = leaves()
    make(city, name, logits, propensity_clip=0.05, weight_risk=1.0)["cvr_risk"].backward()
    assert logits["ctr"].grad is None
    assert logits["imputation"].grad is None
    expected = [(0.5 - 1) / 0.5 / 4, 0.2 / 0.1 / 4, 0.0, 0.6 / 0.05 / 4]
    assert logits["cvr"].grad is not None
    assert logits["cvr"].grad.tolist() == pytest.approx(expected)


def test_the_imputation_loss_teaches_the_imputation_alone(city: EncodedCity) -> None:
    logits = leaves()
    make(city, "escm2_dr", logits, propensity_clip=0.05, weight_risk=1.0)["imputation"].backward()
    assert logits["ctr"].grad is None
    assert logits["cvr"].grad is None
    slope = 1 - np.exp(-np.array(IMPUTED))  # of softplus, at its value ê
    least = np.array([0.5, 0.1, 0.8, 0.05])
    expected = np.array(CLICK) * 2 * (np.array(IMPUTED) - ERROR) / least / 4 * slope
    assert logits["imputation"].grad is not None
    assert logits["imputation"].grad.tolist() == pytest.approx(expected.tolist())


def test_imputed_losses_are_not_negative_and_no_prediction(city: EncodedCity) -> None:
    model: FunnelModule = MODELS.get("escm2_dr")(Config(hidden=(8, 4)), InputShape.of(city), seed=0)
    output = model.compose(10.0 * torch.randn(50, model.inputs.width, generator=torch.Generator().manual_seed(0)))
    assert output.imputed is not None
    assert (output.imputed >= 0).all()
    assert output.imputed.shape == (50,)
    assert [name for name, _ in output.present()] == ["ctr", "cvr", "ctcvr"]
