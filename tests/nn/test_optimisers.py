"""Optimisers against torch.optim and against the update rules written out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.nn.embedding import EmbeddingTable
from bench.nn.optimisers import AdagradDecay, Adam, RowOptimizer

STEPS = 12


def dense_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))


def run_dense(make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> list[Tensor]:
    model = dense_model()
    optimizer = make(list(model.parameters()))
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        x = torch.randn(16, 5, generator=generator)
        optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def id_stream(seed: int = 2) -> list[Tensor]:
    """Few ids a step of many, with repetitions, so that rows are touched in some steps only."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 15, (6,), generator=generator) for _ in range(STEPS)]


def row_loss(vectors: Tensor, step: int) -> Tensor:
    target = torch.linspace(-1, 1, vectors.numel()).view_as(vectors) * (step + 1)
    return (vectors - target).square().sum()


def run_rows(table: nn.Module, optimizer: torch.optim.Optimizer, stream: list[Tensor], start: int = 0) -> Tensor:
    for step, ids in enumerate(stream, start):
        optimizer.zero_grad()
        row_loss(table(ids), step).backward()
        optimizer.step()
    return table.weight.detach()  # type: ignore[union-attr, return-value, operator]


def table_of() -> EmbeddingTable:
    table = EmbeddingTable(15, 3, std=0.3)
    table.reset(torch.Generator().manual_seed(5))
    return table


def embedding_of(sparse: bool = False) -> nn.Embedding:
    return nn.Embedding.from_pretrained(table_of().weight.detach().clone(), freeze=False, sparse=sparse)


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_adagrad_dense_equals_torch(start: float) -> None:
    ours = run_dense(lambda p: AdagradDecay(p, lr=0.05, initial_accumulator=start))
    theirs = run_dense(lambda p: torch.optim.Adagrad(p, lr=0.05, initial_accumulator_value=start))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_adagrad_rows_equal_torch(start: float) -> None:
    table, reference = table_of(), embedding_of()
    ours = run_rows(table, AdagradDecay([], [table], lr=0.05, initial_accumulator=start), id_stream())
    optimizer = torch.optim.Adagrad(reference.parameters(), lr=0.05, initial_accumulator_value=start)
    torch.testing.assert_close(ours, run_rows(reference, optimizer, id_stream()))


def test_adam_dense_equals_torch() -> None:
    ours = run_dense(lambda p: Adam(p, lr=0.01))
    theirs = run_dense(lambda p: torch.optim.Adam(p, lr=0.01))
    torch.testing.assert_close(ours, theirs)


def test_adam_rows_equal_sparse_adam() -> None:
    """SparseAdam adds eps before the bias correction, Adam after it: with gradients of size 1 that is 1e-6."""
    table, reference = table_of(), embedding_of(sparse=True)
    ours = run_rows(table, Adam([], [table], lr=0.01), id_stream())
    optimizer = torch.optim.SparseAdam(reference.parameters(), lr=0.01)
    torch.testing.assert_close(ours, run_rows(reference, optimizer, id_stream()), rtol=1e-4, atol=1e-6)


def test_adam_rows_by_hand() -> None:
    """Moments of a row stand still while it is not touched; the bias correction counts all steps."""
    table = table_of()
    weight = table.weight.detach().double().numpy().copy()
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    found = run_rows(table, Adam([], [table], lr=0.01), id_stream())
    for step, ids in enumerate(id_stream()):
        vectors = weight[ids.numpy()]
        target = (torch.linspace(-1, 1, vectors.size).view(vectors.shape) * (step + 1)).numpy()
        grad = np.zeros_like(weight)
        np.add.at(grad, ids.numpy(), 2 * (vectors - target))
        for row in set(ids.tolist()):
            mean[row] = 0.9 * mean[row] + 0.1 * grad[row]
            square[row] = 0.999 * square[row] + 0.001 * grad[row] ** 2
            corrected = mean[row] / (1 - 0.9 ** (step + 1)), square[row] / (1 - 0.999 ** (step + 1))
            weight[row] -= 0.01 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    np.testing.assert_allclose(found, weight, rtol=1e-5, atol=1e-6)


def test_adagrad_decay_by_hand() -> None:
    """v decays by 0.5 before the steps 2 and 4 and 6, as soon as those before them are done, never below its start, in
    dense and in embedding state.
    """
    start, decay, period, lr = 0.3, 0.5, 2, 0.1
    dense, table = nn.Parameter(torch.tensor([1.0])), EmbeddingTable(2, 1)
    table.weight.data.fill_(1.0)
    optimizer = AdagradDecay([dense], [table], lr=lr, initial_accumulator=start, decay=decay, period=period)
    grads = [0.5, -1.0, 0.01, 2.0, 0.1, 0.2, -0.7]
    weight, accumulator, idle = 1.0, start, start
    for step, grad in enumerate(grads, 1):
        optimizer.zero_grad()
        (grad * dense.sum() + grad * table(torch.tensor([0])).sum()).backward()
        optimizer.step()
        accumulator += grad**2
        weight -= lr * grad / (accumulator**0.5 + 1e-10)
        if (step + 1) % period == 0:
            accumulator, idle = max(decay * accumulator, start), max(decay * idle, start)
        assert dense.item() == pytest.approx(weight, rel=1e-5)
        assert table.weight[0].item() == pytest.approx(weight, rel=1e-5)
        assert optimizer.state[table.weight]["accumulator"].flatten().tolist() == pytest.approx([accumulator, idle])
    assert table.weight[1].item() == 1.0


