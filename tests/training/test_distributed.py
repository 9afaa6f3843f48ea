"""Two processes against one on the same global batches."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import numpy as np
import pytest
import torch
from team_members import PROCESSES, Case, End, Left, member, train

from bench.core.config import Config
from bench.data.encoded import EncodedCity

#: 1,024 training rows: 11 batches of 93 rows, in parts of 46 and 47, and one of one row; or 10 of 100 and one of 24.
ROWS = 1500
ODD, EVEN = 93, 100
#: Sums are rounded differently.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def case(model: str, batch_size: int, **knobs: object) -> Case:
    config = Config(
        hidden=(16, 8), embedding_dim=8, embedding_std=0.5, din_length=5, eta_length=12, eta_top_k=4, warmup=0.0,
        learning_rate=0.05, initial_accumulator=0.001, precision="float32", batch_size=batch_size,
    )  # fmt: skip
    return Case(model, config.model_copy(update=knobs))


CASES = (
    case("shared_bottom", ODD),  # the CVR loss is a mean over clicked rows
    case("shared_bottom", EVEN, optimizer="adam"),
    case("esmc", EVEN, constraint_weight=0.5),
    case("esmc", ODD, constraint_weight=0.5, optimizer="adam"),
    case("dnn", 8),  # a table and layers that only clicked rows use: some parts have none
    case("esm2", EVEN, task_weighting="uncertainty", item_dim=12),
)
NAMES = [f"{case.model}-{case.config.optimizer}-{case.config.batch_size}" for case in CASES]


@pytest.fixture(scope="module")
def city(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    return build_city(rows=ROWS, size=8)


@pytest.fixture(scope="module")
def left(city: EncodedCity, tmp_path_factory: pytest.TempPathFactory) -> list[Left]:
    """What each process left."""
    folder, context = tmp_path_factory.mktemp("team"), multiprocessing.get_context("spawn")
    team = [context.Process(target=member, args=(place, folder, city, CASES)) for place in range(PROCESSES)]
    for process in team:
        process.start()
    for process in team:
        process.join(120)
        process.kill()
    assert [process.exitcode for process in team] == [0] * PROCESSES
    return [torch.load(folder / str(place), weights_only=False) for place in range(PROCESSES)]


@pytest.fixture(scope="module")
def alone(city: EncodedCity) -> list[End]:
    """What one process has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ends = [train(case, city) for case in CASES]
    torch.set_num_threads(threads)
    return ends


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_parameters_and_state_are_those_of_one_process(left: list[Left], alone: list[End], number: int) -> None:
    torch.testing.assert_close(left[0].ends[number].parameters, alone[number].parameters, **TOLERANCE)
    torch.testing.assert_close(left[0].ends[number].state, alone[number].state, **TOLERANCE)


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_all_processes_have_the_same_to_the_last_bit(left: list[Left], number: int) -> None:
    first, second = (each.ends[number] for each in left)
    torch.testing.assert_close(first.parameters, second.parameters, rtol=0, atol=0)
    torch.testing.assert_close(first.state, second.state, rtol=0, atol=0)


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_the_curve_is_that_of_the_global_batches(left: list[Left], alone: list[End], number: int) -> None:
    for each in left:
        own = each.ends[number].curve
        assert [point[:2] for point in own] == [point[:2] for point in alone[number].curve]
        for (*_, found), (*_, expected) in zip(own, alone[number].curve, strict=True):
            assert found == pytest.approx(expected, abs=1e-5)
    assert alone[number].curve[-1][1] == 1024


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_the_first_process_has_all_predictions_in_order(left: list[Left], alone: list[End], number: int) -> None:
    found, expected = left[0].ends[number].predictions, alone[number].predictions
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    assert np.ptp(expected["ctr"]) > 0.1
    assert left[1].ends[number].predictions == {}


def difference(one: End, other: End) -> float:
    return max(float((one.parameters[name] - value).abs().max()) for name, value in other.parameters.items())


def test_without_the_exchange_of_rows_the_result_differs(left: list[Left], alone: list[End]) -> None:
    assert difference(left[0].without_rows, alone[0]) > 0.02
    assert difference(left[0].without_rows, left[1].without_rows) > 0.02


def test_the_mean_of_the_processes_losses_is_another_loss(left: list[Left], alone: list[End]) -> None:
    """They have different numbers of clicks."""
    assert difference(left[0].without_losses, alone[0]) > 0.02


def test_gradients_of_rows_are_averaged_by_hand(left: list[Left]) -> None:
    """Row 3: twice 1 of the first process and 10 of the second, so 6; row 1: 1 of the first, so 0.5."""
    for each in left:
        both, one, none = each.updates
        assert both is not None
        assert one is not None
        assert dict(zip(both[0].tolist(), both[1].tolist(), strict=True)) == {3: [6.0, 6.0], 1: [0.5, 0.5]}
        assert dict(zip(one[0].tolist(), one[1].tolist(), strict=True)) == {2: [0.5, 0.5]}
        assert none is None
