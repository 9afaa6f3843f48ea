"""The update of touched rows on any device, against torch's Adagrad over the whole table."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.nn.embedding import EmbeddingTable, Touched
from bench.nn.optimisers import AdagradDecay, Adam, RowOptimizer

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA])]
ROWS, DIM, STEPS = 60, 8, 25


def lookups(device: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ids with many equal ones, and what each vector is multiplied by."""
    generator = torch.Generator().manual_seed(0)
    draws = [(torch.randint(0, 40, (7, 30), generator=generator), generator) for _ in range(STEPS)]
    return [(ids.to(device), torch.randn(7, 30, DIM, generator=each).to(device)) for ids, each in draws]


def learned(device: str, optimiser: type[RowOptimizer]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The table and the state after all steps."""
    table = EmbeddingTable(ROWS, DIM, std=0.5)
    table.reset(torch.Generator().manual_seed(1))
    table.to(device)
    optimizer = optimiser([], [table], lr=0.1)  # type: ignore[call-arg, arg-type, list-item]
    for ids, factors in lookups(device):
        optimizer.zero_grad()
        (table(ids) * factors).tanh().sum().backward()
        optimizer.step()
    return table.weight.detach(), optimizer.state[table.weight]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fixed", [False, True])
def test_it_is_adagrad(device: str, fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddingTable, "of_fixed_size", fixed)
    reference = EmbeddingTable(ROWS, DIM, std=0.5)
    reference.reset(torch.Generator().manual_seed(1))
    dense = nn.Embedding.from_pretrained(reference.weight.detach().to(device), freeze=False)
    optimizer = torch.optim.Adagrad(dense.parameters(), lr=0.1, eps=1e-10)
    for ids, factors in lookups(device):
        optimizer.zero_grad()
        (dense(ids) * factors).tanh().sum().backward()
        optimizer.step()
    weight, state = learned(device, AdagradDecay)
    torch.testing.assert_close(weight, dense.weight.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state["accumulator"], optimizer.state[dense.weight]["sum"], rtol=1e-4, atol=1e-5)
    assert (state["accumulator"][40:] == 0).all()


@pytest.mark.parametrize("optimiser", [AdagradDecay, Adam])
def test_lookups_of_fixed_size_learn_the_same(optimiser: type[RowOptimizer], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, wanted_state = learned("cpu", optimiser)
    monkeypatch.setattr(EmbeddingTable, "of_fixed_size", True)
    weight, state = learned("cpu", optimiser)
    torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-5)
    for name, values in wanted_state.items():
        torch.testing.assert_close(state[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@NO_CUDA
@pytest.mark.parametrize("optimiser", [AdagradDecay, Adam])
def test_cuda_learns_what_the_cpu_learns(optimiser: type[RowOptimizer]) -> None:
    (weight, state), (wanted, wanted_state) = (learned(device, optimiser) for device in ("cuda", "cpu"))
    torch.testing.assert_close(weight.cpu(), wanted, rtol=1e-4, atol=1e-5)
    for name, values in wanted_state.items():
        torch.testing.assert_close(state[name].cpu(), values, rtol=1e-4, atol=1e-5)


def test_equal_rows_take_what_the_first_of_them_learned() -> None:
    """By hand: rows 3, 3 and 5, of which the first 3 has the gradient of both; lr g / sqrt(g²) is the sign times lr."""
    table = EmbeddingTable(6, 1)
    optimizer = AdagradDecay([], [table], lr=0.5)
    rows = torch.tensor([3, 3, 5])
    table.touched = Touched(rows, torch.zeros(3, 1, requires_grad=True), torch.tensor([0, 0, 2]))
    table.touched.leaf.grad = torch.tensor([[4.0], [0.0], [-2.0]])
    optimizer.step()
    assert table.weight.flatten().tolist() == [0, 0, 0, -0.5, 0, 0.5]
    assert optimizer.state[table.weight]["accumulator"].flatten().tolist() == [0, 0, 0, 16, 0, 4]
