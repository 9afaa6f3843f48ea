"""The data module: same rows, same order for the same seed; calibrated labels in training only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.core.config import Config
from bench.data.datamodule import EVALUATION_ROWS, FunnelDataModule
from bench.data.encoded import LABEL_COLUMNS, EncodedCity

CONFIG = Config(batch_size=256)


def training_order(city: EncodedCity, config: Config = CONFIG, seed: int = 0, epoch: int | None = None) -> list[int]:
    module = FunnelDataModule(city, config, seed)
    if epoch is not None:
        module.trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
    return [row for batch in module.train_dataloader() for row in batch.rows.tolist()]


def test_an_epoch_is_every_training_row_once(city: EncodedCity) -> None:
    start, stop = city.meta.splits["train"]
    sizes = [len(batch.rows) for batch in FunnelDataModule(city, CONFIG).train_dataloader()]
    assert sizes == [256] * ((stop - start) // 256) + [(stop - start) % 256]
    assert sorted(training_order(city)) == list(range(start, stop))


def test_the_order_depends_on_the_epoch_and_if_wanted_on_the_seed(city: EncodedCity) -> None:
    first = training_order(city)
    assert training_order(city, epoch=0) == first
    assert training_order(city, epoch=1) != first
    assert training_order(city, seed=1) == first
    own = CONFIG.model_copy(update={"order": "own"})
    assert training_order(city, own) == first
    assert training_order(city, own, seed=1) != first
    assert training_order(city, Config(batch_size=100, embedding_dim=4, eta_length=0, dropout=0.3)) == first


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("calibration", ["none", "copy", "move"])
def test_evaluation_rows_come_in_stored_order_with_observed_labels(
    city: EncodedCity, split: str, calibration: str
) -> None:
    # Calibrated columns that differ from the observed ones everywhere, as they never should.
    labels = np.array(city.labels)
    labels[:, [4, 5, 7, 8]] = 1 - labels[:, [1]]
    module = FunnelDataModule(replace(city, labels=labels), CONFIG, calibration=calibration)
    batches = list(module.val_dataloader() if split == "valid" else module.test_dataloader())
    rows = np.concatenate([batch.rows for batch in batches])
    assert rows.tolist() == list(range(*city.meta.splits[split]))
    observed = labels[rows][:, [LABEL_COLUMNS.index(name) for name in ("click", "cart", "purchase", "global_none")]]
    assert np.concatenate([batch.labels for batch in batches]).tolist() == observed.tolist()


@pytest.mark.parametrize(("calibration", "column"), [("none", "cart"), ("copy", "cart_copy"), ("move", "cart_move")])
def test_training_carts_are_calibrated(city: EncodedCity, calibration: str, column: str) -> None:
    for batch in FunnelDataModule(city, CONFIG, calibration=calibration).train_dataloader():
        expected = city.labels[batch.rows.numpy(), LABEL_COLUMNS.index(column)]
        assert batch.labels[:, 1].tolist() == expected.tolist()


def test_evaluation_batches_do_not_depend_on_the_batch_size(build_city: Callable[..., EncodedCity]) -> None:
    city = build_city(rows=5 * EVALUATION_ROWS)
    sizes = [len(batch.rows) for batch in FunnelDataModule(city, CONFIG).train_dataloader()]
    assert max(sizes) == 256
    sizes = [len(batch.rows) for batch in FunnelDataModule(city, CONFIG).val_dataloader()]
    assert max(sizes) <= EVALUATION_ROWS
    start, stop = city.meta.splits["test"]
    sizes = [len(batch.rows) for batch in FunnelDataModule(city, CONFIG).test_dataloader()]
    assert sizes == [EVALUATION_ROWS] * ((stop - start) // EVALUATION_ROWS) + [(stop - start) % EVALUATION_ROWS]


@pytest.mark.parametrize(("din", "eta", "longest"), [(20, 100, 100), (20, 5, 20), (20, 0, 20), (0, 50, 50), (0, 0, 0)])
def test_histories_are_as_long_as_din_and_eta_need(city: EncodedCity, din: int, eta: int, longest: int) -> None:
    config = Config(din_length=din, eta_length=eta)
    for batch in FunnelDataModule(city, config).val_dataloader():
        assert max(own.events.shape[1] for own in batch.histories) == longest


def test_short_histories_are_not_padded_to_the_longest(city: EncodedCity) -> None:
    """What DIN reads whole, what ETA reads whole, and what it chooses from lie apart."""
    config = Config(din_length=5, eta_length=60, eta_top_k=12, batch_size=256)
    batch = next(iter(FunnelDataModule(city, config).train_dataloader()))
    assert len(batch.histories) == 3
    for own, least, most in zip(batch.histories, (0, 6, 13), (5, 12, 60), strict=True):
        assert set(own.mask.sum(1).tolist()) <= set(range(least, most + 1))
