"""Descriptions as Markdown, pictures and text."""

from __future__ import annotations

import io
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from bench.core.errors import UserError
from bench.data.describe.carts import MOST_DAYS
from bench.data.describe.results import (
    GAP_EDGES,
    QUANTILES,
    Carts,
    Clues,
    Column,
    Counts,
    Day,
    Description,
    Finding,
    Gaps,
    Spread,
    Times,
)
from reports import style
from reports.describe.page import folder_of, page, write_page
from reports.describe.terminal import show
from reports.describe.words import duration, number, percent, plural, rough

PICTURES = ["carts.png", "days.png", "hours.png", "spreads.png"]


def description(**changes: Any) -> Description:
    """Of a made-up log: 1,000 exposures on 40 days, of which one is missing."""
    counts = Counts(exposures=1000, clicks=100, carts=30, purchases=20, users=50, items=9, visits=200)
    days = tuple(
        Day(day=date(2024, 2, 1) + timedelta(n), split="train" if n < 30 else "test", exposures=25, clicks=3)
        for n in range(40)
        if n != 7
    )
    gaps = Gaps(purchases=12, quantiles=dict.fromkeys(QUANTILES, 90.0), bins=(0, 12, *[0] * (len(GAP_EDGES) - 1)))
    late = Gaps(purchases=3, quantiles=dict.fromkeys(QUANTILES, 3.6e6), bins=(*[0] * len(GAP_EDGES), 3))
    carts = Carts(
        purchases=20, same_visit=12, earlier=3, earlier_day=3, days={0: 12, MOST_DAYS: 3}, same_gaps=gaps,
        earlier_gaps=late,
    )  # fmt: skip
    spread = {"mean": 4.0, "quantiles": dict.fromkeys(QUANTILES, 3), "largest": 40, "top_share": 0.125}
    values: dict[str, Any] = {
        "dataset": "shop",
        "city": "1",
        "fingerprint": "f",
        "origin": "log",
        "lacks": {"wish": "has no wishes"},
        "notes": ("Views stand for exposures.",),
        "manifest_counts": {"late_carts": 4321},
        "settings": {"rules": {"gap_minutes": 30}},
        "splits": {"all": counts, "train": counts.model_copy(update={"purchases": 5}), "test": counts},
        "events": {"cart": {"recommendation": 31, "search": 1234}},
        "times": Times(
            time_zone="Asia/Tokyo", days=days, hours=(*[0] * 12, 500, 475, *[0] * 10), first_second=0, last_second=9,
            usual_first_second=0, usual_last_second=9, span=(0, 1),
        ),
        "spreads": tuple(
            Spread(what=what, per=per, owners=50, total=200, tail=((1, 1.0), (40, 0.02)), **spread)
            for what, per in (("visits", "user"), ("exposures", "visit"), ("exposures", "user"), ("exposures", "item"))
        ),
        "carts": carts,
        "log_carts": carts.model_copy(update={"purchases": 40}),
        "columns": (column("shelf", missing=0.25, top="a|b", auc={"click": 0.987, "purchase": None}),),
        "clues": Clues(
            busiest_user=1, busiest_item=1, repeated=0, before_exposure={}, late_events=0, long_visits=0,
            unseen_purchases=0,
        ),
        "findings": (Finding(kind="leak", seen="The shelf tells.", means="It leaks.", remedy="Take it out."),),
    }  # fmt: skip
    return Description(**values | changes)


def column(name: str, **changes: Any) -> Column:
    values: dict[str, Any] = {
        "name": name,
        "table": "exposures",
        "kind": "categorical",
        "missing": 0.0,
        "distinct": 7,
        "rounded": False,
        "top": "a",
        "top_share": 0.5,
        "unknown": {"valid": 0.125, "test": None},
        "auc": {"click": 0.5, "purchase": None},
        "mirrors": (),
    }
    return Column(**values | changes)


def shown(found: Description, width: int = 100) -> str:
    text = io.StringIO()
    show(found, Console(file=text, width=width))
    return text.getvalue()


