"""The embedding table against nn.Embedding: same values, same gradients, nothing else touched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.nn.embedding import EmbeddingTable
from bench.nn.optimisers import AdagradDecay, Adam, RowOptimizer

IDS = torch.tensor([[3, 7, 3], [0, 7, 7], [3, 19, 0]])


def table_of(rows: int = 20, dim: int = 4) -> EmbeddingTable:
    table = EmbeddingTable(rows, dim, std=0.5)
    table.reset(torch.Generator().manual_seed(1))
    return table


def loss_of(vectors: Tensor) -> Tensor:
    """Weighs every looked-up number differently, so that a swapped one shows."""
    return (vectors * torch.arange(1.0, vectors.numel() + 1).view_as(vectors)).square().sum()


def test_values_equal_the_rows() -> None:
    table = table_of()
    assert torch.equal(table(IDS), table.weight[IDS])
    table.eval()
    assert torch.equal(table(IDS), table.weight[IDS])


def test_initial_values_follow_the_seed_and_the_deviation() -> None:
    table = EmbeddingTable(5000, 8, std=0.25)
    table.reset(torch.Generator().manual_seed(3))
    first = table.weight.clone()
    assert first.std().item() == pytest.approx(0.25, rel=0.02)
    assert first.mean().abs().item() < 0.01
    table.reset(torch.Generator().manual_seed(3))
    assert torch.equal(table.weight, first)
    table.reset(torch.Generator().manual_seed(4))
    assert not torch.equal(table.weight, first)


def test_gradient_equals_that_of_an_embedding_with_duplicate_ids() -> None:
    table = table_of()
    reference = nn.Embedding.from_pretrained(table.weight.detach().clone(), freeze=False)
    loss_of(table(IDS)).backward()
    loss_of(reference(IDS)).backward()
    assert table.touched is not None
    rows, leaf, _ = table.touched
    assert sorted(rows.tolist()) == [0, 3, 7, 19]  # distinct, each once
    dense = torch.zeros_like(table.weight).index_copy(0, rows, leaf.grad)
    torch.testing.assert_close(dense, reference.weight.grad)
    assert table.weight.grad is None


@pytest.mark.parametrize("seed", range(3))
def test_distinct_ids_on_random_lookups(seed: int) -> None:
    """Repeated lookups reuse the scratch vector; no stale entry may show."""
    table = table_of(rows=50)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(20):
        flat = torch.randint(0, 50, (int(torch.randint(1, 80, (1,), generator=generator)),), generator=generator)
        rows, local = table._distinct(flat)
        assert torch.equal(rows[local], flat)
        assert sorted(rows.tolist()) == sorted(set(flat.tolist()))


def test_an_empty_lookup_gives_no_vectors() -> None:
    assert table_of()(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 3, 4)


@pytest.mark.parametrize("optimiser", [AdagradDecay, Adam])
def test_only_touched_rows_change(optimiser: type[RowOptimizer]) -> None:
    table = table_of()
    before = table.weight.clone()
    optimizer = optimiser([], [table], lr=0.1)  # type: ignore[call-arg, arg-type, list-item]
    for _ in range(3):
        optimizer.zero_grad()
        loss_of(table(IDS)).backward()
        optimizer.step()
    touched = torch.zeros(20, dtype=torch.bool).index_fill(0, IDS.unique(), True)
    assert torch.equal(table.weight[~touched], before[~touched])  # bit for bit
    assert (table.weight[touched] != before[touched]).all()
    for values in optimizer.state[table.weight].values():
        assert (values[~touched] == 0).all()


def test_no_gradient_is_kept_without_training() -> None:
    table = table_of().eval()
    assert not table(IDS).requires_grad
    assert table.touched is None
    table.train()
    with torch.no_grad():
        assert not table(IDS).requires_grad
    assert table.touched is None


def test_a_lookup_over_an_unused_gradient_is_refused() -> None:
    table = table_of()
    loss_of(table(IDS)).backward()
    with pytest.raises(RuntimeError, match="one lookup a step"):
        table(IDS)


def test_two_lookups_in_one_step_are_refused() -> None:
    """The gradient of the first would be lost without a word."""
    table = table_of()
    loss = loss_of(table(IDS)) + loss_of(table(IDS + 0))
    with pytest.raises(RuntimeError, match="one lookup a step"):
        loss.backward()


def test_a_lookup_without_backward_does_no_harm() -> None:
    table = table_of()
    table(IDS)
    loss_of(table(IDS)).backward()
    assert table.touched is not None
    assert table.touched.leaf.grad is not None
    table.eval()
    table(IDS)  # evaluation between backward and step
    AdagradDecay([], [table]).step()
    assert table.touched is None


def test_the_scratch_vector_is_not_saved() -> None:
    assert set(table_of().state_dict()) == {"weight"}
