"""Table IV: the paper's Improvement and order by hand, and what the Markdown says."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from fake_store import StoreMaker, make_cell, store_cell

from bench.metrics.compare import Contrast
from bench.results.store import Store
from reports.aucs import Aucs
from reports.exhibits.table_iv import TableIV, improvement, order
from reports.study import load_studies

METRIC = "auc/cvr/clicked"


def table(means: dict[str, float], published: dict[str, float] | None = None) -> pd.DataFrame:
    published = published or {}
    return pd.DataFrame(
        {
            "city": "1",
            "model": list(means),
            "metric": METRIC,
            "main": True,
            "mean": list(means.values()),
            "published": [published.get(model, math.nan) for model in means],
        }
    )


def difference(value: float, p: float) -> Contrast:
    return Contrast(value, value - 0.1, value + 0.1, p, p)


def test_improvement_is_best_of_the_family_over_best_baseline() -> None:
    frame = table({"esmm": 0.70, "esm2": 0.75, "esms": 0.78, "esmc": 0.77})
    pairs = {("1", METRIC): {("esm2", "esms"): difference(-0.03, 0.01)}}
    percent, significant = improvement(Aucs(frame, pairs), "1", METRIC)
    assert percent == pytest.approx(100 * (0.78 / 0.75 - 1))
    assert percent == pytest.approx(4.0)
    assert significant
    pairs = {("1", METRIC): {("esm2", "esms"): difference(-0.03, 0.2)}}
    assert improvement(Aucs(frame, pairs), "1", METRIC) == (pytest.approx(4.0), False)


def test_improvement_of_the_published_aucs_is_the_printed_one() -> None:
    printed = {"shared_bottom": 0.71242, "esmm": 0.71949, "esm2_chain": 0.76824, "esms": 0.77048, "esmc": 0.76862}
    assert round(improvement(Aucs(table(printed), {}), "1", METRIC)[0], 3) == 0.292


def test_improvement_may_be_negative_and_needs_both_sides() -> None:
    worse = table({"esmm": 0.8, "esmc": 0.76})
    assert improvement(Aucs(worse, {}), "1", METRIC)[0] == pytest.approx(-5.0)
    assert math.isnan(improvement(Aucs(table({"esmm": 0.8}), {}), "1", METRIC)[0])
    assert math.isnan(improvement(Aucs(table({"esmm": 0.8, "esmc": math.nan}), {}), "1", METRIC)[0])


def test_order_counts_reversed_pairs() -> None:
    """Published a > b > c > d, ours b > a > d > c: 4 of 6 pairs agree, tau = (4 - 2) / 6."""
    published = {"shared_bottom": 0.9, "mmoe": 0.8, "esmm": 0.7, "esmc": 0.6}
    frame = table({"shared_bottom": 0.8, "mmoe": 0.9, "esmm": 0.6, "esmc": 0.7, "esm2": 0.99}, published)
    pairs = {
        ("1", METRIC): {
            ("shared_bottom", "mmoe"): difference(-0.1, 0.001),
            ("esmm", "esmc"): difference(-0.1, 0.5),
        }
    }
    found = order(Aucs(frame, pairs), "1", METRIC)
    assert found is not None
    assert found.models == 4
    assert found.tau == pytest.approx(1 / 3)
    assert found.reversed_significantly == ["MMoE above Shared Bottom"]
    assert found.reversed == ["ESMC above ESMM"]


def test_order_ignores_ties_of_the_paper_and_needs_two_models() -> None:
    frame = table({"shared_bottom": 0.8, "mmoe": 0.9}, {"shared_bottom": 0.73349, "mmoe": 0.73349})
    found = order(Aucs(frame, {}), "1", METRIC)
    assert found is not None
    assert found.reversed == []
    assert order(Aucs(table({"esmc": 0.9}, {"esmc": 0.8}), {}), "1", METRIC) is None


def build(store: Store, folder: Path) -> str:
    (study,) = load_studies(store, store.scan())
    return TableIV().build(study, folder)


def test_markdown_and_csv(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1", "2"), models=("esmm", "esmc"), seeds=2)
    text = build(store, tmp_path)
    frame = pd.read_csv(tmp_path / "table_iv.csv", dtype={"city": str})
    first = ["city", "model", "metric", "mean", "lo", "hi", "n_seeds", "published"]
    assert list(frame.columns)[: len(first)] == first
    assert len(frame) == 12
    for row in frame.to_dict("records"):
        assert f"{row['mean']:.4f}" in text
        assert f"± {(row['hi'] - row['lo']) / 2:.4f}<br><sub>paper {row['published']:.5f}</sub>" in text
    assert "paper +0.346 %" in text  # CTCVR of City 1
    assert text.count("**Order against the paper.**") == 3
    assert "#### Share of the ceiling" in text


def test_a_missing_cell_is_a_dash_beside_the_papers_value(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1", "2"), models=("esmm",))
    store_cell(store, make_cell("1", "esmc"))
    text = build(store, tmp_path)
    (row, *_) = [line for line in text.splitlines() if line.startswith("| ESMC |")]
    assert row.endswith("| -<br><sub>paper 0.72774</sub> |")


def test_a_withheld_auc_says_how_many_positives_there_are(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    record = store_cell(store, make_cell(), buy=0.1)
    n_pos = record.metrics["test"]["auc/cvr/clicked"].n_pos
    text = build(store, tmp_path)
    assert f"withheld: {n_pos} positives" in text
    assert pd.read_csv(tmp_path / "table_iv.csv").set_index("metric")["mean"].isna()["auc/cvr/clicked"]
