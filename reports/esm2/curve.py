"""The picture of Table 6: differences from one number of features, over the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.metrics.compare import Estimate
from reports import style
from reports.draw import band, legend_below, tidy
from reports.esm2.page import Judged
from reports.esm2.paper import Pair
from reports.measures import Entry
from reports.sweep.plots import TRUTH_LOOK, as_estimate

PAPER = "#777777"
OBSERVED_LOOK = style.look("esm2")._replace(title="against observed labels")


def draw(parts: tuple[Judged, Judged], entries: Mapping[int, Entry], base: int, path: Path) -> None:
    """One row of panels per city, one panel per measure; the paper's differences in grey where it has them.

    Args:
        parts: against observed labels, and against the truth, with measures in the same order.
    """
    shown = parts[0].shown
    cities, columns = shown.study.cities, list(zip(*(part.shown.measures for part in parts), strict=True))
    drawing = style.figure(10, 1.3 + 2.9 * len(cities))
    panels = drawing.subplots(len(cities), len(columns), squeeze=False, sharey="row")
    handles: dict[str, Line2D] = {}
    for row, city in enumerate(cities):
        for panel, measures in zip(panels[row], columns, strict=True):
            _dress(panel, sorted(entries))
            lines = [*_ours(panel, parts, measures, entries, base, city)]
            if not lines:
                panel.text(0.5, 0.5, "not stored, or withheld", transform=panel.transAxes, ha="center", color="#666666")
            for line in (*lines, *_papers(panel, parts[0], measures[0], entries, base)):
                handles.setdefault(str(line.get_label()), line)
            title = shown.measures[measures[0]]
            panel.set_title(title if len(cities) == 1 else f"{title}, {style.city_title(city)}", fontsize=11)
        panels[row, 0].set_ylabel(f"AUC less that of K = {base}")
    drawing.suptitle(f"ESM² by the number of dense features, with 95 % intervals: {shown.study.title}", fontsize=12)
    legend_below(drawing, list(handles.values()))
    style.save(drawing, path)


def _dress(panel: Axes, counts: Sequence[int]) -> None:
    panel.axhline(0, color="#444444", linewidth=0.8, zorder=0.6)
    panel.set_xticks(range(len(counts)), [str(count) for count in counts])
    panel.set_xlabel("dense features kept, K")
    panel.margins(x=0.05, y=0.12)
    tidy(panel, "y")


def _ours(
    panel: Axes, parts: Sequence[Judged], measures: Sequence[str], entries: Mapping[int, Entry], base: int, city: str
) -> Iterator[Line2D]:
    """Our differences, from the fewest features to the most."""
    counts = sorted(entries)
    for part, measure, look in zip(parts, measures, (OBSERVED_LOOK, TRUTH_LOOK), strict=True):
        pairs = {k: Pair(measure, entries[k], entries[base]) for k in counts}
        found = {k: as_estimate(part.tested[city, pair]) for k, pair in pairs.items() if (city, pair) in part.tested}
        if found:
            found[base] = Estimate(0.0, 0.0, 0.0, 0.0, next(iter(found.values())).n_seeds)
            kept = sorted(found)
            yield band(panel, [counts.index(k) for k in kept], [found[k] for k in kept], look)


def _papers(panel: Axes, observed: Judged, measure: str, entries: Mapping[int, Entry], base: int) -> Iterator[Line2D]:
    counts = sorted(entries)
    found = {k: observed.shown.paper(Pair(measure, entries[k], entries[base])) for k in counts}
    known = {counts.index(k): difference for k, difference in found.items() if not math.isnan(difference)}
    if known:
        look: dict[str, Any] = {"color": PAPER, "marker": "o", "markerfacecolor": "white", "label": "paper"}
        (line,) = panel.plot(list(known), list(known.values()), linewidth=1, **look)
        yield line
