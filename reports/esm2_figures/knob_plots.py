"""Pictures of ESM² Figure 6."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from bench.metrics.compare import Estimate
from reports import style
from reports.draw import legend_below
from reports.esm2_figures.knobs import MODEL, OBSERVED, TRUE, Panel
from reports.style import Look
from reports.sweep.plots import STAR, TRUTH_LOOK, Axis, as_estimates
from reports.sweep.values import Contrasts

LABELS_LOOK = style.look(MODEL)._replace(title="against observed labels")
#: Each AUC against observed labels and against the truth: one row of panels.
PAIRS = tuple(zip(OBSERVED, TRUE, strict=True))
#: How far the two lines stand apart, in steps of the axis.
APART = 0.05


def draw(panels: Sequence[Panel], title: str, path: Path, tested: Contrasts | None = None) -> None:
    """One column of panels per knob, one row per AUC: its values or, with ``tested``, the differences to the paper's
    choice. Rows have one scale, so that knobs compare."""
    drawing = style.figure(12, 6.6)
    axes = drawing.subplots(len(PAIRS), len(panels), squeeze=False, sharex="col", sharey="row")
    for column, panel in enumerate(panels):
        axis = _axis(panel)
        for row, pair in enumerate(PAIRS):
            _fill(axes[row, column], panel, axis, pair, tested)
        axes[0, column].set_title(panel.knob.title, fontsize=11)
        axes[-1, column].set_xlabel(panel.knob.axis)
    for row, (measure, _) in enumerate(PAIRS):
        what = "" if tested is None else ",\ndifference to the paper's choice"
        axes[row, 0].set_ylabel(f"{OBSERVED[measure]}{what}")
    kinds = ((OBSERVED, LABELS_LOOK), (TRUE, TRUTH_LOOK))
    looks = [look for measures, look in kinds if any(panel.curve(measure) for panel in panels for measure in measures)]
    star = f"{STAR}, by the same AUC" if any(p.chosen(measure) for p in panels for measure in OBSERVED) else ""
    legend_below(drawing, _axis(panels[0]).handles(looks, star))
    drawing.suptitle(f"{title}\nbars: 95 % intervals over test users and seeds", fontsize=12)
    style.save(drawing, path)


def _fill(axes: Axes, panel: Panel, axis: Axis, pair: Sequence[str], tested: Contrasts | None) -> None:
    """The lines of one AUC over one knob."""
    stored: set[float] = set()
    for measure, look, side in zip(pair, (LABELS_LOOK, TRUTH_LOOK), (-1, 1), strict=True):
        curve = panel.curve(measure)
        if tested is not None:
            curve = as_estimates(panel.changes(measure, tested))
            curve |= {panel.choice: Estimate(0.0, 0.0, 0.0, 0.0, 0)} if curve else {}
        stored |= curve.keys()
        if curve:
            _line(axes, axis, curve, look, side)
    chosen = panel.chosen(pair[0])
    axis.star(axes, [] if chosen is None else [chosen])
    axis.dress(axes)
    axes.set_xlim(min(axis.places.values()) - _step(axis) / 3, max(axis.places.values()) + _step(axis) / 3)
    if not stored:
        axes.text(0.5, 0.5, "not stored, or withheld", transform=axes.transAxes, ha="center", color="#666666")
        return
    if tested is not None:
        axes.axhline(0, color="#444444", linewidth=0.8, zorder=0.6)
    for at, place in axis.places.items():
        if at not in stored:
            where = axes.get_xaxis_transform()
            axes.text(place, 0.5, "not stored", transform=where, rotation=90, ha="center", color="#777777", fontsize=8)


def _line(axes: Axes, axis: Axis, curve: Mapping[float, Estimate], look: Look, side: int) -> None:
    """Means with their intervals; the line breaks where a value is missing."""
    nothing = Estimate(math.nan, math.nan, math.nan, math.nan, 0)
    found = [curve.get(at, nothing) for at in axis.places]
    x = [place + side * APART * _step(axis) for place in axis.places.values()]
    reach = [[e.mean - e.lo for e in found], [e.hi - e.mean for e in found]]
    axes.errorbar(
        x, [e.mean for e in found], yerr=reach, color=look.color, marker=look.marker, markersize=5, linewidth=1.2,
        elinewidth=1.1, capsize=2.5,
    )  # fmt: skip


def _step(axis: Axis) -> float:
    """How far two values of a knob stand apart, on average."""
    return (max(axis.places.values()) - min(axis.places.values())) / (len(axis.places) - 1)


def _axis(panel: Panel) -> Axis:
    """Dropout to scale, dimensions by doublings."""
    doubling = panel.knob.name == "item_dim"
    places = {at: math.log2(at) if doubling else float(at) for at in panel.sweep.entries}
    return Axis(panel.knob.axis, "the paper's choice", places, panel.choice)
