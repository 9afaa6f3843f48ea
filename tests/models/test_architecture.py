"""Shared-Bottom and MMoE layer by layer, and what the models have in common at the start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines._separate import SeparateInputs
from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.batches import BatchMaker
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule


def make(city: EncodedCity, name: str, hidden: tuple[int, ...] = (8, 6, 4), seed: int = 0) -> FunnelModule:
    model: FunnelModule = MODELS.get(name)(Config(hidden=hidden, experts=3), InputShape.of(city), seed)
    return model.eval()


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def mlp(layers: list[tuple[Tensor, Tensor]], x: Tensor, activate_last: bool) -> Tensor:
    for index, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        if activate_last or index < len(layers) - 1:
            x = leaky(x)
    return x


@pytest.mark.parametrize("hidden", [(8, 6, 4), (8, 4), (4,)])
def test_shared_bottom_layer_by_layer(city: EncodedCity, hidden: tuple[int, ...]) -> None:
    """All hidden layers but the last are shared; each tower has the last one and a logit."""
    model = make(city, "shared_bottom", hidden)
    x = torch.randn(5, model.inputs.width, generator=torch.Generator().manual_seed(0))
    shared = mlp(model.bottom.tower("bottom"), x, activate_last=True)  # type: ignore[union-attr, operator]
    assert shared.shape[1] == (hidden[-2] if len(hidden) > 1 else model.inputs.width)
    output = model.compose(x)
    for name, found in (("ctr", output.ctr), ("cvr", output.cvr)):
        layers = model.towers.tower(name)  # type: ignore[union-attr, operator]
        assert [weight.shape[1] for weight, _ in layers] == [hidden[-1], 1]
        torch.testing.assert_close(found.probability(), mlp(layers, shared, activate_last=False)[:, 0].sigmoid())


@pytest.mark.parametrize("hidden", [(8, 6, 4), (8, 4), (4,)])
def test_mmoe_layer_by_layer(city: EncodedCity, hidden: tuple[int, ...]) -> None:
    """y_k = h^k(Σ_i softmax(W_gk x)_i f_i(x)) (Ma et al. 2018, Eq. 5-7)."""
    model = make(city, "mmoe", hidden)
    x = torch.randn(5, model.inputs.width, generator=torch.Generator().manual_seed(0))
    experts, gates = model.mixture.experts, model.mixture.gates  # type: ignore[union-attr]
    assert len(experts.names) == 3  # type: ignore[union-attr, arg-type]
    output = model.compose(x)
    for name, found in (("ctr", output.ctr), ("cvr", output.cvr)):
        gate = mlp(gates.tower(f"gate_{name}"), x, activate_last=False).softmax(1)  # type: ignore[union-attr, operator]
        outputs = [mlp(experts.tower(each), x, True) for each in experts.names]  # type: ignore[union-attr, operator]
        mixed = torch.stack([gate[:, [i]] * value for i, value in enumerate(outputs)]).sum(0)
        layers = model.towers.tower(name)  # type: ignore[union-attr, operator]
        torch.testing.assert_close(found.probability(), mlp(layers, mixed, False)[:, 0].sigmoid())


@pytest.mark.parametrize("hidden", [(8, 6, 4), (8, 4), (4,)])
@pytest.mark.parametrize("levels", [1, 3])
def test_ple_has_the_layers_of_its_knobs(city: EncodedCity, hidden: tuple[int, ...], levels: int) -> None:
    """All hidden layers but the last in an expert of the first level, one in those above, the last in a tower."""
    config = Config(hidden=hidden, experts=3, levels=levels)
    model = MODELS.get("ple")(config, InputShape.of(city), 0)
    *shared, last = hidden
    width = shared[-1] if shared else model.inputs.width
    assert len(model.extraction.levels) == levels
    for index, level in enumerate(model.extraction.levels):
        assert len(level.experts.names) == 9
        assert [weight.shape[2] for weight in level.experts.weights] == (shared if index == 0 else [width])
    assert [weight.shape[1] for weight, _ in model.towers.tower("cvr")] == [last, 1]
    x = torch.randn(5, model.inputs.width, generator=torch.Generator().manual_seed(0))
    extracted = model.eval().extraction(x)
    output = model.compose(x)
    for place, (name, found) in enumerate((("ctr", output.ctr), ("cvr", output.cvr))):
        expected = mlp(model.towers.tower(name), extracted[place], activate_last=False)[:, 0].sigmoid()
        torch.testing.assert_close(found.probability(), expected)


def test_entire_space_models_have_one_full_tower_per_step(city: EncodedCity) -> None:
    towers = {
        "esmm": ("ctr", "cvr"),
        "esms": ("ctr", "cvr"),
        "esm2_chain": ("ctr", "car", "cvr"),
        "esm2": ("ctr", "car", "cvr", "cvr_without_cart"),
        "esmc": ("ctr", "cvr", "car"),
        "escm2_ips": ("ctr", "cvr"),
        "escm2_dr": ("ctr", "cvr", "imputation"),
    }
    for name, expected in towers.items():
        model = make(city, name)
        assert model.towers.names == expected  # type: ignore[union-attr]
        widths = [weight.shape[1] for weight, _ in model.towers.tower("ctr")]  # type: ignore[union-attr, operator]
        assert widths == [8, 6, 4, 1]


def test_parts_of_the_same_name_start_equal_in_all_models(city: EncodedCity) -> None:
    models = {name: make(city, name) for name, kind in MODELS.all().items() if issubclass(kind, FunnelModule)}
    reference = models["esmm"]
    for name, model in models.items():
        if not isinstance(model.inputs, SeparateInputs):
            for key, value in reference.inputs.state_dict().items():
                assert torch.equal(model.inputs.state_dict()[key], value), (name, key)
    for name in ("esm2", "esm2_chain", "esms", "esmc", "escm2_ips", "escm2_dr"):
        for step in ("ctr", "cvr"):
            pairs = zip(models[name].towers.tower(step), reference.towers.tower(step), strict=True)  # type: ignore
            assert all(torch.equal(weight, other) for (weight, _), (other, _) in pairs), (name, step)


def test_the_same_click_tower_predicts_the_same_before_training(city: EncodedCity) -> None:
    batch = BatchMaker(city, 100).make(np.arange(50))
    found = [make(city, name)(batch).ctr.yes for name in ("esmm", "esm2", "esm2_chain", "esms", "esmc", "escm2_ips")]
    assert all(torch.equal(value, found[0]) for value in found)


def test_the_twins_of_esmc_start_equal_but_are_two(city: EncodedCity) -> None:
    model = make(city, "esmc")
    for (weight, bias), (other, other_bias) in zip(
        model.towers.tower("car"),  # type: ignore[union-attr, operator]
        model.towers.tower("cvr"),  # type: ignore[union-attr, operator]
        strict=True,
    ):
        assert torch.equal(weight, other)
        assert torch.equal(bias, other_bias)
        assert weight.data_ptr() != other.data_ptr()
    ctr = model.towers.tower("ctr")[0][0]  # type: ignore[union-attr, operator]
    assert not torch.equal(ctr, model.towers.tower("cvr")[0][0])  # type: ignore[union-attr, operator]
