"""The pictures of a description."""

from __future__ import annotations

import itertools
from datetime import date
from pathlib import Path

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from bench.data.describe.carts import MOST_DAYS
from bench.data.describe.results import GAP_EDGES, Carts, Description, Spread, Times
from reports import style
from reports.describe.words import duration, percent
from reports.draw import tidy

#: Okabe-Ito, as in the other pictures.
SPLIT_COLORS = {"train": "#0072B2", "valid": "#E69F00", "test": "#009E73"}
SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}
GOOD, BAD, PLAIN = "#0072B2", "#D55E00", "#0072B2"
#: Dates that fit below an axis.
DATES = 7
STEPS = {"exposures": "Exposures", "clicks": "Clicks", "carts": "Carts", "wishes": "Wishes", "purchases": "Purchases"}


def draw_days(found: Description, times: Times, title: str, path: Path) -> None:
    """Exposures, clicks, … per local day, one panel each, coloured by split."""
    steps = [step for step in STEPS if any(getattr(day, step) for day in times.days)]
    drawing = style.figure(9.5, 1.2 + 1.45 * len(steps))
    panels = drawing.subplots(len(steps), 1, sharex=True, squeeze=False)[:, 0]
    days = [_number(day.day) for day in times.days]
    colors = [SPLIT_COLORS.get(day.split, "#7F7F7F") for day in times.days]
    for step, panel in zip(steps, panels, strict=True):
        panel.bar(days, [getattr(day, step) for day in times.days], width=0.86, color=colors, linewidth=0)
        panel.set_ylabel(f"{STEPS[step]}\nper day")
        panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        tidy(panel, "y")
    _date_axis(panels[-1], times.days[0].day, times.days[-1].day)
    panels[-1].set_xlabel(f"day ({times.time_zone})")
    drawing.align_ylabels(panels)
    splits = [split for split in SPLIT_COLORS if any(day.split == split for day in times.days)]
    drawing.legend(
        handles=[Patch(color=SPLIT_COLORS[split], label=f"{SPLIT_NAMES[split]} days") for split in splits],
        loc="outside lower center",
        ncols=len(splits),
        frameon=False,
    )
    drawing.suptitle(f"{title}: what happened on which day", fontsize=12)
    style.save(drawing, path)


def draw_hours(times: Times, title: str, path: Path) -> None:
    """Share of the exposures by local hour."""
    drawing = style.figure(7.5, 3.2)
    panel = drawing.subplots()
    shares = 100 * np.array(times.hours) / sum(times.hours)
    panel.bar(np.arange(24) + 0.5, shares, width=0.86, color=PLAIN, linewidth=0)
    panel.set_xticks(range(0, 25, 3), [f"{hour}:00" for hour in range(0, 25, 3)])
    panel.set_xlim(0, 24)
    panel.set_xlabel(f"time of the day ({times.time_zone})")
    panel.set_ylabel("share of the exposures, %")
    panel.set_title(f"{title}: exposures by the hour of the day", fontsize=12)
    tidy(panel, "y")
    style.save(drawing, path)


def draw_spreads(found: Description, title: str, path: Path) -> None:
    """How many visits and exposures users, visits and items have: the share with so many or more."""
    drawing = style.figure(10.0, 7.4)
    panels = drawing.subplots(2, 2).flat
    for spread, panel in zip(found.spreads, panels, strict=True):
        _spread(panel, spread)
    drawing.suptitle(f"{title}: how much a user, a visit and an item have", fontsize=12)
    style.save(drawing, path)


def draw_carts(carts: Carts, title: str, path: Path) -> None:
    """Time from the last cart to the purchase, by whether the cart lies in the purchase's visit."""
    drawing = style.figure(10.0, 4.0)
    left, right = drawing.subplots(1, 2, width_ratios=(3, 2))
    places = np.arange(len(GAP_EDGES) + 1)
    below = np.zeros(len(places))
    named = (
        ("cart in the same visit", carts.same_gaps, GOOD),
        ("cart in an earlier visit only", carts.earlier_gaps, BAD),
    )
    for label, gaps, color in named:
        if gaps is not None:
            left.bar(places, gaps.bins, bottom=below, width=0.86, color=color, label=f"{label} ({gaps.purchases:,})")
            below += gaps.bins
    left.set_xticks(places, _bin_names(), rotation=45, ha="right", rotation_mode="anchor")
    left.set_xlabel("time from the last cart to the purchase")
    left.set_ylabel("purchases")
    left.legend(frameon=False)
    left.set_title("How long a cart waits", fontsize=11)
    days = carts.days or {}
    last = max(days, default=0)
    right.bar(list(days), list(days.values()), width=0.86, color=PLAIN)
    right.set_xlim(-0.6, max(7, last) + 0.6)
    right.set_xlabel(
        "days from the last cart to the purchase\n0: the same day" + (f", {last}: or more" * (last == MOST_DAYS))
    )
    right.set_ylabel("purchases")
    right.set_title("The day of the cart", fontsize=11)
    for panel in (left, right):
        panel.set_ylim(top=1.08 * panel.dataLim.y1)
        panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        tidy(panel, "y")
    right.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    drawing.suptitle(f"{title}: from cart to purchase", fontsize=12)
    style.save(drawing, path)


def _spread(panel: Axes, spread: Spread) -> None:
    n, share = zip(*spread.tail, strict=True)
    panel.plot(n, [100 * each for each in share], color=PLAIN, marker="o", markersize=4, linewidth=1.5)
    if n[-1] >= 10 * n[0]:
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter(NullFormatter())
    else:
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    panel.set_yscale("log")
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_ylim(bottom=min(10.0, 70 * min(share)), top=130)
    panel.axvline(spread.quantiles[0.5], color="#888888", linestyle=":", linewidth=1.2)
    owner = f"{'an' if spread.per == 'item' else 'a'} {spread.per}"
    panel.set_xlabel(f"{spread.what} of {owner} (dotted: median {spread.quantiles[0.5]:,})")
    panel.set_ylabel(f"{spread.per}s with so many or more, %")
    top = percent(spread.top_share)
    panel.set_title(
        f"{spread.what.capitalize()} per {spread.per}\nthe top 1 % of the {spread.per}s have {top} of all", fontsize=10
    )
    tidy(panel)


def _bin_names() -> list[str]:
    """What the bins of times are called: from their lower edge to the upper one."""
    edges = [duration(edge).replace("minutes", "min").replace("minute", "min") for edge in GAP_EDGES]
    between = [f"{a} – {b}" for a, b in itertools.pairwise(edges)]
    return [f"below {edges[0]}", *between, f"{edges[-1]} or more"]


def _date_axis(panel: Axes, first: date, last: date) -> None:
    panel.set_xticks(np.arange(_number(first), _number(last) + 1, -(-((last - first).days + 1) // DATES)))
    panel.xaxis.set_major_formatter(mdates.DateFormatter("%Y-%m-%d"))  # type: ignore[no-untyped-call]
    panel.set_xlim(_number(first) - 0.75, _number(last) + 0.75)


def _number(day: date) -> float:
    """Where a day lies on an axis of dates."""
    return float(mdates.date2num(day))  # type: ignore[no-untyped-call]