def test_the_page_says_what_the_description_has() -> None:
    text = page(description())
    assert text.startswith(
        "# shop, city 1\n\nA log: 1,000 exposures of 9 items to 50 users in 200 visits, on 39 days from 2024-02-01 to "
        "2024-03-11 (Asia/Tokyo).\n"
    )
    assert "1. **The shelf tells.** It leaks. *What to do:* Take it out." in text
    assert "1. Views stand for exposures.\n2. The log has no wishes (so there is no wish)." in text
    assert "| purchases | 20 | 5 | 20 |" in text
    assert "| wishes | - | - | - |" in text
    assert "| exposures that are clicked (CTR) | 10.00 % | 10.00 % | 10.00 % |" in text
    assert "| clicks that are bought (CVR) | 20.00 % | 5.00 % | 20.00 % |" in text
    assert "| this log | 50 | 9 | 100 | 20 | 1,000 | 0.10000 | 0.02000 |" in text
    assert "| the six cities of the paper | 1 – 6 M | 30 – 110 k | 11 – 61 M | 1 – 10 M | 184 – 1,004 M |" in text
    assert "| 2024-02-01 | 25 | 3 | 0 | 0 | 0 | train |" in text
    assert "| visits per user | 4.0 | 3 | 3 | 3 | 3 | 3 | 3 | 40 | 12.5 % |" in text
    assert (
        "Of 20 purchases of exposures, 8 (40.0 %) are bad cases; 3 of these (37.5 %) have an earlier cart of the same "
        "user and item in the log. For 3 purchases (15.0 %) the last cart lies on an earlier day."
    ) in text
    assert "| bad case: no cart in their visit | 8 (40.0 %) | 28 (70.0 %) |" in text
    assert re.search(r"\| +without any cart before \| 5 \(25.0 %\) \| 25 \(62.5 %\) \|", text)
    assert "| same visit, of exposures (12) | 1.5 minutes |" in text
    assert "| 30 days or more | 3 | 3 |" in text
    assert "| cart | 31 | 1,234 |" in text
    assert "| shelf | exposures | categorical | 25.0 % | 7 | a\\|b | 50.0 % | 12.5 % | - | 0.987 | - |" in text
    assert "| late_carts | 4,321 |" in text
    assert '| rules | {"gap_minutes": 30} |' in text


def test_the_terminal_says_the_same_without_what_is_folded_away() -> None:
    text = shown(description())
    for line in ("1. The shelf tells. It leaks. What to do: Take it out.", "1. Views stand for exposures."):
        assert line in text
    assert "**" not in text
    assert re.search(r"purchases +20 +5 +20 ", text)
    assert re.search(r"shelf +25.0 % +7 +12.5 % +- +0.987 +- ", text)
    assert "2024-02-03" not in text
    assert "late_carts" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_nothing_suspicious_is_said_too() -> None:
    assert "**Nothing was found.**" in page(description(findings=()))
    assert "Nothing was found." in shown(description(findings=()))
    assert "Nothing was found" not in page(description())


def test_what_a_log_lacks_is_left_out(tmp_path: Path) -> None:
    found = description(
        times=None, carts=None, log_carts=None, events={}, columns=(), settings={}, manifest_counts={},
        lacks={"cart": "has no carts", "purchase": "has no purchases", "time": "has no times"},
    )  # fmt: skip
    text = page(found)
    assert "Nothing can be said: the log has no carts." in text
    assert "in 200 visits, without times." in text
    assert "Not asked: anything about days, hours and order, since the log has no times." in text
    assert "| clicks that are bought (CVR) | - | - | - |" in text
    for heading in ("Days and hours", "The behaviour log", "How the tables were made"):
        assert f"## {heading}" not in text
    write_page(found, tmp_path / "page")
    assert [path.name for path in (tmp_path / "page").glob("*.png")] == ["spreads.png"]
    assert "has no carts" in shown(found)


