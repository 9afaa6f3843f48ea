"""Towers against separate stacks of nn.Linear."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.nn.mlp import ACTIVATIONS, Towers

NAMES = ("ctr", "cvr", "car")


def make(
    hidden: tuple[int, ...] = (6, 4), outputs: int | None = 1, names: tuple[str, ...] = NAMES, **kw: str
) -> Towers:
    towers = Towers(names, 5, hidden, outputs, **kw)
    towers.reset(11)
    for bias in towers.biases:  # biases start at zero, which would hide a wrong one
        bias.data.normal_(generator=torch.Generator().manual_seed(12))
    return towers


def stack_of(towers: Towers, name: str, activation: str) -> nn.Sequential:
    """The same tower as plain linear layers."""
    layers: list[nn.Module] = []
    parameters = towers.tower(name)
    for index, (weight, bias) in enumerate(parameters):
        linear = nn.Linear(*weight.shape)
        linear.weight.data.copy_(weight.detach().T)
        linear.bias.data.copy_(bias.detach())
        layers.append(linear)
        if index < len(parameters) - 1 or not towers.linear_output:
            layers.append({"leaky_relu": nn.LeakyReLU(0.01), "relu": nn.ReLU()}[activation])
    return nn.Sequential(*layers)


def gradient_of(towers: Towers, name: str) -> list[tuple[Tensor, Tensor]]:
    index = towers.names.index(name)
    return [(w.grad[index], b.grad[index, 0]) for w, b in zip(towers.weights, towers.biases, strict=True)]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize(("hidden", "outputs"), [((6, 4), 1), ((6, 4), None), ((), 3), ((7,), 2)])
@pytest.mark.parametrize("shared", [True, False])
def test_values_and_gradients_equal_linear_stacks(
    activation: str, hidden: tuple[int, ...], outputs: int | None, shared: bool
) -> None:
    towers = make(hidden, outputs, activation=activation)
    generator = torch.Generator().manual_seed(13)
    x = torch.randn(*(() if shared else (3,)), 9, 5, generator=generator, requires_grad=True)
    found = towers(x)
    weigh = torch.randn(found.shape, generator=generator)
    (found * weigh).sum().backward()
    x_grad, x.grad = x.grad, None
    for index, name in enumerate(NAMES):
        stack = stack_of(towers, name, activation)
        expected = stack(x if shared else x[index])
        torch.testing.assert_close(found[index], expected)
        (expected * weigh[index]).sum().backward()
        linears = [layer for layer in stack if isinstance(layer, nn.Linear)]
        for linear, (weight, bias) in zip(linears, gradient_of(towers, name), strict=True):
            torch.testing.assert_close(weight, linear.weight.grad.T)
            torch.testing.assert_close(bias, linear.bias.grad)
    torch.testing.assert_close(x_grad, x.grad)


def test_logits_go_by_name() -> None:
    towers, x = make(), torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    logits = towers.logits(x)
    assert list(logits) == list(NAMES)
    for name in NAMES:
        torch.testing.assert_close(logits[name], stack_of(towers, name, "leaky_relu")(x)[:, 0])


def test_without_layers_the_input_passes() -> None:
    """A shared bottom of no layers: what a single hidden width leaves of it."""
    x = torch.randn(4, 5)
    assert torch.equal(Towers(("a", "b"), 5, (), None)(x), x.expand(2, 4, 5))


def test_initial_values_go_by_name_whatever_stands_beside() -> None:
    few, many = Towers(("ctr", "cvr"), 5, (6, 4)), Towers(("car", "cvr", "ctr", "more"), 5, (6, 4))
    few.reset(1)
    many.reset(1)
    for name in ("ctr", "cvr"):
        for (weight, _), (other, _) in zip(few.tower(name), many.tower(name), strict=True):
            assert torch.equal(weight, other)
    assert not torch.equal(few.tower("ctr")[0][0], few.tower("cvr")[0][0])
    many.reset(2)
    assert not torch.equal(few.tower("ctr")[0][0], many.tower("ctr")[0][0])


def test_initial_values_are_he_uniform() -> None:
    """Uniform on ±sqrt(6 / fan_in) before an activation (He et al. 2015), ±sqrt(1 / fan_in) before the output."""
    towers = Towers(("a",), 300, (400,), 50)
    towers.reset(0)
    for weight, bound in zip(towers.weights, ((6 / 300) ** 0.5, (1 / 400) ** 0.5), strict=True):
        assert weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert weight.abs().max().item() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert all((bias == 0).all() for bias in towers.biases)


def test_dropout_works_in_training_only() -> None:
    towers = Towers(("a", "b"), 5, (400,), None, dropout=0.5)
    towers.reset(0)
    towers.weights[0].data[1] = towers.weights[0].data[0]
    x = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    expected = towers.eval()(x)
    assert torch.equal(towers(x), expected)
    torch.manual_seed(0)
    dropped = towers.train()(x)
    gone = dropped == 0
    assert gone.double().mean().item() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(dropped[~gone], 2 * expected[~gone])
    assert not torch.equal(gone[0], gone[1])  # each tower draws its own


def test_no_dropout_on_the_output() -> None:
    towers = Towers(("a",), 5, (), 100, dropout=0.9)
    towers.reset(0)
    x = torch.randn(8, 5)
    assert torch.equal(towers.train()(x), towers.eval()(x))
