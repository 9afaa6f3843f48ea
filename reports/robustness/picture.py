"""Pictures of how models and their differences move with the simulation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.metrics.compare import Contrast, Estimate
from reports import style
from reports.aucs import ALPHA
from reports.draw import band, legend_below, tidy
from reports.effects import effect, sign
from reports.robustness.axes import DEFAULT, MODELS, Pair
from reports.robustness.findings import MEASURES, Findings, Place
from reports.robustness.verdict import Verdict

REFERENCE = "esmm"
BANDS = "bands: 95 % intervals over test users and seeds; below, of differences paired by user and seed"


def draw(found: Findings, title: str, path: Path) -> None:
    """Above, the AUCs of every model along the axis; below, their differences to ESMM."""
    drawing = style.figure(13.5, 8.2)
    panels = drawing.subplots(2, len(MEASURES), sharex=True)
    handles: dict[str, Line2D] = {}
    for (measure, name), above, below in zip(MEASURES.items(), *panels, strict=True):
        above.set_title(name, fontsize=11)
        handles |= _aucs(above, found, measure)
        _differences(below, found, measure)
        for panel in (above, below):
            _along(panel, found)
        below.set_xlabel(_axis_title(found))
    panels[0, 0].set_ylabel("AUC against the true probabilities")
    panels[1, 0].set_ylabel(f"difference to {style.title(REFERENCE)} (at 0)")
    filled = Line2D([], [], color="#444444", marker="o", linestyle="none", label=f"significant (p < {ALPHA})")
    hollow = Line2D(
        [], [], color="#444444", marker="o", markerfacecolor="white", linestyle="none", label="not significant"
    )
    default = Line2D([], [], color="#888888", linestyle=":", label="default world")
    legend_below(drawing, [*(handles[m] for m in style.in_order(handles)), filled, hollow, default], 9)
    drawing.suptitle(f"{title}\n{BANDS}", fontsize=12)
    style.save(drawing, path)


def draw_map(found: Verdict, pair: Pair, title: str, path: Path) -> None:
    """The difference of a pair in every world (rows) and measure (columns), coloured by sign and size."""
    names = list(found.places)
    drawing = style.figure(9.6, 1.9 + 0.38 * len(names))
    panel = drawing.subplots()
    values = np.full((len(names), len(MEASURES)), np.nan)
    for column, measure in enumerate(MEASURES):
        for world, change in found.known(measure, pair).items():
            values[names.index(world), column] = change.difference
    largest = np.nanmax(np.abs(values), axis=0, initial=1e-12)
    colors = matplotlib.colormaps["PuOr_r"].with_extremes(bad="#EEEEEE")
    panel.imshow(np.ma.masked_invalid(values / largest), cmap=colors, vmin=-1.7, vmax=1.7, aspect="auto")
    for column, measure in enumerate(MEASURES):
        known = found.known(measure, pair)
        for row, world in enumerate(names):
            certain = sign(known.get(world)) != 0
            text = effect(known.get(world)).replace("**", "") + (" *" if certain else "")
            panel.text(column, row, text, ha="center", va="center", fontsize=9, weight="bold" if certain else "normal")
    panel.set_xticks(range(len(MEASURES)), list(MEASURES.values()))
    panel.set_yticks(range(len(names)), [found.label(name) for name in names])
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for row, (above, below) in enumerate(itertools.pairwise(names)):
        panel.axhline(row + 0.5, color="white", linewidth=1 if found.axis(above) == found.axis(below) else 7)
    for column in range(1, len(MEASURES)):
        panel.axvline(column - 0.5, color="white", linewidth=4)
    drawing.suptitle(title, fontsize=12)
    first, second = map(style.title, pair)
    drawing.supxlabel(
        f"orange: {first} better, purple: {second} better; the darker, the larger in its column\n"
        f"brackets: 95 % interval over test users and seeds; bold with *: significant (p < {ALPHA} after Holm)",
        fontsize=9,
    )
    style.save(drawing, path)


def _aucs(panel: Axes, found: Findings, measure: str) -> dict[str, Line2D]:
    handles = {}
    for model in MODELS:
        points = [(p, e) for p in found.line if (e := found.estimates.get((p.name, measure, model))) is not None]
        if points:
            handles[model] = _line(panel, points, model)
    return handles


def _differences(panel: Axes, found: Findings, measure: str) -> None:
    panel.axhline(0, color="#444444", linewidth=1)
    for model in MODELS:
        changes = [(place, found.difference(place.name, measure, model, REFERENCE)) for place in found.line]
        known = [(place, change) for place, change in changes if change is not None]
        if known:
            _line(panel, [(place, _as_estimate(change)) for place, change in known], model, marker="")
        for place, change in known:
            look = style.look(model)
            face = look.color if sign(change) else "white"
            panel.plot([place.x], [change.difference], look.marker, color=look.color, mfc=face, markersize=6)


def _line(panel: Axes, points: Sequence[tuple[Place, Estimate]], model: str, marker: str | None = None) -> Line2D:
    look = style.look(model)
    x, found = [place.x for place, _ in points], [estimate for _, estimate in points]
    line = band(panel, x, found, look, marker=look.marker if marker is None else marker)
    for edge in ("lo", "hi"):
        panel.plot(x, [getattr(e, edge) for e in found], color=look.color, linewidth=0.5, alpha=0.5)
    return line


def _as_estimate(contrast: Contrast) -> Estimate:
    return Estimate(contrast.difference, contrast.lo, contrast.hi, contrast.se, contrast.n_seeds)


def _along(panel: Axes, found: Findings) -> None:
    """Ticks where the worlds lie, the default one marked."""
    line, axis = found.line, found.axis
    if axis.kind == "size":
        panel.set_xscale("log")
    panel.set_xticks([place.x for place in line], [axis.show(place.x) for place in line], minor=False)
    panel.minorticks_off()
    for place in line:
        if place.name == DEFAULT:
            panel.axvline(place.x, color="#888888", linestyle=":", linewidth=1, zorder=0)
    tidy(panel)


def _axis_title(found: Findings) -> str:
    ends = {"share": ", as it came out", "size": " (logarithmic)", "correlation": ""}
    return found.axis.label + ends[found.axis.kind]
