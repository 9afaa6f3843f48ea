"""Cells trained at once learn what each learns alone: parameters, tables, losses and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.batches import Batch, Batches, BatchMaker
from bench.data.encoded import EncodedCity
from bench.data.order import shuffled_by_visit
from bench.modeling.group import CellGroup
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule, optimizer_of

NEURAL = [name for name, model in MODELS.all().items() if issubclass(model, FunnelModule)]
ROWS, STEPS = 96, 6


@pytest.fixture(scope="module")
def city(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    return build_city(rows=1500, size=8)


@pytest.fixture(scope="module")
def batches(city: EncodedCity) -> list[Batch]:
    rows = city.rows("train")
    order = shuffled_by_visit(city.visit[rows], rows.start, 1)[: ROWS * STEPS - 10]
    return list(Batches(BatchMaker(city, 30, "copy"), order, ROWS))


def configuration(**knobs: Any) -> Config:
    small = {"hidden": (8, 4), "embedding_dim": 6, "eta_top_k": 5, "din_length": 4, "initial_accumulator": 0.01}
    return Config(**{"precision": "float32", "experts": 2} | small | knobs)


def make(name: str, city: EncodedCity, configs: list[Config]) -> list[FunnelModule]:
    return [MODELS.get(name)(config, InputShape.of(city), seed) for seed, config in enumerate(configs)]


def train_alone(model: FunnelModule, batches: list[Batch]) -> list[dict[str, Tensor]]:
    optimizer, terms = model.optimizer(), []
    for index, batch in enumerate(batches):
        optimizer.zero_grad()
        step = model.training_step(batch, index)
        step["loss"].backward()
        optimizer.step()
        terms.append(step["terms"])
    return terms


def train_together(group: CellGroup, batches: list[Batch]) -> list[dict[str, Tensor]]:
    optimizer, terms = optimizer_of(group.config, group.stacked, [*group.wide]), []
    group.train()
    for index, batch in enumerate(batches):
        optimizer.zero_grad()
        step = group.training_step(batch, index)
        step["loss"].backward()
        optimizer.step()
        terms.append(step["terms"])
    return terms


@pytest.fixture(params=[True, False], ids=["batched", "in turn"])
def is_batched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """How a group computes, which else hangs on the device."""
    monkeypatch.setattr(CellGroup, "is_batched", request.param)
    return bool(request.param)


@pytest.mark.parametrize("name", NEURAL)
def test_every_model_learns_what_it_learns_alone(
    name: str, city: EncodedCity, batches: list[Batch], is_batched: bool
) -> None:
    configs = [configuration(constraint_weight=weight, weight_global=weight) for weight in (0.1, 0.5, 2.0)]
    alone, group = make(name, city, configs), CellGroup(make(name, city, configs))
    expected = [train_alone(model, batches) for model in alone]
    found = train_together(group, batches)
    for step, terms in enumerate(found):
        for term, values in terms.items():
            theirs = torch.stack([terms[step][term] for terms in expected])
            torch.testing.assert_close(values, theirs, rtol=2e-4, atol=2e-5)
    group.eval()
    predicted = group.predict_step(batches[0], 0)
    for place, model in enumerate(alone):
        model.eval()
        for probability, values in model.predict_step(batches[0], 0).items():
            torch.testing.assert_close(predicted[probability][place], values, rtol=1e-3, atol=1e-5)
    for place, model in enumerate(alone):
        released = group.release(place)
        assert released.notes().keys() == model.notes().keys()
        state = released.state_dict()
        assert state.keys() == model.state_dict().keys()
        for key, values in model.state_dict().items():
            torch.testing.assert_close(state[key], values, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("knobs", [{"optimizer": "adam"}, {"item_dim": 10}, {"eta_length": 0, "din_length": 0}])
def test_other_configurations_agree_as_well(
    knobs: dict[str, Any], city: EncodedCity, batches: list[Batch], is_batched: bool
) -> None:
    configs = [configuration(**knobs)] * 2
    alone, group = make("esmm", city, configs), CellGroup(make("esmm", city, configs))
    for model in alone:
        train_alone(model, batches)
    train_together(group, batches)
    for place, model in enumerate(alone):
        state = group.release(place).state_dict()
        for key, values in model.state_dict().items():
            torch.testing.assert_close(state[key], values, rtol=1e-3, atol=2e-4)


def test_seeds_and_coefficients_stay_apart(city: EncodedCity, batches: list[Batch], is_batched: bool) -> None:
    """Models of the same seed and coefficient end equal, others do not."""
    configs = [configuration(constraint_weight=weight, learning_rate=0.1) for weight in (0.5, 0.5, 100.0)]
    models = [MODELS.get("esmc")(config, InputShape.of(city), 3) for config in configs]
    group = CellGroup(models)
    train_together(group, batches)
    first, same, other = (group.release(place).notes()["tower_distance"] for place in range(3))
    assert first == pytest.approx(same, rel=1e-3)
    assert abs(first - other) > 0.01
