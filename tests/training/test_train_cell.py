"""One cell from data to record: what is written, what is measured, and how it fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from sklearn.metrics import log_loss, roc_auc_score

from bench.core.cell import SCHEMA_VERSION, Cell
from bench.core.config import Config
from bench.core.errors import CellError, UserError
from bench.core.record import PREDICTIONS, WEIGHTS, Record
from bench.core.registry import MODELS
from bench.data.batches import BatchMaker
from bench.data.encoded import EncodedCity
from bench.data.tables import LABELS, TRUTH
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.nn.precision import dtype_of
from bench.training.callbacks import CURVE_POINTS
from bench.training.train import train_cell

CONFIG = Config(hidden=(16, 8), embedding_dim=8, batch_size=128, learning_rate=0.02)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def cell_of(model: str = "esmc", test: bool = True, seed: int = 0, **knobs: Any) -> Cell:
    config = CONFIG.model_copy(update=knobs)
    return Cell(dataset="toy", fingerprint="toy", city="1", model=model, config=config, seed=seed, test=test)


@pytest.fixture(scope="module")
def toy(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    return build_city(rows=2000, size=8)


@pytest.fixture(scope="module")
def done(toy: EncodedCity, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    folder = tmp_path_factory.mktemp("cell")
    return train_cell(cell_of(epochs=2), toy, folder, now=lambda: NOW), folder


def rows_of(city: EncodedCity, **splits: tuple[int, int]) -> EncodedCity:
    return dataclasses.replace(city, meta=city.meta.model_copy(update={"splits": city.meta.splits | splits}))


def test_the_record_says_what_was_done(done: tuple[Record, Path], toy: EncodedCity) -> None:
    record, _ = done
    start, stop = toy.meta.splits["train"]
    assert (record.schema_version, record.key, record.cell) == (
        SCHEMA_VERSION,
        cell_of(epochs=2).key,
        cell_of(epochs=2),
    )
    assert set(record.metrics) == {"valid", "test"}
    assert record.cost.train_rows == 2 * (stop - start)
    assert record.cost.parameters == sum(p.numel() for p in MODELS.get("esmc")(CONFIG, InputShape.of(toy)).parameters())
    assert record.cost.train_rows_per_second == pytest.approx(record.cost.train_rows / record.cost.train_seconds)
    assert 0 < record.cost.train_seconds < record.cost.wall_seconds
    assert record.cost.predict_rows_per_second is not None
    assert record.cost.predict_rows_per_second > 0
    assert record.cost.peak_memory_mb > 50
    assert record.cost.device
    found = toy.meta.calibration["recommendation"]
    assert found.matched > 0
    assert record.notes == {
        "tower_distance": record.notes["tower_distance"],
        "calibration": "copy",
        "bad_cases": found.bad_cases,
        "matched_carts": found.matched,
        "changed_labels": found.changed["copy"],
        "threads": torch.get_num_threads(),
        "precision": str(dtype_of("auto")).removeprefix("torch."),
    }
    assert 0 < float(record.notes["tower_distance"]) < 1
    assert {"python", "torch", "numpy", "esm-bench"} <= set(record.versions)
    assert record.files == {}
    assert record.created == "2026-01-02T03:04:05+00:00"
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_the_curve_covers_the_training(done: tuple[Record, Path]) -> None:
    record, _ = done
    rows = [point.rows for point in record.curve]
    assert rows == sorted(set(rows))
    assert rows[-1] == record.cost.train_rows
    assert [point.step for point in record.curve] == sorted({point.step for point in record.curve})
    assert len(record.curve) <= 2 * CURVE_POINTS
    assert {frozenset(point.losses) for point in record.curve} == {frozenset(("ctr", "ctcvr", "ctcar", "constraint"))}


def test_the_files_are_those_of_a_cell(done: tuple[Record, Path]) -> None:
    assert sorted(path.name for path in done[1].iterdir()) == sorted([PREDICTIONS, WEIGHTS])
    with safe_open(done[1] / WEIGHTS, "pt") as file:
        assert "inputs.table.weight" in file.keys()  # noqa: SIM118


def test_predictions_stand_beside_their_rows(done: tuple[Record, Path], toy: EncodedCity) -> None:
    """By exposure id, with the labels as observed and the truth; each value is that of its own row."""
    folder = done[1]
    table, rows = pq.read_table(folder / PREDICTIONS), toy.rows("test")
    steps = ["ctr", "cvr", "ctcvr", "car", "ctcar"]
    assert table.column_names == ["exposure", "user", *LABELS, *steps, *TRUTH]
    assert toy.truth is not None
    assert table["exposure"].to_pylist() == toy.exposure[rows].tolist()
    assert table["user"].to_pylist() == toy.user[rows].tolist()
    for index, name in enumerate(LABELS):
        assert table[name].to_pylist() == toy.labels[rows, index].tolist()
    for index, name in enumerate(TRUTH):
        assert np.array_equal(table[name].to_numpy(), toy.truth[rows, index])

    model = MODELS.get("esmc")(CONFIG, InputShape.of(toy))
    with safe_open(folder / WEIGHTS, "pt") as file:
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    model.eval()
    maker = BatchMaker(toy, 100)
    for place in (0, 7, rows.stop - rows.start - 1):
        with torch.no_grad():
            alone = model.predict_step(maker.make(np.array([rows.start + place])), 0)
        for step in steps:
            assert table[step][place].as_py() == pytest.approx(alone[step].item(), rel=1e-4)


def test_metrics_are_those_of_the_stored_predictions(done: tuple[Record, Path]) -> None:
    record, folder = done
    stored = pq.read_table(folder / PREDICTIONS).to_pandas()
    clicked = stored[stored.click == 1]
    bought, carted = stored.click * stored.purchase, stored.click * stored.cart
    expected = {
        "auc/ctr/exposed": roc_auc_score(stored.click, stored.ctr),
        "auc/cvr/clicked": roc_auc_score(clicked.purchase, clicked.cvr),
        "auc/car/clicked": roc_auc_score(clicked.cart, clicked.car),
        "auc/ctcvr/exposed": roc_auc_score(bought, stored.ctcvr),
        "auc/ctcar/exposed": roc_auc_score(carted, stored.ctcar),
        "log_loss/ctcvr/exposed": log_loss(bought, stored.ctcvr.astype(float)),
        "ceiling/ctr/exposed": roc_auc_score(stored.click, stored.p_click),
    }
    found = record.metrics["test"]
    assert {name: found[name].value for name in expected} == pytest.approx(expected, rel=1e-6)
    assert (found["auc/cvr/clicked"].n, found["auc/cvr/clicked"].n_pos) == (len(clicked), clicked.purchase.sum())
    assert found["auc/ctr/exposed"].n == len(stored)
    assert record.metrics["valid"]["auc/ctr/exposed"].n != len(stored)


def test_a_log_has_no_truth(toy: EncodedCity, tmp_path: Path) -> None:
    record = train_cell(cell_of("esmm"), dataclasses.replace(toy, truth=None), tmp_path)
    assert not any(name.startswith("ceiling") for name in record.metrics["test"])
    assert not set(TRUTH) & set(pq.read_table(tmp_path / PREDICTIONS).column_names)


def test_a_trial_never_opens_the_test_split(toy: EncodedCity, done: tuple[Record, Path], tmp_path: Path) -> None:
    """Its validation metrics are those of the cell; test labels that changed do not show anywhere."""
    start, stop = toy.meta.splits["test"]
    labels = np.array(toy.labels)
    labels[start:stop] = 1 - labels[start:stop]
    trial = train_cell(cell_of(test=False, epochs=2), dataclasses.replace(toy, labels=labels), tmp_path)
    assert set(trial.metrics) == {"valid"}
    assert trial.metrics["valid"] == done[0].metrics["valid"]
    assert trial.curve == done[0].curve
    assert trial.cost.predict_rows_per_second is None
    assert not (tmp_path / PREDICTIONS).exists()
    assert trial.key != done[0].key


@pytest.mark.parametrize(
    ("model", "asked", "noted"),
    [
        ("esmc", "move", "move"),
        ("esmc", "none", "none"),
        ("esms", "copy", "copy"),
        ("esms", "none", "none"),
        ("esm2", "copy", "none"),  # only the models of the ESMC paper calibrate
        ("esm2_chain", "copy", "none"),
        ("esmm", "copy", "none"),
        ("mmoe", "copy", "none"),
    ],
)
def test_the_calibration_that_was_used_is_noted(
    toy: EncodedCity, tmp_path: Path, model: str, asked: str, noted: str
) -> None:
    assert train_cell(cell_of(model, calibration=asked), toy, tmp_path).notes["calibration"] == noted


def test_calibration_changes_training_and_not_evaluation(toy: EncodedCity, tmp_path: Path) -> None:
    records = [train_cell(cell_of(calibration=mode), toy, tmp_path / mode) for mode in _folders(tmp_path)]
    assert len({str(record.curve) for record in records}) == 3
    counts = {(m.n, m.n_pos) for record in records for m in [record.metrics["test"]["auc/car/clicked"]]}
    assert len(counts) == 1


def _folders(parent: Path) -> list[str]:
    names = ["none", "copy", "move"]
    for name in names:
        (parent / name).mkdir()
    return names


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("with_truth", [True, False])
def test_an_empty_split_fails_the_cell(toy: EncodedCity, tmp_path: Path, split: str, with_truth: bool) -> None:
    """Not with another split's predictions in its place."""
    city = rows_of(toy, **{split: (toy.meta.splits[split][1],) * 2})
    city = city if with_truth else dataclasses.replace(city, truth=None)
    with pytest.raises(CellError, match=f"the {split} split has no rows"):
        train_cell(cell_of("esmm"), city, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", [name for name, kind in MODELS.all().items() if issubclass(kind, FunnelModule)])
def test_divergence_fails_the_cell(toy: EncodedCity, tmp_path: Path, model: str) -> None:
    with pytest.raises(CellError, match=r"^diverged: the \w+ loss is (nan|inf)"):
        train_cell(cell_of(model, learning_rate=1e9), toy, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_numbers_fail_the_cell(
    toy: EncodedCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step can ruin the weights after the last loss was read: the predictions tell."""
    model = MODELS.get("esmm")

    def ruin(self: Any) -> None:
        self.towers.weights[0].data.fill_(torch.nan)

    monkeypatch.setattr(model, "on_validation_start", ruin)
    with pytest.raises(CellError, match="diverged: ctr is not finite on valid rows"):
        train_cell(cell_of("esmm"), toy, tmp_path)


def test_an_unknown_model_is_the_users_error(toy: EncodedCity, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'mmoe'"):
        train_cell(cell_of("mmoee"), toy, tmp_path)


def test_progress_is_reported(toy: EncodedCity, tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    record = train_cell(cell_of("esmm"), toy, tmp_path, report=lambda *stage: said.append(stage))
    assert said[0][0] == "train"
    assert said[-1] == ("test", record.cost.train_rows, record.cost.train_rows)
    assert all(0 < done <= total == record.cost.train_rows for _, done, total in said)


def test_the_order_of_cells_does_not_matter(toy: EncodedCity, done: tuple[Record, Path], tmp_path: Path) -> None:
    """Global generators in any state: a cell is the same after others have run."""
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002
    torch.randn(1000)
    again = train_cell(cell_of(epochs=2), toy, tmp_path)
    assert again.metrics == done[0].metrics
    assert (tmp_path / PREDICTIONS).read_bytes() == (done[1] / PREDICTIONS).read_bytes()
    assert (tmp_path / WEIGHTS).read_bytes() == (done[1] / WEIGHTS).read_bytes()


def test_bfloat16_agrees_with_float32_within_the_noise_of_seeds(toy: EncodedCity, tmp_path: Path) -> None:
    """The mean difference of AUCs over seeds is less than what seeds differ by."""
    names = ("auc/ctr/exposed", "auc/ctcvr/exposed", "auc/cvr/clicked")
    found: dict[str, list[list[float]]] = {}
    for precision in ("float32", "bfloat16"):
        for seed in range(4):
            cell = cell_of(precision=precision, seed=seed, epochs=3)
            metrics = train_cell(cell, toy, _made(tmp_path / f"{precision}{seed}")).metrics["test"]
            found.setdefault(precision, []).append([metrics[name].value or 0.0 for name in names])
    exact, rounded = np.array(found["float32"]), np.array(found["bfloat16"])
    assert not np.array_equal(exact, rounded)
    assert (abs((rounded - exact).mean(0)) < exact.std(0, ddof=1)).all()


def test_the_precision_is_recorded(toy: EncodedCity, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        record = train_cell(cell_of("esmm", precision=precision), toy, _made(tmp_path / precision))
        assert record.notes["precision"] == precision


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
