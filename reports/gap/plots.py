"""Pictures of the gap: true and predicted means, and how far their terms are off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from bench.metrics.compare import Estimate
from reports import style
from reports.draw import legend_below, tidy
from reports.gap.values import CASES, Gaps
from reports.measures import Entry
from reports.study import Study

TITLES = {
    "bad": "Bad case: the item lies in the cart\nfrom an earlier visit",
    "good": "Good case: all other exposures\n",
}

#: Of the second picture: quantity → legend, colour, marker, place beside the model's line.
FACTORS = {
    "log_factor_left": ("left term, (E[R̂] / E[Â]) over its true value", "#0072B2", "<", -0.22),
    "log_factor_right": ("right term, E[Â] over its true value", "#D55E00", ">", 0.0),
    "log_factor": ("product of the two: E[R̂] / E[R]", "#000000", "o", 0.22),
}
#: Beyond these a mark is cut off: a model that predicts next to no cart has no bound.
LIMITS = 1e-3, 1e3


def draw_means(study: Study, gaps: Gaps, path: Path) -> None:
    """Each model's mean CVR in both cases, over the cities that it is stored for, beside the truth of these."""
    entries = gaps.entries
    drawing = style.figure(11.0, 2.0 + 0.36 * len(entries))
    panels = drawing.subplots(1, 2, sharex=True, sharey=True)
    for panel, case in zip(panels, CASES, strict=True):
        for place, entry in enumerate(entries):
            found, truth = (gaps.pooled.mean(f"{name}/{case}", entry) for name in ("estimate", "truth"))
            if found is None or truth is None:
                continue
            panel.plot([truth.mean] * 2, [place - 0.5, place + 0.5], color="black", linewidth=1.4)
            panel.fill_betweenx([place - 0.5, place + 0.5], truth.lo, truth.hi, color="black", alpha=0.12, linewidth=0)
            _dot(panel, found, place, entry)
        panel.set_title(TITLES[case], fontsize=10)
        panel.set_xlabel("mean CVR per click")
        _rows(panel, entries)
    handles = [
        Line2D([], [], color="black", linewidth=1.4, label="truth, E[R]"),
        Line2D([], [], color="#666666", marker="o", label="predicted, E[R̂], with 95 % interval"),
    ]
    if any(variant for _, variant in entries):
        handles.append(
            Line2D([], [], color="#666666", marker="o", markerfacecolor="white", label="another configuration")
        )
    legend_below(drawing, handles)
    drawing.suptitle(f"True and predicted CVR, mean over cities: {study.title}", fontsize=12)
    style.save(drawing, path)


def draw_terms(study: Study, gaps: Gaps, entries: Sequence[Entry], path: Path) -> None:
    """What the gap consists of: each term over its true value, and their product."""
    drawing = style.figure(11.0, 2.2 + 0.6 * len(entries))
    panels = drawing.subplots(1, 2, sharex=True, sharey=True)
    low, high = 1.0, 1.0
    for panel, case in zip(panels, CASES, strict=True):
        for place, entry in enumerate(entries):
            for name, (_, color, marker, shift) in FACTORS.items():
                found = gaps.pooled.mean(f"{name}/{case}", entry)
                if found is None:
                    continue
                mean, lo, hi = _raised(found)
                bar = {"color": color, "marker": marker, "markersize": 6, "capsize": 2, "linewidth": 1.2}
                panel.errorbar(mean, place + shift, xerr=[[mean - lo], [hi - mean]], **bar)
                low, high = min(low, lo), max(high, hi)
        panel.axvline(1.0, color="black", linewidth=1.2)
        panel.set_title(TITLES[case], fontsize=10)
        panel.set_xlabel("model over truth (1: no error)")
        _rows(panel, entries)
    panels[0].set_xscale("log")
    panels[0].set_xlim(low / 1.3, high * 1.3)
    panels[0].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panels[0].xaxis.set_major_formatter("{x:g}")
    panels[0].xaxis.set_minor_formatter(NullFormatter())
    handles = [Line2D([], [], color=color, marker=marker, label=label) for label, color, marker, _ in FACTORS.values()]
    legend_below(drawing, handles)
    drawing.suptitle(f"Left and right terms of the gap, mean over cities: {study.title}", fontsize=12)
    style.save(drawing, path)


def _raised(found: Estimate) -> tuple[float, float, float]:
    """Mean and ends of the interval from logarithms, within the limits."""
    least, most = math.log(LIMITS[0]), math.log(LIMITS[1])
    ends = (found.mean, found.mean) if math.isnan(found.lo) else (found.lo, found.hi)
    mean, lo, hi = (math.exp(min(max(x, least), most)) for x in (found.mean, *ends))
    return mean, lo, hi


def _dot(panel: Axes, found: Estimate, place: int, entry: Entry) -> None:
    look = style.look(entry[0])
    reach = 0.0 if math.isnan(found.lo) else found.hi - found.mean
    panel.errorbar(
        found.mean,
        place,
        xerr=reach,
        color=look.color,
        marker=look.marker,
        markersize=7,
        markerfacecolor="white" if entry[1] else look.color,
        capsize=3,
    )


def _rows(panel: Axes, entries: Sequence[Entry]) -> None:
    panel.set_yticks(range(len(entries)), [style.title(*entry) for entry in entries])
    panel.set_ylim(len(entries) - 0.5, -0.5)
    tidy(panel, "x")
