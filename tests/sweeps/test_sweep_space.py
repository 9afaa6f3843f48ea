"""The knobs that are tuned, and the order in which the paper's values are tried."""

from __future__ import annotations

import pytest

from bench.core.errors import UserError
from bench.core.registry import MODELS
from sweeps.space import CONSTRAINT, GLOBAL, SPACES, Knob, grid, space_of


def test_the_knobs_of_a_model() -> None:
    assert space_of("esmc") == (CONSTRAINT,)
    assert space_of("esmc2") == space_of("esmc2", ["weight_global", "constraint_weight"]) == (CONSTRAINT, GLOBAL)
    assert space_of("esmc2", ["weight_global"]) == space_of("esms2") == (GLOBAL,)


def test_wrong_knobs_and_models_are_refused() -> None:
    with pytest.raises(UserError, match=r"can be tuned \(esmc, esms2, esmc2\), but got 'mmoe'"):
        space_of("mmoe")
    with pytest.raises(UserError, match=r"unknown knob to tune of esmc2 'weight_globl'. Did you mean 'weight_global'"):
        space_of("esmc2", ["weight_globl"])
    with pytest.raises(UserError, match="unknown knob to tune of esmc 'weight_global'"):
        space_of("esmc", ["constraint_weight", "weight_global"])


def test_the_grid_of_one_knob_keeps_its_order() -> None:
    assert grid([CONSTRAINT]) == [{"constraint_weight": value} for value in (0.01, 0.05, 0.1, 0.5, 1.0)]
    assert (CONSTRAINT.low, CONSTRAINT.high) == (0.01, 1.0)


@pytest.mark.parametrize("sizes", [(3, 3), (2, 4), (4, 2), (2, 3, 2)])
def test_the_grid_of_several_knobs_is_their_product_by_diagonals(sizes: tuple[int, ...]) -> None:
    knobs = [Knob(f"k{at}", tuple(float(value) for value in range(size))) for at, size in enumerate(sizes)]
    points = [tuple(point.values()) for point in grid(knobs)]
    product = 1
    for size in sizes:
        product *= size
    assert len(points) == len(set(points)) == product
    assert points[0] == (0.0,) * len(sizes)
    if len(set(sizes)) == 1:
        assert points[: sizes[0]] == [(float(at),) * len(sizes) for at in range(sizes[0])]


@pytest.mark.parametrize("model", SPACES)
def test_a_searched_knob_belongs_to_its_model(model: str) -> None:
    assert {knob.name for knob in SPACES[model]} <= set(MODELS.get(model).knobs)
    assert all(knob.low > 0 for knob in SPACES[model])
