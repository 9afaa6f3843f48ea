"""Tidy frames over records."""

from __future__ import annotations

import math

import pytest

from bench.core.cell import SCHEMA_VERSION, Cell
from bench.core.config import PRESETS, Config, variant
from bench.core.record import Cost, CurvePoint, Metric, Record
from bench.results.queries import CURVE_COLUMNS, METRIC_COLUMNS, cost_frame, curve_frame, metrics_frame


def make_record(config: Config = PRESETS["esmc"]) -> Record:
    cell = Cell(dataset="toy", fingerprint="f", city="1", model="esmc", config=config, seed=3)
    cost = Cost(
        parameters=5,
        train_rows=2,
        train_seconds=1.0,
        train_rows_per_second=2.0,
        predict_rows_per_second=3.0,
        wall_seconds=1.5,
        peak_memory_mb=10.0,
        device="cpu",
    )
    return Record(
        schema_version=SCHEMA_VERSION,
        key=cell.key,
        cell=cell,
        metrics={
            "valid": {"auc/ctr/exposed": Metric(value=0.6, n=10, n_pos=4)},
            "test": {
                "auc/cvr/clicked": Metric(value=None, n=4, n_pos=0),
                "rows": Metric(value=2.0, n=4, n_pos=0),
            },
        },
        curve=[CurvePoint(step=1, rows=2, losses={"ctr": 0.5, "ctcvr": 0.1})],
        cost=cost,
        notes={},
        versions={},
        files={},
        created="",
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (PRESETS["esmc"], ("esmc", "")),
        (PRESETS["esm2"], ("esm2", "")),
        (Config(constraint="softmax"), ("esmc", "constraint=softmax")),
        (Config(hidden=(64, 32), constraint_weight=0.1), ("esmc", "hidden=64-32, constraint_weight=0.1")),
        (PRESETS["esm2"].model_copy(update={"dropout": 0.1}), ("esm2", "dropout=0.1")),
    ],
)
def test_variant_names_the_knobs_that_differ_from_the_nearest_preset(config: Config, expected: tuple[str, str]) -> None:
    assert variant(config) == expected


def test_metrics_frame() -> None:
    record = make_record(Config(dropout=0.5))
    frame = metrics_frame([record])
    assert list(frame.columns) == METRIC_COLUMNS
    rows = frame.to_dict("records")
    identity = {"dataset": "toy", "city": "1", "model": "esmc", "preset": "esmc", "variant": "dropout=0.5", "seed": 3}
    assert rows[0] == identity | {
        "key": record.key,
        "split": "valid",
        "metric": "auc",
        "probability": "ctr",
        "space": "exposed",
        "value": 0.6,
        "n": 10,
        "n_pos": 4,
    }
    assert math.isnan(rows[1]["value"])
    assert (rows[1]["probability"], rows[1]["space"], rows[1]["n_pos"]) == ("cvr", "clicked", 0)
    assert (rows[2]["metric"], rows[2]["probability"], rows[2]["space"]) == ("rows", "", "")


def test_curve_and_cost_frames() -> None:
    record = make_record()
    curve = curve_frame([record])
    assert list(curve.columns) == CURVE_COLUMNS
    assert curve[["task", "step", "rows", "loss"]].values.tolist() == [["ctr", 1, 2, 0.5], ["ctcvr", 1, 2, 0.1]]
    (cost,) = cost_frame([record]).to_dict("records")
    assert (cost["model"], cost["parameters"], cost["peak_memory_mb"], cost["key"]) == ("esmc", 5, 10.0, record.key)


def test_frames_of_nothing_have_their_columns() -> None:
    assert list(metrics_frame([]).columns) == METRIC_COLUMNS
    assert list(curve_frame([]).columns) == CURVE_COLUMNS
