"""The numbers of a description, against plain Python over the rows."""

from __future__ import annotations

import json
import math
import os
import zoneinfo
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from behaviour_logs import random_log, records
from described_logs import DAY, START, clean_log, described
from six_cities_tables import make
from tiny_tables import ITEM, USER, rows, write_tables

from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.calibrate import calibrate
from bench.data.describe.describe import describe
from bench.data.describe.results import GAP_EDGES, QUANTILES, Carts, Description, Gaps
from bench.data.describe.spreads import spread
from bench.data.source import SourceOptions

IDS = (USER, ITEM)
SHARED = Path(os.environ.get("ESM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Description]:
    """The exposures of city 6 at a ten-thousandth of its size, and its description."""
    folder = tmp_path_factory.mktemp("city")
    tables = make(folder / "tables", scale=0.0001)
    (folder / "scratch").mkdir()
    exposures = {name: column.tolist() for name, column in tables.exposures.items()}
    return records(exposures), describe(folder / "tables", folder / "scratch")


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that a share ``q`` of all is at most."""
    return sorted(values)[max(0, math.ceil(q * len(values) - 1e-9) - 1)]


def test_counts_by_split(city: tuple[list[dict[str, Any]], Description]) -> None:
    exposures, found = city
    for split in ("all", "train", "valid", "test"):
        part = [row for row in exposures if split in ("all", row["split"])]
        counts = found.splits[split]
        assert counts.exposures == len(part)
        assert counts.clicks == sum(row["click"] for row in part)
        assert counts.carts == sum(row["cart"] for row in part)
        assert counts.wishes == sum(row["wish"] for row in part)
        assert counts.purchases == sum(row["purchase"] for row in part)
        assert counts.purchases_without_cart == sum(row["purchase"] > row["cart"] for row in part)
        assert counts.purchases_without_click == 0
        assert counts.users == len({row["user"] for row in part})
        assert counts.items == len({row["item"] for row in part})
        assert counts.visits == len({row["visit"] for row in part})
    assert found.manifest_counts["exposures"] == len(exposures)
    assert sum(found.events["click"].values()) > found.splits["all"].clicks


def test_spreads(city: tuple[list[dict[str, Any]], Description]) -> None:
    exposures, found = city
    visits = {(row["visit"], row["user"]) for row in exposures}
    counted = {
        ("visits", "user"): Counter(user for _, user in visits),
        **{("exposures", key): Counter(row[key] for row in exposures) for key in ("visit", "user", "item")},
    }
    assert [(spread.what, spread.per) for spread in found.spreads] == list(counted)
    for spread_of, counts in zip(found.spreads, counted.values(), strict=True):
        n = sorted(counts.values(), reverse=True)
        assert (spread_of.owners, spread_of.total, spread_of.largest) == (len(n), sum(n), n[0])
        assert spread_of.mean == pytest.approx(sum(n) / len(n))
        assert spread_of.quantiles == {q: quantile(n, q) for q in QUANTILES}
        assert spread_of.top_share == pytest.approx(sum(n[: math.ceil(len(n) / 100)]) / sum(n))
        assert spread_of.tail[0] == (n[-1], 1.0)
        for least, share in spread_of.tail:
            assert share == pytest.approx(sum(each >= least for each in n) / len(n))


def test_the_top_of_a_spread_can_lie_within_equals() -> None:
    found = spread("visits", "user", np.array([1, 2, 50]), np.array([140, 59, 1]))
    assert found.top_share == pytest.approx((50 + 2) / (140 + 118 + 50))
    assert found.tail == (
        (1, 1.0),
        (2, 0.3),
        (3, 0.005),
        (5, 0.005),
        (10, 0.005),
        (20, 0.005),
        (30, 0.005),
        (50, 0.005),
    )


def test_days_and_hours_are_local_also_when_the_clock_changes(tmp_path: Path) -> None:
    """The clock of Berlin went back on 2023-10-29."""
    log = clean_log()
    log["exposures"]["time"] -= START - 1_698_000_000 // DAY * DAY
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    found = described(tmp_path, {"exposures": log["exposures"]}, settings={"time_zone": zone.key}).times
    assert found is not None
    local = [datetime.fromtimestamp(int(time), zone) for time in log["exposures"]["time"]]
    days: dict[Any, Counter[str]] = defaultdict(Counter)
    for row, moment in zip(records(log["exposures"]), local, strict=True):
        days[moment.date()] += Counter(exposures=1, clicks=row["click"], carts=row["cart"], purchases=row["purchase"])
        days[moment.date()][row["split"]] += 1
    assert {day.day: (day.exposures, day.clicks, day.carts, day.purchases) for day in found.days} == {
        day: (n["exposures"], n["clicks"], n["carts"], n["purchases"]) for day, n in days.items()
    }
    assert [day.day for day in found.days] == sorted(days)
    assert all(days[day.day][day.split] * 2 >= day.exposures for day in found.days)
    hours = Counter(moment.hour for moment in local)
    assert found.hours == tuple(hours[hour] for hour in range(24))
    seconds = sorted(
        moment.hour * 3600 + moment.minute * 60 + moment.second for moment in local if moment.date() == min(days)
    )
    assert found.first_second == seconds[0]
    assert found.time_zone == "Europe/Berlin"


def _purchases(
    exposures: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> dict[Any, dict[str, Any]]:
    """Time of every purchase of a user, item and visit, whether it is shown or logged, and its last cart."""
    found: dict[Any, dict[str, Any]] = {}
    for row in [e for e in events if e["action"] == "purchase"] + [e for e in exposures if e.get("purchase")]:
        logged, visit = "action" in row, row["visit"] if row["visit"] is not None else ("none", row["time"])
        each = found.setdefault((row["user"], row["item"], visit), {"shown": False, "logged": False, "times": []})
        each["shown"] |= not logged
        each["logged"] |= logged
        if logged or not each["logged"]:
            each["times"].append(row["time"])
    carts = [e for e in events if e["action"] == "cart"]
    carted = {(e["user"], e["item"], e["visit"]) for e in carts}
    carts += [e for e in exposures if e["cart"] and (e["user"], e["item"], e["visit"]) not in carted]
    for (user, item, visit), each in found.items():
        mine = [cart for cart in carts if (cart["user"], cart["item"]) == (user, item)]
        each["time"] = min(each["times"])
        each["same_visit"] = any(cart["visit"] == visit for cart in mine)
        each["cart_time"] = max((cart["time"] for cart in mine if cart["time"] <= each["time"]), default=None)
    return found


def _same(found: Carts | None, wanted: list[dict[str, Any]]) -> None:
    if found is None:
        assert wanted == []
        return
    after = [each for each in wanted if each["cart_time"] is not None]
    days = Counter(min(30, each["time"] // DAY - each["cart_time"] // DAY) for each in after)
    assert found.purchases == len(wanted)
    assert found.same_visit == sum(each["same_visit"] for each in wanted)
    assert found.earlier == sum(not each["same_visit"] for each in after)
    assert found.days == dict(days)
    assert found.earlier_day == sum(n for day, n in days.items() if day)
    for gaps, same in ((found.same_gaps, True), (found.earlier_gaps, False)):
        seconds = [each["time"] - each["cart_time"] for each in after if each["same_visit"] == same]
        assert (gaps is None) == (not seconds)
        if gaps is not None:
            _same_gaps(gaps, seconds)


def _same_gaps(gaps: Gaps, seconds: list[int]) -> None:
    bins = Counter(sum(second >= edge for edge in GAP_EDGES) for second in seconds)
    assert gaps.bins == tuple(bins[index] for index in range(len(GAP_EDGES) + 1))
    assert gaps.quantiles == {q: quantile(seconds, q) for q in QUANTILES}


@pytest.mark.parametrize("seed", range(12))
def test_carts_against_the_definition_on_random_logs(tmp_path: Path, seed: int) -> None:
    exposures, events = random_log(seed)
    for table in (exposures, events):
        table["time"] = [time + START for time in table["time"]]
    tables = {"exposures": exposures} | ({"events": events} if seed % 6 else {})
    found = described(tmp_path, tables, IDS)
    wanted = _purchases(records(exposures), records(events) if seed % 6 else []).values()
    _same(found.carts, [each for each in wanted if each["shown"]])
    _same(found.log_carts, [each for each in wanted if each["logged"]])


def test_clues(tmp_path: Path) -> None:
    exposures = rows(
        "user item visit time click cart purchase",
        (1, 5, 0, 100, 1, 0, 0),  # its click comes before
        (1, 5, 0, 100, 1, 1, 0),  # repeated; its click comes before
        (2, 5, 1, 200, 1, 1, 1),
        (2, 6, 1, 200 + DAY + 1, 0, 0, 0),  # a visit of more than a day
        (3, 6, 2, 300 + DAY, 1, 0, 0),  # no click in the log
    )
    events = rows(
        "user item time visit action domain",
        (1, 5, 99, 0, "click", "search"),
        (1, 5, 101, 0, "cart", "search"),
        (2, 5, 200, 1, "click", "search"),
        (2, 5, 150, 1, "cart", "search"),
        (2, 5, 250, None, "cart", "search"),
        (2, 5, 300 + 2 * DAY + 1, None, "purchase", "search"),  # late
        (3, 5, 400, None, "purchase", "search"),  # the user never was shown it
    )
    clues = described(tmp_path, {"exposures": exposures, "events": events}, IDS).clues
    assert clues.before_exposure == {"click": (1, 1), "cart": (2, 0), "purchase": (1, 0)}  # clicks with more: implied
    assert (clues.busiest_user, clues.busiest_item) == (2, 3)
    assert (clues.repeated, clues.late_events, clues.long_visits, clues.unseen_purchases) == (1, 1, 1, 1)


def test_a_log_without_times_purchases_or_visits_that_return(tmp_path: Path) -> None:
    exposures = rows("user item visit time click cart", (1, 5, 0, 0, 1, 1), (2, 6, 1, 0, 1, 0))
    lacks = {"time": "has no times", "purchase": "has no purchases"}
    found = described(tmp_path / "none", {"exposures": exposures}, IDS, lacks=lacks)
    assert (found.times, found.carts, found.log_carts, found.lacks) == (None, None, None, lacks)
    exposures["purchase"] = [1, 1]
    found = described(tmp_path / "some", {"exposures": exposures}, IDS, lacks={"time": "has no times"})
    assert found.carts == Carts(
        purchases=2, same_visit=1, earlier=None, earlier_day=None, days=None, same_gaps=None, earlier_gaps=None
    )


def test_a_description_survives_json_and_is_repeated(city: tuple[Any, Description], tmp_path: Path) -> None:
    assert Description.model_validate_json(city[1].model_dump_json()) == city[1]
    assert json.loads(city[1].model_dump_json())["splits"]["all"]["exposures"] == city[1].splits["all"].exposures
    first = described(tmp_path / "a", clean_log())
    assert described(tmp_path / "b", clean_log()) == first


def test_broken_tables_are_refused(tmp_path: Path) -> None:
    names = ("exposure", "user", "item", "visit", "time", "position", "click", "cart", "wish", "purchase")
    sound = {**{name: np.arange(2) for name in names}, "split": np.array(["train", "test"])}
    write_tables(tmp_path / "empty", exposures={name: column[:0] for name, column in sound.items()})
    with pytest.raises(UserError, match=r"empty/exposures\.parquet must have rows, but has none"):
        describe(tmp_path / "empty", tmp_path)
    write_tables(tmp_path / "types", exposures=rows("user item click", (1, 5, "yes")))
    with pytest.raises(UserError, match=r"types: exposures\.parquet: click must be"):
        describe(tmp_path / "types", tmp_path)


def test_the_sample_of_a_real_export(tmp_path: Path) -> None:
    """The counts are those of the sample's own description, as the reader's test has them."""
    found = of_source(tmp_path, "ga360")
    assert found.splits["all"].exposures == 58_822
    assert (found.splits["all"].purchases, found.splits["all"].carts) == (37, 364)
    assert found.carts is not None
    assert (found.carts.purchases, found.carts.same_visit) == (37, 37)
    assert "empty_days" in {finding.kind for finding in found.findings}


def test_carts_of_the_sample_of_taobao(tmp_path: Path) -> None:
    """The sample's description: 84.9 % of the purchases have a cart so far, for 29.7 % it lies on an earlier day."""
    found = of_source(tmp_path, "cikm19_taobao").log_carts
    assert found is not None
    assert found.earlier is not None
    assert found.earlier_day is not None
    assert (found.same_visit + found.earlier) / found.purchases == pytest.approx(0.849, abs=5e-4)
    assert found.earlier_day / found.purchases == pytest.approx(0.297, abs=5e-4)


def of_source(folder: Path, dataset: str) -> Description:
    """The description of a real sample, where it is there."""
    raw = SHARED / dataset
    if not raw.exists():
        pytest.skip(f"the sample of {dataset} is not in {raw}; set ESM_SHARED_DATA")
    source = SOURCES.get(dataset)(SourceOptions(data_dir=raw))
    for name in ("tables", "scratch"):
        (folder / name).mkdir()
    source.write(source.cities()[0], folder / "tables")
    return describe(folder / "tables", folder / "scratch")


def test_calibrated_tables_have_the_carts_of_the_log(tmp_path: Path) -> None:
    """Sample Calibration gives training labels carts of earlier visits: no wrong clock, and no carts of their visit."""
    folders = {name: tmp_path / name for name in ("none", "copy", "move")}
    make(folders["none"], scale=0.0001)
    found = {}
    for name, folder in folders.items():
        if name != "none":
            folder.mkdir()
            assert calibrate(folders["none"], folder, mode=name).changed[name] > 0
        (scratch := tmp_path / f"scratch-{name}").mkdir()
        found[name] = describe(folder, scratch)
    plain = found.pop("none")
    for each in found.values():
        assert each.splits["train"].purchases_without_cart < plain.splits["train"].purchases_without_cart
        assert (each.carts, each.log_carts) == (plain.carts, plain.log_carts)
        assert each.findings == plain.findings == ()


def test_a_table_of_the_manifest_that_is_missing_is_told(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    make(tables, scale=0.0001)
    (tables / "events.parquet").unlink()
    with pytest.raises(UserError, match=r"tables: events\.parquet must exist, but is missing; make the tables again"):
        describe(tables, tmp_path)