@pytest.mark.parametrize("optimiser", [AdagradDecay, Adam])
def test_a_gradient_may_lie_otherwise_in_memory_than_its_parameter(optimiser: type[RowOptimizer]) -> None:
    gradient = torch.arange(1.0, 25.0).view(6, 4).T
    found = []
    for grad in (gradient, gradient.contiguous()):
        parameter = nn.Parameter(torch.ones(4, 6))
        optimizer = optimiser([parameter], lr=0.1)
        for own in (grad, 25.0 - grad):  # not a multiple: Adagrad would not see its size
            parameter.grad = own
            optimizer.step()
        found.append(parameter.detach())
    assert gradient.stride() != parameter.stride()
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-7)


def test_zero_gradients_do_not_move_or_divide_by_zero() -> None:
    parameter = nn.Parameter(torch.ones(3))
    for optimizer in (AdagradDecay([parameter], lr=1.0), Adam([parameter], lr=1.0)):
        parameter.grad = torch.zeros(3)
        optimizer.step()
        assert torch.equal(parameter.detach(), torch.ones(3))


@pytest.mark.parametrize("optimiser", [AdagradDecay, Adam])
def test_state_dict_round_trip_continues_bitwise(optimiser: type[RowOptimizer]) -> None:
    stream = id_stream()
    options: dict[str, float] = {"lr": 0.05} | ({"period": 4, "decay": 0.5} if optimiser is AdagradDecay else {})

    def make() -> tuple[EmbeddingTable, RowOptimizer]:
        table = table_of()
        return table, optimiser([], [table], **options)  # type: ignore[arg-type]

    table, optimizer = make()
    run_rows(table, optimizer, stream)
    first, first_optimizer = make()
    run_rows(first, first_optimizer, stream[:5])
    second, second_optimizer = make()
    second.load_state_dict(first.state_dict())
    second_optimizer.load_state_dict(first_optimizer.state_dict())
    run_rows(second, second_optimizer, stream[5:], start=5)
    assert torch.equal(second.weight, table.weight)


@pytest.mark.parametrize("optimiser", [AdagradDecay, Adam])
def test_the_learning_rate_of_a_schedule_reaches_dense_parameters_and_rows(optimiser: type[RowOptimizer]) -> None:
    dense, table = nn.Parameter(torch.ones(1)), EmbeddingTable(2, 1)
    table.weight.data.fill_(1.0)
    optimizer = optimiser([dense], [table], lr=0.4)  # type: ignore[call-arg]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 4)
    moved = []
    for row in (0, 1):  # a fresh row each time: the first step of either rule is lr long
        before = table.weight[row].item()
        optimizer.zero_grad()
        (dense.sum() + table(torch.tensor([row])).sum()).backward()
        optimizer.step()
        schedule.step()
        moved.append(before - table.weight[row].item())
    assert moved[0] == pytest.approx(0.1, rel=1e-4)
    assert 1 - dense.item() > 0.1
    if optimiser is AdagradDecay:
        assert moved[1] == pytest.approx(0.2, rel=1e-4)
        assert 1 - dense.item() == pytest.approx(0.1 + 0.2 / 2**0.5, rel=1e-4)


def test_frozen_parameters_are_left_out() -> None:
    frozen, live = nn.Parameter(torch.ones(1), requires_grad=False), nn.Parameter(torch.ones(1))
    optimizer = Adam([frozen, live])
    assert [p for group in optimizer.param_groups for p in group["params"]] == [live]


def test_zero_grad_between_forward_and_backward_keeps_the_lookup() -> None:
    """Lightning's order: forward, zero_grad, backward, step. The rows must still be updated."""
    table = table_of()
    before = table.weight.clone()
    optimizer = AdagradDecay([], [table], lr=0.1)

    def closure() -> Tensor:
        loss = row_loss(table(torch.tensor([1, 2])), 0)
        optimizer.zero_grad()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > 0
    assert (table.weight != before).any(1).nonzero().flatten().tolist() == [1, 2]


def test_zero_grad_drops_a_gradient_that_was_not_used() -> None:
    table = table_of()
    before = table.weight.clone()
    optimizer = AdagradDecay([], [table], lr=0.1)
    row_loss(table(torch.tensor([1, 2])), 0).backward()
    optimizer.zero_grad()
    optimizer.step()
    assert torch.equal(table.weight, before)
