"""What each model makes of its towers' logits, and its losses, on a batch computed by hand from the papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
from bench.modeling.outputs import FunnelOutput

#: Logits of four rows: good case, cart only, bad case, not clicked.
LOGITS: dict[str, list[float]] = {
    "ctr": [0.5, -1.0, 0.2, -2.0],
    "car": [1.0, 0.3, -0.4, -1.5],
    "cvr": [0.8, -0.6, 2.0, 0.1],
    "cvr_without_cart": [-2.0, -1.0, 0.4, -3.0],
}
CLICK, CART, PURCHASE = np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
#: The bad case takes its cart from search.
GLOBAL_CART = np.array([1, 1, 1, 0])
Y1, Y2, Y3, Y4 = (1 / (1 + np.exp(-np.array(values))) for values in LOGITS.values())

#: The probabilities by the papers: ESMM (ESMC Eq. 3), ESM² (its Eq. 2-4), the chain (ESMC Eq. 5-6), ESMC (Eq. 13).
EXPECTED: dict[str, dict[str, np.ndarray]] = {
    "shared_bottom": {"ctr": Y1, "cvr": Y3, "ctcvr": Y1 * Y3},
    "mmoe": {"ctr": Y1, "cvr": Y3, "ctcvr": Y1 * Y3},
    "esmm": {"ctr": Y1, "cvr": Y3, "ctcvr": Y1 * Y3},
    "esm2": {
        "ctr": Y1,
        "cvr": Y2 * Y3 + (1 - Y2) * Y4,
        "ctcvr": Y4 * (1 - Y2) * Y1 + Y3 * Y2 * Y1,
        "car": Y2,
        "ctcar": Y1 * Y2,
    },
    "esm2_chain": {"ctr": Y1, "cvr": Y2 * Y3, "ctcvr": Y1 * Y2 * Y3, "car": Y2, "ctcar": Y1 * Y2},
    "esms": {"ctr": Y1, "cvr": Y3, "ctcvr": Y1 * Y3, "car": Y3, "ctcar": Y1 * Y3},
    "esmc": {"ctr": Y1, "cvr": Y3, "ctcvr": Y1 * Y3, "car": Y2, "ctcar": Y1 * Y2},
}
EXPECTED |= {"esms2": EXPECTED["esms"], "esmc2": EXPECTED["esmc"]}
EXPECTED |= dict.fromkeys(("ple", "dnn", "dnn_os"), EXPECTED["mmoe"])
BASELINES, GLOBAL = ("shared_bottom", "mmoe", "ple", "dnn"), ("esms2", "esmc2")
ENTIRE_SPACE = ("esmm", "esm2", "esm2_chain", "esms", "esmc", *GLOBAL)

Make = Callable[..., FunnelModule]


@pytest.fixture
def make(city: EncodedCity, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A model whose towers say :data:`LOGITS`."""

    def made(name: str, logits: Mapping[str, Tensor] | None = None, **knobs: float) -> FunnelModule:
        model: FunnelModule = MODELS.get(name)(Config(hidden=(8, 4), **knobs), InputShape.of(city), seed=0)
        known = logits or {key: torch.tensor(values, dtype=torch.float64) for key, values in LOGITS.items()}
        assert set(model.towers.names) <= set(known)  # type: ignore[union-attr, arg-type]
        monkeypatch.setattr(model.towers, "logits", lambda x: {key: known[key] for key in model.towers.names})
        return model

    return made


def compose(model: FunnelModule) -> FunnelOutput:
    return model.compose(torch.zeros(4, model.inputs.width))


def labels() -> Labels:
    return Labels(*(torch.from_numpy(label).float() for label in (CLICK, CART, PURCHASE, GLOBAL_CART)))


def losses(model: FunnelModule) -> dict[str, float]:
    return {name: term.item() for name, term in model.losses(compose(model), labels()).items()}


def cross_entropy(p: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p)))


@pytest.mark.parametrize("name", EXPECTED)
def test_probabilities_by_hand(make: Make, name: str) -> None:
    found = dict(compose(make(name)).present())
    assert list(found) == list(EXPECTED[name])
    for step, expected in EXPECTED[name].items():
        np.testing.assert_allclose(found[step].probability(), expected, rtol=1e-12, err_msg=step)
        np.testing.assert_allclose(found[step].no.exp(), 1 - expected, rtol=1e-12, err_msg=step)


