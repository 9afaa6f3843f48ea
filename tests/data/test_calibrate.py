from __future__ import annotations

import filecmp
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from behaviour_logs import DAY, by_hand, random_log
from tiny_tables import ITEM, USER, encoded, rows, write_tables

from bench.core.errors import UserError
from bench.data import calibrate as module
from bench.data.calibrate import calibrate
from bench.data.checks import check_tables
from bench.data.encoded import LABEL_COLUMNS
from bench.data.tables import Feature, Manifest, read_manifest, table_path, write_manifest


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which all modes and domains differ, with every table, and counts in its manifest."""
    exposures, events = random_log(53)
    users, items = range(3), range(4)
    folder = write_tables(
        tmp_path_factory.mktemp("tables"),
        (USER, ITEM, Feature(name="age", table="users")),
        exposures=exposures,
        events=events,
        users={"user": list(users), "age": [20, 30, 40]},
        items={"item": list(items)},
        truth={
            "exposure": exposures["exposure"],
            **dict.fromkeys(("p_click", "p_cart", "p_purchase"), 0.5 * np.ones(len(exposures["exposure"]))),
        },
    )
    narrow = pq.read_table(table_path(folder, "exposures"))
    for label, kind in (("cart", pa.uint8()), ("split", pa.dictionary(pa.int32(), pa.string()))):
        narrow = narrow.set_column(narrow.column_names.index(label), label, narrow[label].cast(kind))
    pq.write_table(narrow, table_path(folder, "exposures"), row_group_size=30)
    write_manifest(folder, read_manifest(folder).model_copy(update={"counts": counted(folder), "settings": {"x": 1}}))
    assert check_tables(folder) == []
    return folder


def counted(folder: Path) -> dict[str, int]:
    """The counts that calibration may change, and some that it must not."""
    rows = exposures_of(folder)
    train = np.array(rows["split"]) == "train"
    cart, purchase = np.array(rows["cart"]), np.array(rows["purchase"])
    bad = purchase > cart
    counts = {"carts": cart.sum(), "train_carts": cart[train].sum(), "valid_carts": cart[~train].sum()}
    counts |= {"bad_case_purchases": bad.sum(), "train_bad_case_purchases": bad[train].sum()}
    return {name: int(count) for name, count in (counts | {"purchases": purchase.sum(), "search_carts": 77}).items()}


def exposures_of(folder: Path) -> dict[str, list[Any]]:
    return pq.read_table(table_path(folder, "exposures")).to_pydict()


def calibrated(tables: Path, out: Path, **options: Any) -> Path:
    out.mkdir()
    summary = calibrate(tables, out, **options)
    assert read_manifest(out).settings["calibration"]["summary"] == summary.model_dump(mode="json")
    return out


@pytest.mark.parametrize("window_days", [None, 3])
@pytest.mark.parametrize("domain", ["recommendation", "global"])
@pytest.mark.parametrize("mode", ["copy", "move"])
def test_only_the_carts_that_the_definition_names_change(
    tables: Path, tmp_path: Path, mode: str, domain: str, window_days: float | None
) -> None:
    out = calibrated(tables, tmp_path / "out", mode=mode, domain=domain, window_days=window_days)
    assert check_tables(out) == []
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in tables.iterdir())
    before, after = exposures_of(tables), exposures_of(out)
    events = pq.read_table(table_path(tables, "events")).to_pydict()
    found = {purchase: cart for purchase, cart in by_hand(before, events, domain, window_days).items() if cart}
    cleared = {cart.cart for cart in found.values() if cart.cart is not None} if mode == "move" else set()
    place = {exposure: row for row, exposure in enumerate(before["exposure"])}
    carts = list(before["cart"])
    for exposures, value in ((found, 1), (cleared, 0)):
        for exposure in exposures:
            assert carts[place[exposure]] == 1 - value
            carts[place[exposure]] = value
    assert after == before | {"cart": carts}
    assert len(found) > 3
    summary = read_manifest(out).settings["calibration"]["summary"]
    assert (summary["matched"], summary["changed"][mode]) == (len(found), len(found) + len(cleared))
    assert pq.read_schema(table_path(out, "exposures")).equals(pq.read_schema(table_path(tables, "exposures")))
    for table in ("events", "users", "items", "truth"):
        assert table_path(out, table).read_bytes() == table_path(tables, table).read_bytes()


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_the_manifest_says_what_was_done_and_counts_again(tables: Path, tmp_path: Path, mode: str) -> None:
    out = calibrated(tables, tmp_path / "out", mode=mode, domain="global", window_days=5)
    old, new = read_manifest(tables), read_manifest(out)
    assert new.counts == counted(out)
    assert new.counts != old.counts
    done = dict(new.settings["calibration"])
    assert done.pop("summary")["matched"] == old.counts["bad_case_purchases"] - new.counts["bad_case_purchases"]
    assert done == {"mode": mode, "domain": "global", "window_days": 5.0}
    same = set(Manifest.model_fields) - {"fingerprint", "counts", "settings", "checksums"}
    assert new.model_dump(include=same) == old.model_dump(include=same)
    assert new.settings["x"] == 1


def test_equal_arguments_give_equal_bytes_and_others_another_fingerprint(tables: Path, tmp_path: Path) -> None:
    folders = [calibrated(tables, tmp_path / str(days), window_days=days) for days in (3, 3.0)]
    names = [path.name for path in folders[0].iterdir()]
    assert filecmp.cmpfiles(*folders, names, shallow=False)[0] == names
    others: list[dict[str, Any]] = [{}, {"window_days": 3}, {"mode": "move"}, {"domain": "global"}]
    prints = [
        read_manifest(calibrated(tables, tmp_path / f"other{i}", **options)).fingerprint
        for i, options in enumerate(others)
    ]
    assert len({*prints, read_manifest(tables).fingerprint}) == 5
    assert prints[1] == read_manifest(folders[0]).fingerprint


def test_the_size_of_the_pieces_does_not_matter(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calibrated(tables, tmp_path / "whole", mode="move", domain="global")
    monkeypatch.setattr(module, "_BATCH", 7)
    pieces = calibrated(tables, tmp_path / "pieces", mode="move", domain="global")
    assert pq.ParquetFile(table_path(pieces, "exposures")).num_row_groups > 5
    assert exposures_of(pieces) == exposures_of(whole)


@pytest.mark.parametrize("domain", ["recommendation", "global"])
@pytest.mark.parametrize("mode", ["copy", "move"])
def test_calibrated_tables_are_encoded_as_they_are(tables: Path, tmp_path: Path, mode: str, domain: str) -> None:
    """Matching once in the tables is matching in the encoding, and is not done again there."""
    out = calibrated(tables, tmp_path / "out", mode=mode, domain=domain)
    city = encoded(out)
    cart = city.labels[:, 1]
    for label in LABEL_COLUMNS[4:-1]:
        assert (city.labels[:, LABEL_COLUMNS.index(label)] == cart).all()
    assert {summary.bad_cases for summary in city.meta.calibration.values()} == {0}
    if domain == "recommendation":
        (tmp_path / "raw").symlink_to(tables)
        raw = encoded(tmp_path / "raw")
        assert (raw.exposure == city.exposure).all()
        assert (raw.labels[:, LABEL_COLUMNS.index(f"cart_{mode}")] == cart).all()
        assert (raw.labels[:, 1] != cart).any()


def test_a_log_without_events_or_matches_is_calibrated_too(tmp_path: Path) -> None:
    exposures = rows("user item time click purchase split", (1, 5, 0, 1, 1, "train"), (2, 5, DAY, 0, 0, "valid"))
    tables = write_tables(tmp_path / "tables", exposures=exposures)
    out = calibrated(tables, tmp_path / "out")
    assert exposures_of(out) == exposures_of(tables)
    summary = read_manifest(out).settings["calibration"]["summary"]
    assert (summary["bad_cases"], summary["matched"], summary["median_days"]) == (1, 0, None)
    assert sorted(path.name for path in out.iterdir()) == ["exposures.parquet", "manifest.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "none"}, "the mode must be copy or move, but got 'none'"),
        ({"mode": "take"}, "the mode must be copy or move, but got 'take'"),
        ({"domain": "search"}, "the domain must be recommendation or global, but got 'search'"),
        ({"window_days": 0}, "the window must be a number of days above 0, but got 0"),
        ({"window_days": -1.5}, "the window must be a number of days above 0, but got -1.5"),
        ({"window_days": float("nan")}, "the window must be a number of days above 0, but got nan"),
        ({"window_days": float("inf")}, "the window must be a number of days above 0, but got inf"),
    ],
)
def test_wrong_knobs_are_refused(tables: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        calibrate(tables, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_calibrated_tables_are_refused(tables: Path, tmp_path: Path) -> None:
    once = calibrated(tables, tmp_path / "once", mode="move")
    with pytest.raises(UserError, match="once must hold the labels of the log, but was calibrated already"):
        calibrated(once, tmp_path / "twice", domain="global")
    assert list((tmp_path / "twice").iterdir()) == []


def test_unsound_tables_are_refused(tmp_path: Path) -> None:
    exposures = rows("user item click cart", (1, 5, 0, 1), (2, 5, 2, 0))
    tables = write_tables(tmp_path / "tables", exposures=exposures)
    with pytest.raises(UserError, match=r"tables: exposures.parquet: click must be .* \(and 1 more\); mend the tables"):
        calibrated(tables, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    path = table_path(tables, "exposures")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"exposures.parquet must have the checksum .*more"):
        calibrated(tables, tmp_path / "again")


def test_wrong_places_are_refused(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must lie outside of"):
        calibrate(tables, tables / "below")
    with pytest.raises(UserError, match=r"must lie outside of"):
        calibrate(tables, tables)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"need a new or empty folder, but .*file is a file"):
        calibrate(tables, tmp_path / "file")
    with pytest.raises(UserError, match=r"need a new or empty folder, but .* holds files"):
        calibrate(tables, tmp_path)
    for wrong in (tmp_path / "missing", tmp_path / "file", tmp_path):
        with pytest.raises(UserError, match=r"must be a folder of funnel tables with a manifest.json, but it has none"):
            calibrate(wrong, tmp_path / "new")
    with pytest.raises(UserError, match=f"but these lie below it: .*{tables.name}.*; name one"):
        calibrate(tables.parent, tmp_path / "new")
    (tmp_path / "manifest.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(UserError, match=r"must be a manifest of funnel tables, but it is damaged"):
        calibrate(tmp_path, tmp_path / "new")
