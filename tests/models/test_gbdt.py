from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import log_loss

from baselines.gbdt import categories
from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.errors import CellError
from bench.core.record import PREDICTIONS, WEIGHTS
from bench.core.registry import MODELS
from bench.core.seeding import derive
from bench.data.encoded import EncodedCity
from bench.data.order import shuffled_by_visit
from bench.modeling.inputs import InputShape
from bench.training.train import train_cell

CONFIG = Config(trees=12, tree_depth=4, batch_size=100, epochs=3)


@pytest.fixture(scope="module")
def toy(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    return build_city(rows=3000, size=8)


def cell_of(config: Config = CONFIG, seed: int = 0) -> Cell:
    return Cell(dataset="toy", fingerprint="toy", city="1", model="gbdt", config=config, seed=seed)


def test_it_is_lightgbm_on_the_rows_of_one_epoch(toy: EncodedCity, tmp_path: Path) -> None:
    """The trees of a direct call with the paper's settings on the same rows in the same order."""
    train_cell(cell_of(), toy, tmp_path)
    found = pq.read_table(tmp_path / PREDICTIONS)
    rows, test = toy.rows("train"), toy.rows("test")
    order = shuffled_by_visit(toy.visit[rows], rows.start, derive(0, "order", 0))
    local = (toy.ids - np.arange(6) * 8).astype(np.float32)
    click, purchase = toy.labels[order, 0], toy.labels[order, 3]
    for task, chosen, label in (("ctr", click >= 0, click), ("cvr", click == 1, purchase)):
        settings = {
            "objective": "binary", "max_depth": 4, "num_leaves": 16, "min_data_in_leaf": 20, "bagging_fraction": 0.6,
            "bagging_freq": 1, "feature_fraction": 0.6, "seed": derive(0, "trees", task) % 2**31, "verbosity": -1,
            "deterministic": True, "force_row_wise": True, "num_threads": torch.get_num_threads(),
        }  # fmt: skip
        data = lgb.Dataset(local[order][chosen], label[chosen], categorical_feature=list(range(6)))
        trees = lgb.train(settings, data, num_boost_round=12)
        np.testing.assert_allclose(found[task].to_numpy(), trees.predict(local[test]), rtol=1e-5)
    np.testing.assert_allclose(found["ctcvr"].to_numpy(), found["ctr"].to_numpy() * found["cvr"].to_numpy(), rtol=1e-5)


def test_the_curve_is_the_log_loss_after_each_tree(toy: EncodedCity, tmp_path: Path) -> None:
    record = train_cell(cell_of(), toy, tmp_path)
    rows = toy.rows("train")
    assert [sorted(point.losses) for point in record.curve] == [["ctr"]] * 12 + [["cvr"]] * 12
    assert [point.rows for point in record.curve] == [round((rows.stop - rows.start) * k / 24) for k in range(1, 25)]
    assert record.cost.train_rows == rows.stop - rows.start
    model = MODELS.get("gbdt")(CONFIG, InputShape.of(toy))
    model.load_state_dict(load_file(tmp_path / WEIGHTS))
    output = model.compose((toy.ids[rows] - np.arange(6) * 8).astype(np.float32))
    assert record.curve[11].losses["ctr"] == pytest.approx(
        log_loss(toy.labels[rows, 0], output.ctr.probability().numpy()), rel=1e-5
    )


def test_progress_is_told_tree_by_tree(toy: EncodedCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr("bench.training.train.ProgressReport.__init__.__defaults__", (0.0,))
    train_cell(cell_of(), toy, tmp_path, report=lambda *event: told.append(event))
    done = [rows for stage, rows, _ in told if stage == "train"]
    total = told[0][2]
    assert done == sorted(done)
    assert done[-1] == total
    assert len(set(done)) == 24


def test_its_epochs_change_nothing(toy: EncodedCity, tmp_path: Path) -> None:
    folders = [tmp_path / str(epochs) for epochs in (1, 2)]
    for folder, epochs in zip(folders, (1, 2), strict=True):
        folder.mkdir()
        train_cell(cell_of(CONFIG.model_copy(update={"epochs": epochs})), toy, folder)
    first, second = (pq.read_table(folder / PREDICTIONS) for folder in folders)
    assert first.equals(second)


def test_bins_of_numbers_are_no_categories(toy: EncodedCity) -> None:
    fields = tuple(field.model_copy(update={"ordered": place == 2}) for place, field in enumerate(toy.meta.fields))
    city = replace(toy, meta=toy.meta.model_copy(update={"fields": fields}))
    assert categories(InputShape.of(city)) == [0, 1, 3, 4, 5]
    large = tuple(field.model_copy(update={"size": 257 - (place < 2)}) for place, field in enumerate(fields))
    assert categories(InputShape.of(replace(toy, meta=toy.meta.model_copy(update={"fields": large})))) == [0, 1]


def test_too_few_clicks_fail_the_cell(toy: EncodedCity, tmp_path: Path) -> None:
    labels = np.zeros_like(toy.labels)
    labels[0, 0] = 1
    with pytest.raises(CellError, match="GBDT needs two clicked training rows or more"):
        train_cell(cell_of(), replace(toy, labels=labels), tmp_path)