def test_of_many_dense_features_those_that_tell_most_are_listed() -> None:
    dense = [
        column(f"x{n}", kind="dense", table="users", auc={"click": 0.5 + n / 100, "purchase": None}, missing=n / 1000)
        for n in range(30)
    ]
    text = page(description(columns=(column("shelf"), *dense)))
    listed = re.findall(r"^\| (\w+) \| (?:users|exposures) \|", text, re.MULTILINE)
    assert listed == ["shelf", *(f"x{n}" for n in range(29, 9, -1))]
    assert "There are 30 dense features; the 20 that tell most are listed" in text
    assert "29 have missing values, most of all x29 (2.9 %)." in text


def test_the_page_is_published_with_pictures_and_numbers(tmp_path: Path) -> None:
    path = write_page(description(), tmp_path / "shop-1")
    assert path == tmp_path / "shop-1" / "description.md"
    assert sorted(each.name for each in path.parent.glob("*.png")) == PICTURES
    assert re.findall(r"!\[[^]]+]\(([^)]+)\)", path.read_text()) == [
        "days.png",
        "hours.png",
        "spreads.png",
        "carts.png",
    ]
    assert Description.model_validate_json((path.parent / "description.json").read_text()) == description()
    write_page(description(carts=None, lacks={"cart": "has no carts"}), path.parent)
    assert not (path.parent / "carts.png").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["shop-1"]


def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write_page(description(), tmp_path / "mine")
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"mine must be a description or empty, but is or holds thesis\.txt; choose"):
        write_page(description(), tmp_path / "mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file must be a description or empty, but is or holds file"):
        write_page(description(), tmp_path / "file")


def test_every_panel_of_every_picture_names_its_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Figure] = {}
    monkeypatch.setattr(style, "save", lambda drawing, path: drawn.setdefault(path.name, drawing))
    write_page(description(), tmp_path / "page")
    assert sorted(drawn) == PICTURES
    for name, drawing in drawn.items():
        assert "shop, city 1" in (drawing.get_suptitle() or drawing.axes[0].get_title())
        for panel in drawing.axes:
            assert panel.get_ylabel()
            assert panel.get_xlabel() or (name == "days.png" and panel is not drawing.axes[-1])
    days, hours, carts = drawn["days.png"].axes, drawn["hours.png"].axes[0], drawn["carts.png"].axes
    assert [panel.get_ylabel().split("\n")[0] for panel in days] == ["Exposures", "Clicks"]  # nothing else happened
    assert len(days[0].patches) == 39
    assert len({patch.get_facecolor() for patch in days[0].patches}) == 2  # training and test days
    assert [patch.get_height() for patch in hours.patches][12] == pytest.approx(100 * 500 / 975)
    assert [label.get_text() for label in carts[0].get_xticklabels()][:2] == ["below 1 min", "1 min – 5 min"]
    assert "30: or more" in carts[1].get_xlabel()


def test_folders_are_named_in_letters_that_a_file_system_takes() -> None:
    assert folder_of("six_cities-x0.1", "6") == "six_cities-x0.1-6"
    assert folder_of("../my log", "a/b") == "_my_log-a_b"


def test_words() -> None:
    assert [number(value) for value in (None, 1234.4)] == ["-", "1,234"]
    assert [percent(*of) for of in ((1, 8), (None, 8), (1, 0), (1, 9999), (0, 5))] == [
        "12.5 %", "-", "-", "< 0.1 %", "0.0 %",
    ]  # fmt: skip
    assert percent(0.5, digits=0) == "50 %"
    assert [duration(seconds) for seconds in (0, 1, 59, 60, 5400, 86_400, 216_000)] == [
        "0 seconds", "1 second", "59 seconds", "1 minute", "1.5 hours", "1 day", "2.5 days",
    ]  # fmt: skip
    assert [plural(1, "day"), plural(1200, "day")] == ["1 day", "1,200 days"]
    assert [rough(1e6, 6e6), rough(3e4, 1.1e5), rough(2, 30)] == ["1 – 6 M", "30 – 110 k", "2 – 30"]
