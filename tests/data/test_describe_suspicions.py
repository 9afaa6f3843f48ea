"""Each suspicious thing, planted alone in a clean log, is found alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from described_logs import COLOR, DAY, PRICE, START, VISITS, clean_log, described, events_of
from tiny_tables import ITEM, USER

from bench.data.tables import Feature

Log = dict[str, dict[str, np.ndarray]]
Planted = dict[str, Any]


def kept(log: Log, rows: np.ndarray) -> Log:
    exposures = {name: column[rows] for name, column in log["exposures"].items()}
    return {"exposures": exposures, "events": events_of(exposures)}


def extra(log: Log, values: Any, kind: Any = "categorical") -> Planted:
    """The log with one more feature."""
    log["exposures"]["extra"] = values
    return {"tables": log, "features": (USER, ITEM, COLOR, PRICE, Feature(name="extra", table="exposures", kind=kind))}


def leak(log: Log) -> Planted:
    flip = np.random.default_rng(1).random(4 * VISITS) < 0.02
    return extra(log, log["exposures"]["click"] ^ flip)


def numeric_leak(log: Log) -> Planted:
    bought = log["exposures"]["purchase"]
    return extra(log, bought * 30.0 + np.random.default_rng(1).normal(0, 5, 4 * VISITS), "numeric")


def mirror(log: Log) -> Planted:
    return extra(log, np.where(log["exposures"]["click"] == 1, "yes", "no"))


def order_number(log: Log) -> Planted:
    """Known where something was bought, and else missing."""
    bought = log["exposures"]["purchase"] == 1
    return extra(log, [f"order {i // 3}" if b else None for i, b in enumerate(bought)])


def constant(log: Log) -> Planted:
    return extra(log, np.full(4 * VISITS, "web"))


def row_id(log: Log) -> Planted:
    return extra(log, [f"row {i}" for i in range(4 * VISITS)])


def large_user(log: Log) -> Planted:
    log["exposures"]["user"] = np.where(log["exposures"]["visit"] % 2, log["exposures"]["user"], 0)
    return {"tables": kept(log, np.arange(4 * VISITS))}


def large_item(log: Log) -> Planted:
    rows = np.random.default_rng(1).random(4 * VISITS) < 0.4
    log["exposures"]["item"] = np.where(rows, 7, log["exposures"]["item"])
    return {"tables": kept(log, np.arange(4 * VISITS))}


def before_exposure(log: Log) -> Planted:
    log["events"]["time"] = log["events"]["time"] - 600
    return {"tables": log}


def late_events(log: Log) -> Planted:
    for name in ("user", "item", "visit", "action", "domain"):
        log["events"][name] = np.r_[log["events"][name], log["events"][name][:20]]
    log["events"]["time"] = np.r_[log["events"]["time"], np.full(20, log["exposures"]["time"].max() + 3 * DAY)]
    return {"tables": log}


def repeated(log: Log) -> Planted:
    rows = np.arange(0, 400, 4)
    for name in ("item", "time"):
        log["exposures"][name][rows + 1] = log["exposures"][name][rows]
    return {"tables": kept(log, np.arange(4 * VISITS))}


def long_visits(log: Log) -> Planted:
    """Ten visits of the first day go on on the third."""
    log["exposures"]["time"][3:40:4] += 2 * DAY
    return {"tables": kept(log, np.arange(4 * VISITS))}


def empty_days(log: Log) -> Planted:
    log["exposures"]["time"] += 2 * DAY * (log["exposures"]["time"] >= START + 5 * DAY)
    return {"tables": kept(log, np.arange(4 * VISITS))}


def cut_first_day(log: Log) -> Planted:
    return {"tables": kept(log, log["exposures"]["time"] >= START + 18 * 3600)}


def cut_last_day(log: Log) -> Planted:
    return {"tables": kept(log, log["exposures"]["time"] < START + 9 * DAY + 16 * 3600)}


def dates_only(log: Log) -> Planted:
    log["exposures"]["time"] = log["exposures"]["time"] // DAY * DAY
    return {"tables": kept(log, np.arange(4 * VISITS))}


def time_zone(log: Log) -> Planted:
    """The evening becomes the morning; each day keeps its rows."""
    time = log["exposures"]["time"]
    log["exposures"]["time"] = time // DAY * DAY + (time + 8 * 3600) % DAY
    return {"tables": kept(log, np.arange(4 * VISITS))}


def rates_differ(log: Log) -> Planted:
    keep = (log["exposures"]["split"] != "test") | (np.random.default_rng(1).random(4 * VISITS) < 0.2)
    log["exposures"]["purchase"] = log["exposures"]["purchase"] * keep
    return {"tables": kept(log, np.arange(4 * VISITS))}


def no_click(log: Log) -> Planted:
    return {"tables": log, "counts": {"implied_clicks": 300}}


def unseen_purchases(log: Log) -> Planted:
    bought = log["events"]["action"] == "purchase"
    log["events"]["item"] = np.where(bought, log["events"]["item"] + 1000, log["events"]["item"])
    return {"tables": log}


PLANTED: dict[str, list[Callable[[Log], Planted]]] = {
    "leak": [leak, numeric_leak, mirror, order_number],
    "constant": [constant],
    "row_id": [row_id],
    "large_user": [large_user],
    "large_item": [large_item],
    "before_exposure": [before_exposure],
    "late_events": [late_events],
    "repeated": [repeated],
    "long_visits": [long_visits],
    "empty_days": [empty_days],
    "cut_first_day": [cut_first_day],
    "cut_last_day": [cut_last_day],
    "dates_only": [dates_only],
    "time_zone": [time_zone],
    "rates_differ": [rates_differ],
    "no_click": [no_click],
    "unseen_purchases": [unseen_purchases],
}
CASES = [pytest.param(kind, plant, id=plant.__name__) for kind, plants in PLANTED.items() for plant in plants]


def test_nothing_is_suspicious_in_a_clean_log(tmp_path: Path) -> None:
    assert described(tmp_path, clean_log()).findings == ()


@pytest.mark.parametrize(("kind", "plant"), CASES)
def test_what_is_planted_is_found_and_nothing_else(tmp_path: Path, kind: str, plant: Callable[[Log], Planted]) -> None:
    found = described(tmp_path, **plant(clean_log())).findings
    assert {finding.kind for finding in found} == {kind}
    for finding in found:
        for sentence in (finding.seen, finding.means, finding.remedy):
            assert not sentence[0].islower()
            assert sentence.endswith(".")


def test_the_numbers_of_what_is_found(tmp_path: Path) -> None:
    (user,) = described(tmp_path / "user", **large_user(clean_log())).findings
    rows = int((large_user(clean_log())["tables"]["exposures"]["user"] == 0).sum())
    assert user.seen == f"One user (0) has {rows / 40:.1f} % of the exposures ({rows:,} of 4,000)."
    (days,) = described(tmp_path / "days", **empty_days(clean_log())).findings
    assert days.seen == "2 of 12 days have no exposure; 2023-11-13 is the first day after a hole."
    (visits,) = described(tmp_path / "visits", **long_visits(clean_log())).findings
    assert visits.seen == "10 of 1,000 visits last longer than a day."
    (mirrored,) = described(tmp_path / "mirror", **mirror(clean_log())).findings
    assert mirrored.seen.startswith("The feature extra says whether an exposure is clicked without an error")
    assert mirrored.remedy.startswith("Take extra out of the features")
    (early, *_) = described(tmp_path / "early", **before_exposure(clean_log())).findings
    assert "exposures with a click come after the user's last click of the item" in early.seen


def test_what_cannot_be_asked_is_not_found(tmp_path: Path) -> None:
    """No times, no events: neither days nor order."""
    log = clean_log()
    log["exposures"]["time"] *= 0
    found = described(tmp_path, {"exposures": log["exposures"]}, lacks={"time": "has no times"})
    assert found.findings == ()
    assert found.times is None
    assert (found.clues.repeated, found.clues.late_events, found.clues.long_visits) == (None, None, None)
