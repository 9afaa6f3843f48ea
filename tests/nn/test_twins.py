"""Twin towers: what they compute, how they start, and that only their difference feels a constraint."""

from __future__ import annotations

import pytest
import torch

from bench.nn.mlp import Towers
from bench.nn.twins import TwinTowers

NAMES = ("ctr", "cvr", "car")


def make() -> TwinTowers:
    towers = TwinTowers(NAMES, 5, (6, 4))
    towers.reset(3)
    return towers


def test_they_start_equal_and_as_plain_towers_do() -> None:
    towers, plain = make(), Towers(NAMES, 5, (6, 4))
    plain.reset(3)
    for name, like in (("ctr", "ctr"), ("cvr", "cvr"), ("car", "cvr")):
        for (weight, bias), (expected, expected_bias) in zip(towers.tower(name), plain.tower(like), strict=True):
            assert torch.equal(weight, expected)
            assert torch.equal(bias, expected_bias)


def test_mean_and_half_difference_by_hand() -> None:
    """Kept 5 and 2 are the towers 7 and 3; the others stay as they are."""
    towers = make()
    for tensor in (*towers.weights, *towers.biases):
        for index, value in enumerate((4.0, 5.0, 2.0)):
            tensor.data[index].fill_(value)
    for name, value in (("ctr", 4.0), ("cvr", 7.0), ("car", 3.0)):
        for weight, bias in towers.tower(name):
            assert (weight == value).all()
            assert (bias == value).all()
    for name, twin in zip(("cvr", "car"), towers.twins(), strict=True):
        for own, expected in zip(twin, towers.tower(name), strict=True):
            assert all(torch.equal(*pair) for pair in zip(own, expected, strict=True))


def test_the_same_function_as_plain_towers_with_those_parameters() -> None:
    towers, plain = make(), Towers(NAMES, 5, (6, 4))
    for tensor in (*towers.weights, *towers.biases):
        tensor.data.normal_(generator=torch.Generator().manual_seed(tensor.numel()))
    for layer, (weight, bias) in enumerate(towers.layers()):
        plain.weights[layer].data.copy_(weight)
        plain.biases[layer].data.copy_(bias)
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(towers(x), plain(x), rtol=0, atol=0)


def test_gradients_split_into_sum_and_difference() -> None:
    """For a loss of one twin both get its gradient; a function of the difference leaves the mean alone."""
    towers = make()
    (car_weight, _), (cvr_weight, _) = towers.tower("car")[0], towers.tower("cvr")[0]
    (3.0 * cvr_weight + 2.0 * car_weight).sum().backward()
    grad = towers.weights[0].grad
    assert grad is not None
    assert (grad[1] == 5.0).all()  # as one tower with both losses
    assert (grad[2] == 1.0).all()
    assert (grad[0] == 0.0).all()


def test_fewer_than_two_are_refused() -> None:
    with pytest.raises(ValueError, match="two towers"):
        TwinTowers(("ctr",), 5, (6,))
