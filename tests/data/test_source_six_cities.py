"""The simulated cities as funnel tables: published rates, columns, order, features, determinism."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from six_cities_tables import Tables, make

from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.core.registry import SOURCES
from bench.data.simulation.settings import PUBLISHED
from bench.data.source import SourceOptions
from bench.data.sources.six_cities import SixCities
from bench.data.tables import COLUMNS, LABELS, SPLITS, TABLES, Manifest, read_manifest, table_path


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return make(tmp_path_factory.mktemp("city") / "6", block_users=400)


def check_rates(name: str, manifest: Manifest) -> None:
    published, counts, achieved = PUBLISHED[name], manifest.counts, manifest.settings["achieved"]
    assert counts["users"] == published.users // 1000
    assert counts["items"] == published.items // 1000
    assert counts["exposures"] == published.exposures // 1000
    assert counts["exposures"] / counts["visits"] == pytest.approx(16, abs=0.1)
    assert achieved["click"] == pytest.approx(published.click, rel=0.03)
    assert achieved["purchase"] == pytest.approx(published.purchase, rel=0.05)
    assert achieved["same_visit_conversion"] == pytest.approx(0.85, abs=0.02)
    spread = (0.23 * 0.77 / counts["purchases"]) ** 0.5  # binomial; users who buy much make it somewhat wider
    assert achieved["bad_case_share"] == pytest.approx(0.23, abs=4 * spread)
    assert achieved["search_cart_share"] >= 0.33
    assert counts["wishes"] / counts["clicks"] == pytest.approx(0.035, rel=0.15)


def test_one_city_meets_table_iii(city: Tables) -> None:
    check_rates("6", city.manifest)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_all_cities_meet_table_iii(name: str, tmp_path: Path) -> None:
    SixCities(SourceOptions()).write(name, tmp_path)
    check_rates(name, read_manifest(tmp_path))


def test_tables_have_the_promised_columns_and_features(city: Tables) -> None:
    for table, columns in COLUMNS.items():
        assert set(columns) <= set(getattr(city, table))
    for feature in city.manifest.features:
        if feature.table != "cross":
            assert feature.name in getattr(city, feature.table)
    assert [feature.name for feature in city.manifest.features][:3] == ["user", "item", "gender"]
    assert city.exposures["position"].dtype == np.int16
    assert {city.exposures[name].dtype for name in LABELS} == {np.dtype(np.uint8)}
    assert {city.exposures[name].dtype for name in ("exposure", "user", "item", "visit", "time")} == {np.dtype("i8")}


def test_counts_are_those_of_the_tables(city: Tables) -> None:
    counts, x, events = city.manifest.counts, city.exposures, city.main_events
    names = {"click": "clicks", "cart": "carts", "wish": "wishes", "purchase": "purchases"}
    for label, name in names.items():
        assert counts[name] == x[label].sum()
        for split in SPLITS:
            assert counts[f"{split}_{name}"] == x[label][x["split"] == split].sum()
    assert counts["exposures"] == len(x["click"]) == sum(counts[f"{split}_exposures"] for split in SPLITS)
    assert counts["visits"] == len(np.unique(x["visit"])) == sum(counts[f"{split}_visits"] for split in SPLITS)
    assert counts["bad_case_purchases"] == (x["purchase"] & ~x["cart"] & 1).sum()
    assert counts["search_carts"] == ((events["domain"] == "search") & (events["action"] == "cart")).sum()
    assert counts["warmup_events"] == len(city.events["user"]) - len(events["user"])
    assert counts["users"] == len(city.users["user"])
    assert counts["items"] == len(city.items["item"])


def test_rows_are_ordered_and_numbered(city: Tables) -> None:
    x = city.exposures
    np.testing.assert_array_equal(x["exposure"], np.arange(len(x["exposure"])))
    np.testing.assert_array_equal(x["exposure"], city.truth["exposure"])
    np.testing.assert_array_equal(np.lexsort((x["position"], x["time"], x["user"])), np.arange(len(x["user"])))
    np.testing.assert_array_equal(np.unique(x["visit"]), np.arange(city.manifest.counts["visits"]))
    first = np.flatnonzero(np.diff(x["visit"], prepend=-1))
    assert (x["position"][first] == 0).all()
    assert (np.diff(x["position"])[np.diff(x["visit"]) == 0] == 1).all()
    pairs = x["visit"] * 1000 + x["item"]
    assert len(np.unique(pairs)) == len(pairs)


def test_features_belong_to_users_and_items(city: Tables) -> None:
    np.testing.assert_array_equal(city.users["user"], np.arange(1000))
    np.testing.assert_array_equal(city.items["item"], np.arange(36))
    assert set(city.exposures).isdisjoint((set(city.users) | set(city.items)) - {"user", "item"})
    assert np.isin(city.exposures["user"], city.users["user"]).all()
    assert np.isin(city.exposures["item"], city.items["item"]).all()
    level, price = city.items["price_level"], city.items["price"]
    assert (level[np.argsort(price)] == np.sort(level)).all()
    for brand in np.unique(city.items["brand"]):
        assert len(np.unique(city.items["category"][city.items["brand"] == brand])) == 1
    seen = {name: values.max() + 1 for name, values in city.users.items() if name != "user"}
    assert seen == {"gender": 3, "age": 6, "consumption": 5, "activity": 4, "user_district": 10}
    visits = np.bincount(city.exposures["user"], minlength=1000)
    active = city.users["activity"]
    assert visits[active == 3].mean() > 3 * visits[active == 0].mean()


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    first, again, other = (
        make(tmp_path / name, scale=0.0005, seed=seed, block_users=200).manifest
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    for table in TABLES:
        path = table_path(tmp_path / "a", table)
        assert first.checksums[path.name] == checksum(path)
        assert first.checksums[path.name] != other.checksums[path.name]


def test_row_groups_are_blocks(tmp_path: Path) -> None:
    make(tmp_path / "a", scale=0.0005, block_users=200)
    for table, groups in (("exposures", 3), ("events", 3), ("truth", 3), ("users", 3), ("items", 1)):
        assert pq.ParquetFile(table_path(tmp_path / "a", table)).num_row_groups == groups


@pytest.mark.parametrize(("share", "tolerance"), [(0.0, 0.0), (0.1, 0.03), (0.4, 0.05), (0.6, 0.05)])
def test_bad_case_share_is_a_knob(share: float, tolerance: float, tmp_path: Path) -> None:
    manifest = make(tmp_path / "a", bad_case_share=share).manifest
    achieved = manifest.settings["achieved"]
    assert achieved["bad_case_share"] == pytest.approx(share, abs=tolerance)
    assert achieved["purchase"] == pytest.approx(PUBLISHED["6"].purchase, rel=0.08)
    assert achieved["same_visit_conversion"] == pytest.approx(0.85, abs=0.03)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 2e-5])
def test_any_scale_works(scale: float, tmp_path: Path) -> None:
    tables = make(tmp_path / "a", city="1", scale=scale)
    assert tables.manifest.counts["exposures"] == max(100, round(1_004_000_000 * scale))
    assert len(tables.exposures["user"]) == tables.manifest.counts["exposures"]


def test_fingerprints_tell_data_apart() -> None:
    sources = [
        SixCities(SourceOptions()),
        SixCities(SourceOptions(scale=0.01)),
        SixCities(SourceOptions(seed=3)),
        SixCities(SourceOptions(knobs={"bad_case_share": 0.4})),
    ]
    assert [source.label for source in sources] == [
        "six_cities",
        "six_cities-x0.01",
        "six_cities-s3",
        "six_cities-bad_case_share0.4",
    ]
    prints = [source.fingerprint(city) for source in sources for city in source.cities()]
    assert len(set(prints)) == len(prints) == 24
    assert sources[0].fingerprint("1") == SixCities(SourceOptions()).fingerprint("1")


def test_unknown_city_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown city '7'"):
        SixCities(SourceOptions()).fingerprint("7")
    with pytest.raises(UserError, match="unknown city '7'"):
        SixCities(SourceOptions()).write("7", tmp_path)


def test_it_is_registered() -> None:
    assert SOURCES.get("six_cities") is SixCities
