"""Forest plots of a log's models, and where the carts of its purchases lie."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.data.describe.results import Carts
from reports import effects, style
from reports.draw import legend_below, tidy
from reports.measures import Entry
from reports.real_logs.values import POSITIVES, Results

INK = "#444444"

#: Colours of :func:`draw_carts`: in its visit, earlier, never.
PLACES = ("#0072B2", "#E69F00", "#BBBBBB")


class Bar(NamedTuple):
    """A value with its interval; hollow where it cannot be told from the line."""

    value: float
    lo: float
    hi: float
    filled: bool


class Panel(NamedTuple):
    """What is drawn of an AUC: ``bars`` by entry, a ``line`` to compare with, and the name of the axis."""

    probability: str
    bars: dict[Entry, Bar]
    line: float | None
    axis: str


def draw_aucs(results: Results, path: Path) -> None:
    """AUCs with their intervals; the line is the baseline's."""
    panels = []
    for probability in results.shown:
        found = {entry: results.estimate(probability, entry) for entry in results.found[probability]}
        bars = {e: Bar(x.mean, x.lo, x.hi, True) for e, x in found.items() if x is not None}
        baseline = results.baseline(probability)
        line = bars[baseline].value if baseline is not None else None
        axis = f"AUC (line: {style.title(*baseline)})" if baseline is not None else "AUC"
        panels.append(Panel(probability, bars, line, axis))
    handles = [
        Line2D([], [], color=INK, marker="o", label="mean over seeds with 95 % interval"),
        _line("the named model"),
    ]
    _draw(results, panels, "AUC on the test days", handles, path)


def draw_differences(results: Results, path: Path) -> None:
    """Paired differences from the baseline."""
    panels = []
    for probability in results.shown:
        compared, baseline = results.against_baseline(probability), results.baseline(probability)
        bars = {e: Bar(c.difference, c.lo, c.hi, bool(effects.sign(c))) for e, c in compared.items()}
        if baseline is not None and bars:
            panels.append(Panel(probability, bars, 0.0, f"minus that of {style.title(*baseline)}"))
    dot: dict[str, Any] = {"color": INK, "marker": "o"}
    handles = [
        Line2D([], [], label="significant, after correction", **dot),
        Line2D([], [], markerfacecolor="white", label="not distinguishable", **dot),
        _line("no difference"),
    ]
    _draw(results, panels, "paired differences of AUC, with 95 % intervals", handles, path)


def _line(label: str) -> Line2D:
    return Line2D([], [], color=INK, linewidth=1.0, linestyle="--", label=label)


def _draw(results: Results, drawn: list[Panel], what: str, handles: list[Line2D], path: Path) -> None:
    """One panel per AUC, one line per model."""
    entries = [entry for entry in results.entries if any(entry in panel.bars for panel in drawn)]
    drawing = style.figure(max(7.0, 1.6 + 2.7 * len(drawn)), 2.1 + 0.27 * len(entries))
    axes = drawing.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, drawn, strict=True):
        if panel.line is not None:
            axis.axvline(panel.line, color=INK, linewidth=1.0, linestyle="--")
        for place, entry in enumerate(entries):
            if (bar := panel.bars.get(entry)) is not None:
                _mark(axis, place, entry, bar)
        space = results.spaces[panel.probability]
        rows = f"{space.positives:,} {POSITIVES[panel.probability]} in {space.rows:,} rows\nof {space.users:,} users"
        axis.set_title(f"{panel.probability.upper()}-AUC\n{rows}", fontsize=9.5)
        axis.set_xlabel(panel.axis)
        axis.set_yticks(range(len(entries)), [results.title(entry) for entry in entries])
        axis.set_ylim(len(entries) - 0.4, -0.6)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        tidy(axis, "x")
    legend_below(drawing, handles)
    drawing.suptitle(f"{results.study.title}, {style.city_title(results.city)}: {what}", fontsize=12)
    style.save(drawing, path)


def _mark(panel: Axes, place: int, entry: Entry, bar: Bar) -> None:
    look = style.look(entry[0])
    reach = [[bar.value - bar.lo], [bar.hi - bar.value]]
    fill = look.color if bar.filled else "white"
    panel.errorbar(
        bar.value, place, xerr=None if math.isnan(bar.lo) else reach, color=look.color, marker="o", markersize=6,
        markerfacecolor=fill, markeredgewidth=1.4, capsize=2.5, linewidth=1.3,
    )  # fmt: skip


def draw_carts(carts: Carts, heading: str, path: Path) -> None:
    """Purchases by where their last cart lies, and by the days since then."""
    earlier = carts.earlier or 0
    none = carts.purchases - carts.same_visit - earlier
    drawing = style.figure(9.5, 3.4)
    left, right = drawing.subplots(1, 2, width_ratios=(1, 1.6))
    counts = {"in its visit": carts.same_visit, "only in an\nearlier visit": earlier, "none before it": none}
    for panel, names, values, colors in (
        (left, list(counts), list(counts.values()), PLACES),
        (
            right,
            [str(days) for days in carts.days or {}],
            list((carts.days or {}).values()),
            [INK] * len(carts.days or {}),
        ),
    ):
        shares = [100 * value / carts.purchases for value in values]
        drawn = panel.bar(names, shares, color=colors, width=0.75)
        panel.bar_label(drawn, [f"{share:.1f} %" for share in shares], fontsize=8, padding=1)
        panel.set_ylabel("percent of the purchases")
        panel.margins(y=0.12)
        tidy(panel, "y")
    left.set_title("The cart of a purchase", fontsize=10)
    right.set_title("Days from the last cart to the purchase", fontsize=10)
    right.set_xlabel("days (0: the same day)")
    drawing.suptitle(heading, fontsize=12)
    style.save(drawing, path)
