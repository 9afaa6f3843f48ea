"""What the rules of a log say, in plain loops over rows: the reference for the SQL of the import."""

from __future__ import annotations

import bisect
import zoneinfo
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

from bench.data.logs.rules import Rules

ORDER = ("view", "click", "cart", "wish", "purchase", "browse")
LABELS = ("click", "cart", "wish", "purchase")

Row = dict[str, Any]


def local_day(second: int, zone: str) -> date:
    return datetime.fromtimestamp(second, UTC).astimezone(zoneinfo.ZoneInfo(zone)).date()


def sort_key(row: Row, columns: list[str]) -> tuple[Any, ...]:
    """NULLS LAST, as DuckDB sorts."""
    return tuple((row.get(column) is None, row.get(column) if row.get(column) is not None else 0) for column in columns)


def by_hand(events: list[Row], rules: Rules) -> tuple[list[Row], list[Row], Counter[str]]:
    """Exposures, behaviour and counts of a log of events; numbers of visits and exposures are left out.

    Rows have user, item, time, action, visit, brand. A visit is named by the place of its first row.
    """
    counts: Counter[str] = Counter()
    rows = []
    for row in events:
        if row["user"] is None or row["item"] is None or row["time"] is None:
            counts["incomplete_events"] += 1
        else:
            rows.append({**row, "code": ORDER.index(row["action"])})
    keys = ["user", *(["visit"] if rules.visit == "column" else []), "time", "item", "code", "brand"]
    rows.sort(key=lambda row: sort_key(row, keys))
    distinct: list[Row] = []
    seen = set()
    for row in rows:
        same = (row["user"], row["item"], row["time"], row["action"], row["visit"] if rules.visit == "column" else 0)
        if same in seen:
            counts["repeated"] += 1
        else:
            seen.add(same)
            distinct.append(row)
    last: Row | None = None
    visit = -1
    for row in distinct:
        new = last is None or last["user"] != row["user"]
        if not new and last is not None:
            other_day = local_day(last["time"], rules.time_zone) != local_day(row["time"], rules.time_zone)
            if rules.visit == "gap":
                new = row["time"] - last["time"] > rules.gap_minutes * 60
            elif rules.visit == "day":
                new = other_day
            else:
                new = last["visit"] != row["visit"] or (row["visit"] is None and other_day)
        visit += new
        row["v"] = visit
        last = row
    space = "view" if any(row["action"] == "view" for row in distinct) else "click"
    all_clicked = space == "click" or not any(row["action"] == "click" for row in distinct)
    exposures: list[Row] = []
    shown = set()
    for row in distinct:
        if row["action"] == space and (row["v"], row["item"]) not in shown:
            shown.add((row["v"], row["item"]))
            exposures.append({**row, **dict.fromkeys(LABELS, 0)})
    for act in distinct:
        label = act["action"]
        if label not in LABELS or (label == "click" and all_clicked):
            continue
        counts[f"{label}_actions"] += 1
        of_item = [e for e in exposures if (e["user"], e["item"]) == (act["user"], act["item"])]
        hours = rules.attribution_hours
        able = [e for e in of_item if e["time"] <= act["time"]]
        if hours is None:
            able = [e for e in able if e["v"] == act["v"]]
        else:
            able = [e for e in able if act["time"] - e["time"] <= hours * 3600]
        if able:
            latest = max(e["time"] for e in able)
            taken = next(e for e in able if e["time"] == latest)
            taken[label] = 1
            start = min(e["time"] for e in exposures if e["v"] == taken["v"])
            counts[f"{label}_of_later_split"] += split_of(act["time"], rules) != split_of(start, rules)
        elif not of_item:
            counts[f"{label}_without_exposure"] += 1
        elif min(e["time"] for e in of_item) <= act["time"]:
            counts[f"{label}_late"] += 1
        else:
            counts[f"{label}_early"] += 1
    for exposure in exposures:
        later = exposure["cart"] or exposure["wish"] or exposure["purchase"]
        if later and not exposure["click"] and not all_clicked:
            counts["implied_clicks"] += 1
        exposure["click"] = 1 if all_clicked else max(exposure["click"], later)
        counts["bad_case_purchases"] += exposure["purchase"] and not exposure["cart"]
        for label in LABELS:
            counts[{"wish": "wishes"}.get(label, f"{label}s")] += exposure[label]
    behaviour = [
        {**row, "action": "click" if row["action"] == "view" else row["action"]}
        for row in distinct
        if row["action"] != "view" or all_clicked
    ]
    counts["repeated_views"] = sum(row["action"] == space for row in distinct) - len(exposures)
    counts["exposures"], counts["events"] = len(exposures), len(behaviour)
    counts["visits"] = len({e["v"] for e in exposures})
    counts["log_visits"] = visit + 1
    return exposures, behaviour, counts


def split_of(start: int, rules: Rules) -> str:
    """The split of a visit that starts then; with the days of the rules."""
    day = local_day(start, rules.time_zone)
    assert rules.splits.valid_from is not None and rules.splits.test_from is not None
    return ("train", "valid", "test")[bisect.bisect_right([rules.splits.valid_from, rules.splits.test_from], day)]
