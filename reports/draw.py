"""What the pictures of several exhibits share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.metrics.compare import Estimate
from reports.style import Look


def band(panel: Axes, x: Sequence[float], found: Sequence[Estimate], look: Look, **line: Any) -> Line2D:
    """A line through the means with a band over the 95 % intervals; gives back the line for a legend."""
    panel.fill_between(x, [e.lo for e in found], [e.hi for e in found], color=look.color, alpha=0.15, linewidth=0)
    style: Mapping[str, Any] = {"marker": look.marker, "markersize": 5, "linewidth": 1.5, "label": look.title} | line
    (drawn,) = panel.plot(x, [e.mean for e in found], color=look.color, **style)
    return drawn


def tidy(panel: Axes, grid: str = "both") -> None:
    """A light grid, no frame at the top and right."""
    panel.grid(axis=grid, color="#DDDDDD", linewidth=0.8)  # type: ignore[arg-type]
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def legend_below(drawing: Figure, handles: Sequence[Line2D], columns: int = 7) -> None:
    """One legend for all panels, below them."""
    if handles:
        drawing.legend(
            handles=list(handles), loc="outside lower center", ncols=min(columns, len(handles)), frameon=False
        )
