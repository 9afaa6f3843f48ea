"""Pictures of CVR errors by sample space: AUC, calibration, reliability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from bench.metrics.compare import Contrast, Estimate
from reports import style
from reports.draw import legend_below, tidy
from reports.measures import Entry
from reports.pooled import Key
from reports.space.errors import Errors
from reports.study import Study
from reports.wording import Compared

TITLES = {"clicked": "clicked exposures", "unclicked": "unclicked exposures", "exposed": "all exposures"}

#: How the sample spaces look where they share a panel: colour, marker, place beside the model's line.
LOOKS = {"clicked": ("#0072B2", "o", -0.16), "unclicked": ("#D55E00", "s", 0.16)}


def draw_auc(study: Study, errors: Errors, compared: Compared, path: Path) -> None:
    """AUC over clicked and over unclicked rows with the ceiling, and the differences from Shared Bottom."""
    entries, base = errors.entries, errors.entry("shared_bottom")
    drawing = style.figure(13.5, 2.0 + 0.4 * len(entries))
    panels = drawing.subplots(1, 2 if base is None else 3, sharey=True)
    panels[1].sharex(panels[0])
    for panel, space in zip(panels, LOOKS, strict=False):
        for place, entry in enumerate(entries):
            found, ceiling = (errors.pooled.mean(f"{name}/{space}", entry) for name in ("auc", "ceiling"))
            if found is None or ceiling is None:
                continue
            panel.plot([ceiling.mean] * 2, [place - 0.5, place + 0.5], color="black", linewidth=1.4)
            look = style.look(entry[0])
            _mark(panel, found, place, color=look.color, marker=look.marker)
        panel.set_title(TITLES[space], fontsize=10)
        panel.set_xlabel("CVR-AUC against the truth")
        _rows(panel, entries)
    handles = [
        Line2D([], [], color="#666666", marker="o", label="model, with 95 % interval"),
        Line2D([], [], color="black", linewidth=1.4, label="ceiling: AUC of the true probability"),
    ]
    if base is not None:
        _differences(panels[2], entries, base, compared)
        handles += [
            Line2D([], [], color=color, marker=marker, label=f"difference over {TITLES[space]}")
            for space, (color, marker, _) in LOOKS.items()
        ]
    legend_below(drawing, handles)
    drawing.suptitle(f"CVR-AUC where there was a click and where there was none: {study.title}", fontsize=12)
    style.save(drawing, path)


def draw_pcoc(study: Study, errors: Errors, path: Path) -> None:
    """Mean predicted over mean true CVR by sample space."""
    drawing = style.figure(8.0, 1.8 + 0.45 * len(errors.entries))
    panel = drawing.subplots()
    for place, entry in enumerate(errors.entries):
        for space, (color, marker, shift) in LOOKS.items():
            found = errors.pooled.mean(f"log_pcoc/{space}", entry)
            if found is not None:
                mean, lo, hi = (math.exp(x) for x in (found.mean, found.lo, found.hi))
                _mark(panel, Estimate(mean, lo, hi, math.nan, found.n_seeds), place + shift, color=color, marker=marker)
    panel.axvline(1.0, color="black", linewidth=1.2)
    panel.set_xlabel("mean predicted CVR over mean true CVR (1: right; above: too many purchases predicted)")
    _rows(panel, errors.entries)
    legend_below(
        drawing,
        [Line2D([], [], color=color, marker=marker, label=TITLES[s]) for s, (color, marker, _) in LOOKS.items()],
    )
    drawing.suptitle(f"Level of the predicted CVR: {study.title}", fontsize=12)
    style.save(drawing, path)


def draw_reliability(study: Study, errors: Errors, path: Path) -> None:
    """Predicted against true mean CVR by bins of the prediction, averaged over seeds and cities."""
    drawing = style.figure(11.0, 5.4)
    panels = drawing.subplots(1, 2, sharex=True, sharey=True)
    handles: dict[Entry, Line2D] = {}
    for panel, space in zip(panels, LOOKS, strict=True):
        panel.axline((0.1, 0.1), (0.2, 0.2), color="black", linewidth=1.2)
        for entry in errors.entries:
            curves = errors.curves[
                (errors.curves.space == space) & (errors.curves.model == entry[0]) & (errors.curves.variant == entry[1])
            ]
            means = curves.groupby(["bin", "city"])[["predicted", "true"]].mean().groupby("bin").mean()
            look = style.look(entry[0])
            (handles[entry],) = panel.plot(
                means.predicted,
                means.true,
                color=look.color,
                marker=look.marker,
                markersize=5,
                linewidth=1.2,
                label=style.title(*entry),
            )
        panel.set_title(TITLES[space], fontsize=10)
        panel.set_xlabel("mean predicted CVR of the bin")
        tidy(panel)
    panels[0].set_xscale("log")
    panels[0].set_yscale("log")
    panels[0].set_ylabel("mean true CVR of the bin")
    for axis in (panels[0].xaxis, panels[0].yaxis):
        _log_ticks(axis)
    legend_below(
        drawing, [*handles.values(), Line2D([], [], color="black", linewidth=1.2, label="predicted = true")], columns=8
    )
    drawing.suptitle(f"True CVR by predicted CVR: {study.title}", fontsize=12)
    style.save(drawing, path)


def _differences(panel: Axes, entries: Sequence[Entry], base: Entry, compared: Compared) -> None:
    for place, entry in enumerate(entries):
        for space, (color, marker, shift) in LOOKS.items():
            found = compared.get(Key(f"auc/{space}", entry, base))
            if found is not None:
                _mark(panel, found, place + shift, color=color, marker=marker)
    panel.axvline(0.0, color="black", linewidth=1.0, linestyle=":")
    panel.set_title(f"difference from {style.title(*base)}", fontsize=10)
    panel.set_xlabel("difference of CVR-AUC")
    _rows(panel, entries)


def _mark(panel: Axes, found: Estimate | Contrast, place: float, **look: Any) -> None:
    mean = found.mean if isinstance(found, Estimate) else found.difference
    reach = [[0.0], [0.0]] if math.isnan(found.lo) else [[mean - found.lo], [found.hi - mean]]
    panel.errorbar(mean, place, xerr=reach, markersize=6, capsize=2.5, linewidth=1.2, **look)


def _log_ticks(axis: Any) -> None:
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _rows(panel: Axes, entries: Sequence[Entry]) -> None:
    panel.set_yticks(range(len(entries)), [style.title(*entry) for entry in entries])
    panel.set_ylim(len(entries) - 0.5, -0.5)
    tidy(panel, "x")
