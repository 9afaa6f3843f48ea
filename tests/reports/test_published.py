"""The typed figures against the papers' text and their own arithmetic."""

from __future__ import annotations

import pytest

from reports.published import is_published, load_published

PAPER = load_published()
AUCS = ("ctr", "ctcvr", "cvr")
FAMILY = ("esms", "esmc")


def test_spot_values() -> None:
    assert PAPER.table_iii.cities["1"].exposures == 1_004_000_000
    assert PAPER.table_iii.cities["4"].purchase_sparsity == 0.00908
    assert PAPER.table_iv.cities["1"]["esmc"] == {"ctr": 0.73111, "ctcvr": 0.83594, "cvr": 0.76862}
    assert PAPER.table_iv.cities["4"]["mmoe"] == {"ctr": 0.72419, "ctcvr": 0.81481, "cvr": 0.69664}
    assert PAPER.table_iv.cities["6"]["esm2_chain"]["ctcvr"] == 0.84168
    assert PAPER.table_v.cities["3"]["esmc2"]["ctr"] == 0.73835
    assert PAPER.table_vi.bad["4"].esms == 0.71108
    assert PAPER.table_vi.good["1"].esm2_chain == 0.68472
    assert PAPER.esm2_table_1.actions == 2_501_776
    assert PAPER.esm2_table_3.models["esmm"].ctcvr_gauc == 0.7906
    assert PAPER.esm2_table_4.models["esm2"]["0.6"].recall == 23.492
    assert PAPER.esm2_table_5.models["gbdt"]["1"].f1 == 1.002


def test_table_iv_is_whole() -> None:
    models = {"shared_bottom", "mmoe", "esmm", "esm2_chain", "esms", "esmc"}
    assert sorted(PAPER.table_iv.cities) == list("123456")
    assert all(set(city) == models for city in PAPER.table_iv.cities.values())
    assert all(set(aucs) == set(AUCS) for city in PAPER.table_iv.cities.values() for aucs in city.values())


@pytest.mark.parametrize("city", list("123456"))
@pytest.mark.parametrize("auc", AUCS)
def test_printed_improvement_follows_from_the_printed_aucs(city: str, auc: str) -> None:
    models = PAPER.table_iv.cities[city]
    own = max(models[model][auc] for model in FAMILY)
    other = max(models[model][auc] for model in models if model not in FAMILY)
    assert 100 * (own / other - 1) == pytest.approx(PAPER.table_iv.improvement[city][auc], abs=0.0011)


def test_table_v_improvements_follow_from_the_aucs_but_for_one_misprint() -> None:
    wrong = []
    for city, models in PAPER.table_v.cities.items():
        for model, aucs in models.items():
            for auc, value in aucs.items():
                base = PAPER.table_iv.cities[city][model.removesuffix("2")][auc]
                printed = PAPER.table_v.improvement[city][model][auc]
                if 100 * (value / base - 1) != pytest.approx(printed, abs=0.0011):
                    wrong.append((city, model, auc))
    assert wrong == [("2", "esmc2", "cvr")]


@pytest.mark.parametrize("case", ["bad", "good"])
def test_table_vi_improvements_follow_from_the_aucs(case: str) -> None:
    for row in getattr(PAPER.table_vi, case).values():
        assert 100 * (row.esms / row.esm2_chain - 1) == pytest.approx(row.improvement, abs=0.0011)


def test_f1_of_the_esm2_tables_follows_from_precision_and_recall() -> None:
    """Within the paper's own rounding: 0.01 points of percent."""
    for table in (PAPER.esm2_table_4, PAPER.esm2_table_5):
        assert sorted(table.models) == ["dnn", "dnn_os", "esm2", "esmm", "gbdt"]
        for scores in table.models.values():
            assert list(scores) == ["0.1", "0.6", "1"]
            for top in scores.values():
                f1 = 2 * top.precision * top.recall / (top.precision + top.recall)
                assert f1 == pytest.approx(top.f1, abs=0.01)


def test_the_esm2_figures_have_a_best_value_in_their_grid_and_a_gain_for_every_group() -> None:
    knobs = PAPER.esm2_figure_6.knobs
    assert {name: curve.best for name, curve in knobs.items()} == {"dropout": 0.5, "layers": 5, "item_dim": 128}
    assert all(curve.best in curve.grid and list(curve.grid) == sorted(curve.grid) for curve in knobs.values())
    assert len(PAPER.esm2_text.group_gains) == len(PAPER.esm2_figure_7.groups)
    assert PAPER.esm2_figure_7.groups[-1] == "[50,+]"


def test_only_the_six_cities_have_published_values() -> None:
    assert PAPER.auc("six_cities", "1", "esmc", "ctr") == 0.73111
    assert PAPER.auc("six_cities-0.01", "1", "esmc", "ctr") == 0.73111
    assert PAPER.auc("ga360", "1", "esmc", "ctr") is None
    assert PAPER.auc("six_cities", "7", "esmc", "ctr") is None
    assert PAPER.auc("six_cities", "1", "esm2", "ctr") is None
    assert PAPER.improvement("six_cities", "4", "ctcvr") == 1.780
    assert PAPER.improvement("ga360", "4", "ctcvr") is None
    assert not is_published("six_cities_too")