@pytest.mark.parametrize("name", ENTIRE_SPACE)
def test_losses_over_the_entire_space_by_hand(make: Make, name: str) -> None:
    expected = EXPECTED[name]
    terms = {
        "ctr": 2 * cross_entropy(expected["ctr"], CLICK),
        "ctcvr": 3 * cross_entropy(expected["ctcvr"], CLICK * PURCHASE),
    }
    if "ctcar" in expected:
        terms["ctcar"] = 5 * cross_entropy(expected["ctcar"], CLICK * CART)
    if name in GLOBAL:
        terms["ctcar_global"] = 7 * cross_entropy(expected["ctcar"], CLICK * GLOBAL_CART)
    model = make(name, weight_ctr=2.0, weight_cvr=3.0, weight_car=5.0, weight_global=7.0, constraint_weight=0.0)
    assert losses(model) == pytest.approx(terms, rel=1e-12)


@pytest.mark.parametrize("name", BASELINES)
def test_losses_of_the_baselines_by_hand(make: Make, name: str) -> None:
    """CTR over the four exposures, CVR over the three clicks; CTCVR has no loss."""
    terms = {"ctr": 2 * cross_entropy(Y1, CLICK), "cvr": 3 * cross_entropy(Y3[:3], PURCHASE[:3])}
    assert losses(make(name, weight_ctr=2.0, weight_cvr=3.0)) == pytest.approx(terms, rel=1e-12)


@pytest.mark.parametrize("name", BASELINES)
def test_unclicked_rows_have_no_part_in_the_cvr_loss(make: Make, name: str) -> None:
    """Neither by their label nor by their prediction nor by a gradient."""
    logits = {key: torch.tensor(values, requires_grad=True) for key, values in LOGITS.items()}
    model = make(name, logits)
    before = model.losses(compose(model), labels())["cvr"]
    (grad,) = torch.autograd.grad(before, logits["cvr"])
    assert (grad != 0).tolist() == [True, True, True, False]
    other = labels()._replace(purchase=torch.tensor([1.0, 0.0, 1.0, 1.0]))
    logits["cvr"].data[3] = 30.0
    assert model.losses(compose(model), other)["cvr"].item() == before.item()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_batch_without_clicks_is_finite(make: Make, name: str) -> None:
    logits = {key: torch.tensor(values, requires_grad=True) for key, values in LOGITS.items()}
    model, nothing = make(name, logits), torch.zeros(4)
    terms = model.losses(compose(model), Labels(*[nothing] * 4))
    torch.stack(list(terms.values())).sum().backward()
    assert all(np.isfinite(term.item()) for term in terms.values())
    assert all(value.grad is None or torch.isfinite(value.grad).all() for value in logits.values())
    if name in BASELINES:
        assert terms["cvr"].item() == 0.0


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("extreme", [-60.0, 60.0])
def test_confident_logits_keep_losses_and_gradients_finite(make: Make, name: str, extreme: float) -> None:
    """float32: a clamped product would give log 0, or a gradient of 0 where one is needed."""
    logits = {key: torch.full((4,), extreme, requires_grad=True) for key in LOGITS}
    model = make(name, logits)
    total = torch.stack(list(model.losses(compose(model), labels()).values())).sum()
    total.backward()
    assert np.isfinite(total.item())
    assert total.item() > 10  # some label is missed by far
    for key in model.towers.names:  # type: ignore[union-attr]
        grad = logits[str(key)].grad
        assert grad is not None
        assert torch.isfinite(grad).all()
    assert logits["ctr"].grad is not None
    assert logits["ctr"].grad.abs().max() > 0.1


def test_esms_has_one_tower_for_both(city: EncodedCity) -> None:
    model: FunnelModule = MODELS.get("esms")(Config(hidden=(8, 4)), InputShape.of(city), seed=0)
    output = compose(model)
    assert output.car is output.cvr
    assert output.ctcar is output.ctcvr
    assert model.towers.names == ("ctr", "cvr")  # type: ignore[union-attr]


def test_the_chain_has_no_purchase_without_a_cart_but_esm2_has(make: Make) -> None:
    """With P(cart | click) near 0 the chain's CVR vanishes; ESM²'s is that of its OAction path."""
    logits = {key: torch.full((4,), value) for key, value in (("ctr", 0.0), ("cvr", 2.0), ("car", -40.0))}
    logits["cvr_without_cart"] = torch.full((4,), 1.0)
    assert (compose(make("esm2_chain", logits)).cvr.probability() < 1e-16).all()
    torch.testing.assert_close(compose(make("esm2", logits)).cvr.probability(), torch.full((4,), 1.0).sigmoid())
