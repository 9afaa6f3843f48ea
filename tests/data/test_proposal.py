"""Proposed specifications: of small logs in the layouts that teams have, read back and imported as they are."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_files import delimited

from bench.core.errors import UserError
from bench.data.checks import check_tables
from bench.data.logs import sample as sampling
from bench.data.logs.importing import import_log
from bench.data.logs.proposal import propose, split_days
from bench.data.logs.spec import Spec
from bench.data.logs.spec_file import read_spec
from bench.data.logs.toml_text import marks
from bench.data.tables import Manifest

START = datetime(2024, 3, 1, 9, tzinfo=UTC)
DAYS = 10
Row = dict[str, Any]


def rees46(path: Path) -> Path:
    """Ten sessions; each has views, most a cart, some a removal and a purchase."""
    rows = [["event_time", "event_type", "product_id", "category_code", "brand", "price", "user_id", "user_session"]]
    for day in range(DAYS):
        for minute, kind in enumerate(["view", "view", "cart", "remove_from_cart", "purchase"][: 3 + day % 3]):
            when = (START + timedelta(days=day, minutes=minute)).strftime("%Y-%m-%d %H:%M:%S UTC")
            product = 40 + (day + minute) % 2 if kind == "view" else 40 + day % 2
            price = f"{product + day / 4:.2f}"
            rows.append(
                [when, kind, str(product), "toys.cars" if day % 2 else "", "acme", price, str(day % 4), f"s{day}"]
            )
    path.write_text(delimited(*rows))
    return path


def retailrocket(path: Path) -> Path:
    rows: list[list[Any]] = [["timestamp", "visitorid", "event", "itemid", "transactionid"]]
    for day in range(DAYS):
        for minute, kind in enumerate(("view", "addtocart", "transaction")):
            ms = int((START + timedelta(days=day, minutes=minute)).timestamp() * 1000)
            rows.append([ms, 100 + day % 3, kind, 7 + day % 2, day if kind == "transaction" else ""])
    path.write_bytes(gzip.compress(delimited(*rows).encode()))
    return path


def criteo(path: Path) -> Path:
    """Exposures with labels, and columns that tell them or say nothing."""
    rows = [["timestamp", "uid", "campaign", "conversion", "conversion_id", "click", "cost", "cat1", "request", "site"]]
    for i in range(200):
        click, conversion = int(i % 4 == 0), int(i % 8 == 0)
        second = int((START + timedelta(hours=i)).timestamp())
        cost = f"{math.sin(i):.5f}"
        rows.append(
            [second, i % 9, i % 5, conversion, 1000 + i if conversion else -1, click, cost, i % 3, f"r{i}", "a"]
        )
    path.write_text(delimited(*rows, delimiter="\t"))
    return path


def json_lines(path: Path) -> Path:
    def event(day: int, minute: int, action: str) -> Row:
        when = START + timedelta(days=day, minutes=minute)
        place = {"position": minute + 1, "page": "search results" if day % 2 else "home"}
        more = {"tags": ["new", "red"] if day % 3 else ["new"], "geo": {"country": "de"}, "dwell": day + 0.25}
        return (
            {"user": f"u{day % 3}", "item": f"i{minute % 2}", "time": when.isoformat(), "action": action} | place | more
        )

    lines = [
        event(day, i, action)
        for day in range(12)
        for i, action in enumerate(("pv", "pv", "clk", "fav", "pay", "hover"))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def parquet(path: Path) -> Path:
    rows = [
        {
            "customer_id": i % 7,
            "sku": f"p{i % 5}",
            "shown_at": (START + timedelta(hours=3 * i)).replace(tzinfo=None),
            "is_click": i % 3 == 0,
            "add_to_cart": i % 6 == 0,
            "purchase": i % 12 == 0,
            "rank": i % 4,
            "tags": ["a", "b"][: 1 + i % 2],
            "time_of_day": "day" if i % 2 else "night",
        }
        for i in range(90)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def proposed(path: Path) -> tuple[str, Spec, Manifest]:
    """Text, specification and what an import makes of it, as it is; the tables pass the checks."""
    to = path.with_name("spec.toml")
    text = propose([str(path)], to)
    to.write_text(text)
    spec = read_spec(to)
    tables = path.with_name("tables")
    tables.mkdir()
    manifest = import_log(spec, tables, root=to.parent)
    assert check_tables(tables) == []
    return text, spec, manifest


def undecided(text: str) -> list[str]:
    return [mark.text.partition(":")[0] for mark in marks(text) if mark.must]


def against(text: str) -> dict[str, str]:
    """Why a column is no feature, by column."""
    lines = [line for line in text.splitlines() if line.startswith('# column = "')]
    return {line.split('"')[1]: line.partition('"  # ')[2] for line in lines}


def kinds(spec: Spec) -> dict[str, str]:
    return {feature.column: feature.kind for feature in spec.features}


def test_an_event_log_with_sessions(tmp_path: Path) -> None:
    text, spec, manifest = proposed(rees46(tmp_path / "2024-Mar.csv"))
    assert marks(text) == []
    columns = {"user": "user_id", "item": "product_id", "time": "event_time", "action": "event_type"}
    assert spec.columns.model_dump(exclude_none=True) == columns | {"visit": "user_session"}
    assert (spec.shape, spec.time_zone, spec.time.unit) == ("events", None, "text")
    assert spec.actions is not None
    meanings = {"view": "view", "cart": "cart", "remove_from_cart": "ignore", "purchase": "purchase"}
    assert spec.actions.meanings == meanings
    assert 'cart = ["cart"]  # rows: cart 10\n' in text
    assert kinds(spec) == {"category_code": "categorical", "price": "numeric"}
    assert against(text) == {"brand": "the same in all exposures: acme"}
    assert (spec.splits.valid_from, spec.splits.test_from) == (date(2024, 3, 8), date(2024, 3, 9))
    assert (manifest.counts["exposures"], manifest.counts["carts"], manifest.counts["purchases"]) == (20, 10, 3)


def test_an_event_log_without_sessions(tmp_path: Path) -> None:
    text, spec, manifest = proposed(retailrocket(tmp_path / "events.csv.gz"))
    assert marks(text) == []
    assert (spec.time.unit, spec.visits.by, spec.visits.gap_minutes) == ("ms", "gap", 30.0)
    assert against(text) == {"transactionid": "empty in all exposures"}
    assert [manifest.counts[key] for key in ("exposures", "carts", "purchases")] == [10, 10, 10]


def test_a_table_of_exposures(tmp_path: Path) -> None:
    text, spec, manifest = proposed(criteo(tmp_path / "log.tsv"))
    assert marks(text) == []
    assert (spec.shape, spec.delimiter, spec.time.unit) == ("exposures", "\t", "s")
    assert (spec.columns.user, spec.columns.item, spec.columns.visit) == ("uid", "campaign", None)
    assert spec.labels is not None
    assert spec.labels.model_dump(exclude_none=True) == {"click": "click", "purchase": "conversion"}
    assert 'click = "click"  # 1 in 50 of 200 rows\n' in text
    assert kinds(spec) == {"cost": "numeric", "cat1": "categorical"}
    reasons = against(text)
    assert reasons.keys() == {"conversion_id", "request", "site"}
    assert reasons["conversion_id"].startswith("tells the label: it differs from its usual value only where click is 1")
    assert reasons["request"] == "another value in every exposure"
    assert [manifest.counts[key] for key in ("exposures", "clicks", "purchases")] == [200, 50, 25]


def test_json_lines(tmp_path: Path) -> None:
    text, spec, manifest = proposed(json_lines(tmp_path / "log.jsonl"))
    assert [(mark.must, mark.text) for mark in marks(text)] == [(False, "ignore: what is hover?")]
    assert (spec.columns.position, spec.columns.domain, spec.search) == ("position", "page", ("search results",))
    assert spec.actions is not None
    assert (spec.actions.view, spec.actions.click, spec.actions.wish) == (("pv",), ("clk",), ("fav",))
    assert (spec.actions.purchase, spec.actions.ignore) == (("pay",), ("hover",))
    assert kinds(spec) == {"tags": "multi", "dwell": "numeric"}
    assert against(text).keys() == {"geo"}
    assert manifest.counts["exposures"] == 24


def test_parquet_with_naive_times(tmp_path: Path) -> None:
    text, spec, manifest = proposed(parquet(tmp_path / "log.parquet"))
    assert [(mark.must, mark.text.partition(":")[0]) for mark in marks(text)] == [(False, "time_zone")]
    assert (spec.time_zone, spec.columns.time, spec.columns.position) == ("UTC", "shown_at", "rank")
    assert spec.labels is not None
    assert spec.labels.model_dump() == {
        "click": "is_click",
        "cart": "add_to_cart",
        "wish": None,
        "purchase": "purchase",
    }
    assert kinds(spec) == {"tags": "multi", "time_of_day": "categorical"}
    assert [manifest.counts[key] for key in ("exposures", "clicks", "carts", "purchases")] == [90, 30, 15, 8]


def test_what_is_not_found_is_a_commented_line(tmp_path: Path) -> None:
    """No header: nothing tells users from items, nor what 1 to 4 mean."""
    rows = [(i % 5, i % 3, 1 + i % 4, 20240301 + i % 6) for i in range(60)]
    (tmp_path / "log.txt").write_text(delimited(*rows, delimiter="\t"))
    text = propose([str(tmp_path / "log.txt")], tmp_path / "spec.toml")
    assert undecided(text) == ["user", "item", "action"]
    assert "names" in [mark.text.partition(":")[0] for mark in marks(text)]
    assert 'time = "column3"' in text
    assert '[time]\nunit = "yyyymmdd"\n' in text
    assert 'by = "day"' in text
    assert "\n[[features]]" not in text
    (tmp_path / "spec.toml").write_text(text)
    with pytest.raises(UserError, match=r"spec\.toml line \d+: columns\.user must be there"):
        read_spec(tmp_path / "spec.toml")


def test_unknown_actions_must_be_decided(tmp_path: Path) -> None:
    rows = [("user", "item", "type", "ts"), *((i % 5, i % 3, 1 + i % 2, 1709280000 + 40000 * i) for i in range(60))]
    (tmp_path / "log.csv").write_text(delimited(*rows))
    text = propose([str(tmp_path / "log.csv")], tmp_path / "spec.toml")
    assert undecided(text) == ["view"]
    assert "rows: 1 30, 2 30" in text


@pytest.mark.parametrize(
    ("times", "line"),
    [
        ([f"{day}/3/2024 10:00" for day in range(1, 29)], 'format = "%d/%m/%Y %H:%M"\n'),
        ([f"3/{day}/2024 10:00" for day in range(1, 29)], 'format = "%m/%d/%Y %H:%M"\n'),
        (
            [f"{day}/3/2024 10:00" for day in range(1, 12)],
            'format = "%d/%m/%Y %H:%M"  # CHECK: it could as well be %m/%d/%Y %H:%M\n',
        ),
        ([1709280000000000 + 86400000000 * day for day in range(9)], 'unit = "us"\n'),
        ([f"2024-03-0{day}T10:00:00+01:00" for day in range(1, 9)], '# time_zone = "Europe/Berlin"'),
        ([f"2024-03-0{day}T10:00:00" for day in range(1, 9)], 'time_zone = "UTC"  # CHECK: times have no offset'),
        ([500 + 86400 * day for day in range(9)], '# time = "…"  # DECIDE: when'),
        (["2024-03-01", "2024-03-02"], "# DECIDE: train, valid and test each need a day, but there are 2"),
    ],
)
def test_how_times_are_written(tmp_path: Path, times: list[Any], line: str) -> None:
    rows = [("user", "item", "event", "when_time"), *((i % 5, i % 3, "view", time) for i, time in enumerate(times))]
    (tmp_path / "log.csv").write_text(delimited(*rows))
    assert line in propose([str(tmp_path / "log.csv")], tmp_path / "spec.toml")


@pytest.mark.parametrize("make", [rees46, retailrocket])
def test_a_large_log_gets_shares_instead_of_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    """Only the first rows are looked at, of some of the files."""
    for i in range(3):
        make(tmp_path / (f"log{i}.csv.gz" if make is retailrocket else f"log{i}.csv"))
    monkeypatch.setattr(sampling, "ROWS", 12)
    monkeypatch.setattr(sampling, "FILES", 2)
    text = propose([str(tmp_path / "log*")], tmp_path / "deep" / "spec.toml")
    assert "from the first 12 rows" in text
    assert " in these rows\n" in text
    assert "# An import stops at a value that is not listed here" in text
    assert 'files = ["../log*"]' in text
    assert "valid_share = 0.1" in text
    assert "valid_from = 2" not in text


def test_the_split_is_nearest_to_a_tenth_and_a_fifth() -> None:
    assert split_days(dict.fromkeys(range(10), 7)) == (7, 8)
    assert split_days({1: 3037, 2: 3432, 3: 9762, 6: 4775, 7: 6612, 8: 9996, 9: 7550, 10: 10237, 11: 4298}) == (9, 10)
    assert split_days({5: 1, 6: 1, 7: 98}) == (6, 7)


def test_odd_names_are_quoted(tmp_path: Path) -> None:
    rows = [("user", "item", "event", "time", 'a "b" \\ c', "split", "hour")]
    rows += [
        (f"{i % 5}", f"{i % 3}", "view", f"2024-03-{1 + i:02d} 10:00:00Z", "x" * (i % 2), f"{i % 3}", f"{i % 4}")
        for i in range(20)
    ]
    text = delimited(*rows).replace('a "b" \\ c', '"a ""b"" \\ c"')
    (tmp_path / "my [log].csv").write_text(text)
    _, spec, manifest = proposed(tmp_path / "my [log].csv")
    assert [feature.column for feature in spec.features] == ['a "b" \\ c', "split", "hour"]
    assert [feature.feature_name for feature in spec.features] == ['a "b" \\ c', "split_column", "hour_column"]
    assert manifest.counts["exposures"] == 20


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, r"must match .*, but there are none"), ("user,item\n", "must have rows, but has none")],
)
def test_files_without_rows_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "log.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        propose([str(tmp_path / "log.csv")], tmp_path / "spec.toml")
