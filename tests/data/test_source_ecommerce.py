"""The simulated shop as funnel tables: published rates, columns, features, determinism, refused knobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from shop_tables import make
from six_cities_tables import Tables

from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.core.registry import SOURCES
from bench.data.checks import check_tables, require_positives
from bench.data.encoded import META, Meta
from bench.data.encoding import EncodingSettings, encode
from bench.data.source import SourceOptions
from bench.data.sources.ecommerce import Ecommerce
from bench.data.tables import COLUMNS, LABELS, SPLITS, TABLES, Manifest, read_manifest, table_path

SCALE = 0.0003


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop") / "a"


@pytest.fixture(scope="module")
def tables(folder: Path) -> Tables:
    return make(folder, SCALE, block_users=1500, block_items=2000)


def check_table_1(manifest: Manifest, scale: float) -> None:
    """ESM² Table 1 times scale; what is drawn within five standard deviations of a Poisson count."""
    counts = manifest.counts
    assert counts["users"] == round(13_383_415 * scale)
    assert counts["items"] == round(10_399_095 * scale)
    assert counts["exposures"] == round(326_325_042 * scale)
    published = {"clicks": 20_637_192, "actions": 2_501_776, "purchases": 226_918}
    published |= {"carts": 0.1 * 20_637_192, "wishes": 0.035 * 20_637_192, "oaction_purchases": 0.3 * 226_918}
    for name, count in published.items():
        assert abs(counts[name] - count * scale) < 5 * (count * scale) ** 0.5, name
    assert counts["exposures"] / counts["visits"] == pytest.approx(16, abs=0.1)


def test_it_meets_table_1(tables: Tables) -> None:
    check_table_1(tables.manifest, SCALE)


@pytest.mark.slow
def test_the_default_meets_table_1_and_every_group_buys(tmp_path: Path) -> None:
    Ecommerce(SourceOptions()).write("shop", tmp_path)
    manifest = read_manifest(tmp_path)
    check_table_1(manifest, 1 / 300)
    exposures = pq.read_table(table_path(tmp_path, "exposures"), columns=["user", "item", "split", "purchase"])
    users = pq.read_table(table_path(tmp_path, "users"), columns=["purchases_90d"])
    bought = exposures["user"].to_numpy()[
        (exposures["purchase"].to_numpy() == 1) & (exposures["split"].to_numpy() == "test")
    ]
    groups = np.histogram(users["purchases_90d"].to_numpy()[bought], [0, 11, 21, 51, np.inf])[0]
    assert groups.min() >= 15
    assert len(np.unique(exposures["item"].to_numpy())) > 0.95 * manifest.counts["items"]


def test_tables_keep_what_their_format_promises(folder: Path, tables: Tables) -> None:
    assert check_tables(folder) == []
    for table, columns in COLUMNS.items():
        assert set(columns) <= set(getattr(tables, table))
    assert {tables.exposures[name].dtype for name in LABELS} == {np.dtype(np.uint8)}
    assert {tables.exposures[name].dtype for name in ("exposure", "user", "item", "visit", "time")} == {np.dtype("i8")}
    for table in TABLES:
        for name, column in getattr(tables, table).items():
            assert name == "domain" or len(np.unique(column)) > 1, name


def test_features_are_listed_in_the_stated_order(tables: Tables) -> None:
    features = tables.manifest.features
    names = [feature.name for feature in features if feature.kind != "dense"]
    assert names == [
        *("user", "item", "gender", "age", "purchasing_power", "city_tier", "activity"),
        *("brand", "category", "shop", "price_level", "hour", "weekday", "position"),
        *("preference", "clicks_before", "browses_before", "power_price", "age_category"),
    ]
    dense = [feature for feature in features if feature.kind == "dense"]
    assert [feature.name for feature in dense] == [
        "purchases_90d",
        *(f"user_{i:03d}" for i in range(250)),
        *(f"item_{i:03d}" for i in range(250)),
    ]
    assert [feature.table for feature in dense] == ["users"] * 251 + ["items"] * 250
    assert features[len(names) :] == tuple(dense)
    for feature in features:
        if feature.table != "cross":
            assert feature.name in getattr(tables, feature.table)
    assert np.issubdtype(tables.users["purchases_90d"].dtype, np.integer)
    assert tables.users["user_000"].dtype == tables.items["item_249"].dtype == np.float32


def test_informative_columns_of_the_manifest_tell_who_is_clicked(tables: Tables) -> None:
    """Not the latents, which are not written: how the true click follows the columns that observe its main effect."""
    informative = tables.manifest.settings["informative"]
    assert len(informative) == 48
    log_odds = np.log(tables.truth["p_click"] / (1 - tables.truth["p_click"]))
    for table, key in (("users", "user"), ("items", "item")):
        rows, ids = getattr(tables, table), tables.exposures[key]
        mean = np.bincount(ids, log_odds, len(rows[key])) / np.maximum(1, np.bincount(ids, minlength=len(rows[key])))
        seen = np.bincount(ids, minlength=len(rows[key])) > 0
        found = {}
        for name in (name for name in rows if name.startswith(f"{key}_")):
            known = seen & ~np.isnan(rows[name])
            order = np.argsort(np.argsort(rows[name][known]))
            found[name] = abs(np.corrcoef(order, mean[known])[0, 1])
        main = [
            n
            for n in found
            if n in informative and (informative[n]["head"], informative[n]["coordinate"]) == ("click", 8)
        ]
        assert len(main) == 1
        assert found[main[0]] > 0.2
        assert found[main[0]] == max(found.values())
        noise = [found[name] for name in found if name not in informative]
        assert max(noise) < 4.5 / seen.sum() ** 0.5


def test_counts_are_those_of_the_tables(tables: Tables) -> None:
    counts, x = tables.manifest.counts, tables.exposures
    action = x["cart"] | x["wish"]
    columns = {"clicks": x["click"], "carts": x["cart"], "wishes": x["wish"], "purchases": x["purchase"]}
    columns |= {"actions": action, "oaction_purchases": x["purchase"] & (1 - action)}
    columns["exposures"] = np.ones_like(action)
    for name, column in columns.items():
        assert counts[name] == column.sum()
        for split in SPLITS:
            assert counts[f"{split}_{name}"] == column[x["split"] == split].sum()
    assert counts["visits"] == len(np.unique(x["visit"])) == sum(counts[f"{split}_visits"] for split in SPLITS)
    assert counts["users"] == len(tables.users["user"]) == len(np.unique(x["user"]))
    assert counts["items"] == len(tables.items["item"])
    achieved = tables.manifest.settings["achieved"]
    assert achieved["purchase"] == counts["purchases"] / counts["clicks"]
    assert achieved["oaction_share"] == counts["oaction_purchases"] / counts["purchases"]


def test_rows_are_ordered_and_numbered(tables: Tables) -> None:
    x = tables.exposures
    np.testing.assert_array_equal(x["exposure"], np.arange(len(x["exposure"])))
    np.testing.assert_array_equal(x["exposure"], tables.truth["exposure"])
    np.testing.assert_array_equal(np.lexsort((x["position"], x["time"], x["user"])), np.arange(len(x["user"])))
    np.testing.assert_array_equal(np.unique(x["visit"]), np.arange(tables.manifest.counts["visits"]))
    np.testing.assert_array_equal(tables.users["user"], np.arange(4015))
    np.testing.assert_array_equal(tables.items["item"], np.arange(3120))
    assert np.isin(x["item"], tables.items["item"]).all()


def test_row_groups_are_blocks(folder: Path, tables: Tables) -> None:
    for table, groups in (("exposures", 3), ("events", 3), ("truth", 3), ("users", 3), ("items", 2)):
        assert pq.ParquetFile(table_path(folder, table)).num_row_groups == groups


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    first, again, other = (
        make(tmp_path / name, 0.0001, seed, dense=12, block_users=700).manifest
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    for table in TABLES:
        path = table_path(tmp_path / "a", table)
        assert first.checksums[path.name] == checksum(path)
        assert first.checksums[path.name] != other.checksums[path.name]


@pytest.mark.parametrize("share", [0.05, 0.6])
def test_the_share_of_purchases_without_an_action_is_a_knob(share: float, tmp_path: Path, tables: Tables) -> None:
    other = make(tmp_path / "a", SCALE, block_users=1500, dense=0, oaction_share=share)
    counts = other.manifest.counts
    spread = (share * (1 - share) / counts["purchases"]) ** 0.5
    assert counts["oaction_purchases"] / counts["purchases"] == pytest.approx(share, abs=4 * spread)
    for name in ("user", "item", "click", "cart", "wish"):  # common random numbers
        np.testing.assert_array_equal(other.exposures[name], tables.exposures[name])


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 2e-5])
def test_any_scale_works(scale: float, tmp_path: Path) -> None:
    tables = make(tmp_path / "a", scale)
    assert len(tables.exposures["user"]) == max(100, round(326_325_042 * scale))
    assert check_tables(tmp_path / "a") == []


def test_it_can_be_encoded(tmp_path: Path) -> None:
    tables = make(tmp_path / "a", 0.0001, dense=3)
    (tmp_path / "b").mkdir()
    encode(tmp_path / "a", tmp_path / "b", EncodingSettings(threads=1))
    meta = Meta.model_validate_json((tmp_path / "b" / META).read_text(encoding="utf-8"))
    require_positives(meta)
    assert meta.counts["test"]["purchase"] == tables.manifest.counts["test_purchases"]
    assert meta.users == tables.manifest.counts["users"]
    assert meta.has_truth
    assert len(meta.dense) == 7  # purchases_90d, three of users, three of items
    sizes = {field.name: field.size for field in meta.fields}
    assert (sizes["power_price"], sizes["category"]) == (26, 41)
    assert sizes["clicks_before"] > 2
    assert sizes["preference"] == 17


def test_fingerprints_and_labels_tell_data_apart() -> None:
    sources = {
        "ecommerce": Ecommerce(SourceOptions()),
        "ecommerce-x0.0001": Ecommerce(SourceOptions(scale=0.0001)),
        "ecommerce-s3": Ecommerce(SourceOptions(seed=3)),
        "ecommerce-oaction_share0.5": Ecommerce(SourceOptions(knobs={"oaction_share": "0.5"})),
    }
    assert [source.label for source in sources.values()] == list(sources)
    assert len({source.fingerprint("shop") for source in sources.values()}) == 4
    same = Ecommerce(SourceOptions(scale=1 / 300, knobs={"oaction_share": 0.3}))
    assert same.label == "ecommerce"
    assert same.fingerprint("shop") == sources["ecommerce"].fingerprint("shop")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"bad_case_share": 0.4}, "unknown knob of the simulation 'bad_case_share'"),
        ({"oaction_share": 0.0}, "oaction_share is wrong: .*greater than 0, but got 0.0"),
        ({"reliability": (0.5, 1.5)}, "reliability is wrong: .*less than or equal to 1, but got 1.5"),
        ({"train_days": 9}, "valid_days is wrong: .*of 10 days, 9 of training and these must leave one for the test"),
    ],
)
def test_wrong_knobs_are_refused_with_one_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Ecommerce(SourceOptions(knobs=knobs))
    assert "\n" not in str(error.value)


def test_unknown_city_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown city '1'"):
        Ecommerce(SourceOptions()).fingerprint("1")
    with pytest.raises(UserError, match="unknown city '1'"):
        Ecommerce(SourceOptions()).write("1", tmp_path)


def test_it_is_registered() -> None:
    assert SOURCES.get("ecommerce") is Ecommerce
    assert Ecommerce.preset == "esm2"
    assert Ecommerce.simulated
