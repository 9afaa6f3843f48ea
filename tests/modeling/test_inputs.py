"""The shared input: every part row by row, and no part of it dependent on how rows are grouped into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.core.config import Config
from bench.data.batches import Batch, BatchMaker
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import FunnelInputs, InputShape

DIM = 5
CONFIG = Config(embedding_dim=DIM, din_length=6, eta_length=30, eta_top_k=4, eta_bits=16, attention_hidden=7)


def make(city: EncodedCity, config: Config = CONFIG, seed: int = 0) -> FunnelInputs:
    inputs = FunnelInputs(config, InputShape.of(city))
    inputs.reset(seed)
    return inputs


def batch_of(city: EncodedCity, rows: np.ndarray, config: Config = CONFIG) -> Batch:
    return BatchMaker(city, max(config.din_length, config.eta_length)).make(rows)


@pytest.fixture
def small(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    """Some visits have no history, one event, or exactly as many as DIN reads or ETA keeps."""
    city = build_city(rows=300)
    start = city.history_start.copy()
    for visit, length in enumerate((0, 1, 3, 4, 5, 6, 7)):
        start[visit] = max(start[visit], city.history_stop[visit] - length)
    return replace(city, history_start=start)


def test_every_part_row_by_row(small: EncodedCity) -> None:
    """Field embeddings in order, then DIN over the newest 6 events, then ETA over the newest 30."""
    inputs, rows = make(small).eval(), np.arange(120)
    assert inputs.din is not None
    assert inputs.eta is not None
    assert inputs.context is not None
    batch = batch_of(small, rows)
    found = inputs(batch)
    fields = len(small.meta.fields)
    assert found.shape == (120, inputs.width) == (120, DIM * (fields + 2))
    table = inputs.table.weight
    for row in range(120):
        own = table[batch.ids[row]]
        block = int(batch.slots[row]) // batch.block_rows
        kept = batch.histories[0].mask[block]
        events = (
            table[batch.histories[0].events[block][kept]] + inputs.context[batch.histories[0].contexts[block][kept]]
        )[None]
        item = own[0].view(1, 1, -1)
        parts = [own.flatten()]
        for module, length in ((inputs.din, 6), (inputs.eta, 30)):
            recent = events[:, -length:]
            parts.append(module(item, recent, torch.ones(1, recent.shape[1], dtype=torch.bool)).flatten())
        torch.testing.assert_close(found[row], torch.cat(parts), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_grouping_into_batches_changes_nothing(small: EncodedCity, training: bool) -> None:
    inputs, rows = make(small).train(training), np.arange(120)
    whole = inputs(batch_of(small, rows)).detach()
    alone = torch.cat([inputs(batch_of(small, rows[i : i + 1])).detach() for i in range(120)])
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-6)
    order = np.random.default_rng(0).permutation(120)
    torch.testing.assert_close(inputs(batch_of(small, rows[order])).detach(), whole[order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cuts", [(4,), (6,), (4, 6), (1, 3, 40)])
@pytest.mark.parametrize(("din", "eta"), [(6, 30), (6, 0), (0, 30), (30, 6)])
def test_grouping_histories_by_length_changes_nothing(
    small: EncodedCity, cuts: tuple[int, ...], din: int, eta: int
) -> None:
    """Neither what is found nor what is learned, beyond rounding."""
    config, rows = CONFIG.model_copy(update={"din_length": din, "eta_length": eta}), np.arange(120)
    results = []
    for own in ((), cuts):
        batch = BatchMaker(small, max(din, eta), cuts=own).make(rows)
        assert (len(batch.histories) > 1) == bool(own) or max(din, eta) <= min(own)
        inputs = make(small, config).train()
        found = inputs(batch)
        (found * torch.arange(1.0, found.numel() + 1).view_as(found).sin()).sum().backward()
        touched = inputs.table.touched
        assert touched is not None and touched.leaf.grad is not None
        order = touched.rows.argsort()
        gradients = [parameter.grad for parameter in inputs.parameters() if parameter.requires_grad]
        results.append([found.detach(), touched.rows[order], touched.leaf.grad[order], *gradients])
        assert torch.allclose(make(small, config).eval()(batch), found, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-5)


def test_the_parts_are_not_constant(small: EncodedCity) -> None:
    """Guards the tests above: with dead parts they would all pass."""
    found = make(small).eval()(batch_of(small, np.arange(120)))
    assert (found.std(0) > 0).all()


@pytest.mark.parametrize(
    ("din", "eta", "parts"), [(6, 30, 2), (6, 0, 1), (0, 30, 1), (0, 0, 0)], ids=["both", "din", "eta", "none"]
)
def test_din_and_eta_can_be_switched_off(small: EncodedCity, din: int, eta: int, parts: int) -> None:
    config = CONFIG.model_copy(update={"din_length": din, "eta_length": eta})
    inputs, rows = make(small, config).eval(), np.arange(60)
    found = inputs(batch_of(small, rows, config))
    assert inputs.width == found.shape[1] == DIM * (6 + parts)
    assert (inputs.din is None, inputs.eta is None, inputs.context is None) == (din == 0, eta == 0, parts == 0)
    both = make(small).eval()(batch_of(small, rows))  # parts of the same name start equal
    kept = [*range(6), *([6] if din else []), *([7] if eta else [])]
    torch.testing.assert_close(found, both.view(60, 8, DIM)[:, kept].reshape(60, -1))


@pytest.mark.parametrize(("din", "eta"), [(2, 9), (9, 2)])
def test_each_reads_its_own_length_and_no_more(small: EncodedCity, din: int, eta: int) -> None:
    config = CONFIG.model_copy(update={"din_length": din, "eta_length": eta})
    inputs, rows = make(small, config).eval(), np.arange(60)
    batch = batch_of(small, rows, config)
    assert batch.histories[0].events.shape[1] == 9
    before = inputs(batch).view(60, 8, DIM)
    older = batch.histories[0].events.clone()
    older[:, :-2] = 0
    after = inputs(batch._replace(histories=(batch.histories[0]._replace(events=older),))).view(60, 8, DIM)
    short, long = (6, 7) if din == 2 else (7, 6)
    assert torch.equal(before[:, short], after[:, short])
    assert not torch.equal(before[:, long], after[:, long])


def test_only_ids_of_the_batch_are_touched(small: EncodedCity) -> None:
    inputs, rows = make(small), np.arange(40)
    batch = batch_of(small, rows)
    inputs(batch).square().sum().backward()
    assert inputs.table.touched is not None
    expected = set(batch.ids.flatten().tolist()) | set(batch.histories[0].events[batch.histories[0].mask].tolist())
    assert set(inputs.table.touched.rows.tolist()) == expected


def test_gradients_are_finite_without_any_history(small: EncodedCity) -> None:
    empty = replace(small, history_start=small.history_stop)
    inputs = make(empty)
    inputs(batch_of(empty, np.arange(40))).square().sum().backward()
    assert inputs.table.touched is not None
    assert torch.isfinite(inputs.table.touched.leaf.grad).all()
    for name, parameter in inputs.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_context_embeddings_learn_from_events_that_exist(small: EncodedCity) -> None:
    inputs, batch = make(small), batch_of(small, np.arange(40))
    inputs(batch).square().sum().backward()
    assert inputs.context is not None
    moved = inputs.context.grad.abs().sum(1) > 0
    assert set(moved.nonzero().flatten().tolist()) == set(batch.histories[0].contexts[batch.histories[0].mask].tolist())


def test_initial_values_follow_the_seed(small: EncodedCity) -> None:
    first, again, other = (make(small, seed=seed).state_dict() for seed in (3, 3, 4))
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(first["table.weight"], other["table.weight"])
    assert first["table.weight"].std().item() == pytest.approx(CONFIG.embedding_std, rel=0.15)


def test_data_without_an_item_field_has_no_history_parts(small: EncodedCity) -> None:
    """A log without events need not have the feature ``item``."""
    fields = tuple(field.model_copy(update={"name": f"f{index}"}) for index, field in enumerate(small.meta.fields))
    nothing = 0 * small.history_stop
    meta = small.meta.model_copy(update={"fields": fields})
    city = replace(small, meta=meta, history_start=nothing, history_stop=nothing)
    inputs = make(city)
    assert InputShape.of(city).item is None
    assert inputs(batch_of(city, np.arange(20))).shape == (20, DIM * 6)


def test_the_item_field_is_found_by_name(small: EncodedCity) -> None:
    fields = (*small.meta.fields[1:], small.meta.fields[0])
    shape = InputShape.of(replace(small, meta=small.meta.model_copy(update={"fields": fields})))
    assert shape == InputShape(
        vocabulary=120, fields=6, item=5, items=(0, 20), sizes=(20,) * 6, ordered=(False,) * 6, widths=(1,) * 6
    )
