"""Pictures of AUCs over the values of a knob."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.metrics.compare import Contrast, Estimate
from reports import style
from reports.draw import band, legend_below, tidy
from reports.measures import Entry
from reports.style import Look
from reports.sweep.values import OBSERVED, TRUE, Sweep

#: An AUC against observed labels and against the true probabilities: one column of panels.
PAIRS = tuple(zip(OBSERVED, TRUE, strict=True))
STAR = "chosen on validation"
TRUTH_LOOK = Look("against the truth", "#0072B2", "s")


@dataclass(frozen=True)
class Axis:
    """The knob's axis: where a value is drawn, and what the paper finds best.

    ``base`` is what the first value means; ``limit`` is a model beyond the end.
    """

    label: str
    base: str
    places: Mapping[float, float]
    paper_best: float
    limit: Entry | None = None
    names: Mapping[float, str] = field(default_factory=dict)

    @property
    def end(self) -> float:
        """Where the limit is drawn."""
        last = max(self.places.values())
        return last + (last - min(self.places.values())) / max(1, len(self.places) - 1)

    def dress(self, panel: Axes) -> None:
        """Ticks, grid and the paper's best value."""
        ticks = {place: self.names.get(at, f"{at:g}") for at, place in self.places.items()}
        if self.limit is not None:
            ticks[self.end] = style.title(*self.limit)
        panel.set_xticks(list(ticks), list(ticks.values()), fontsize=8)
        panel.tick_params(axis="y", labelsize=8)
        panel.axvline(self.places[self.paper_best], color="#999999", linestyle=":", linewidth=1.3, zorder=0.5)
        panel.margins(y=0.14)
        tidy(panel, "y")

    def draw(self, panel: Axes, curve: Mapping[float, Estimate], look: Look, **line: Any) -> Line2D:
        return band(panel, [self.places[at] for at in curve], list(curve.values()), look, **line)

    def draw_limit(self, panel: Axes, found: Estimate | None, look: Look) -> None:
        """The limit's mean with its interval, and a line through it."""
        if found is None:
            return
        reach = [[found.mean - found.lo], [found.hi - found.mean]]
        panel.errorbar(
            self.end, found.mean, yerr=reach, color=look.color, marker=look.marker, markersize=5, capsize=2.5
        )
        panel.axhline(found.mean, color=look.color, linestyle="--", linewidth=0.8, alpha=0.6)

    def star(self, panel: Axes, chosen: Iterable[float]) -> None:
        """A star at the foot for what validation chooses, with the number of cities where there are several."""
        for at, count in Counter(chosen).items():
            where = panel.get_xaxis_transform()
            panel.plot(self.places[at], 0.05, marker="*", markersize=10, color="#222222", transform=where, zorder=5)
            if count > 1:
                panel.text(self.places[at], 0.05, f"   {count}", transform=where, fontsize=8, va="center")

    def handles(self, looks: Iterable[Look], star: str = "") -> list[Line2D]:
        """The legend of lines with these looks, and of the star."""
        found = [Line2D([], [], color=look.color, marker=look.marker, label=look.title) for look in looks]
        if self.limit is not None:
            title = style.title(*self.limit)
            found.append(Line2D([], [], color="#666666", linestyle="--", linewidth=0.8, label=f"level of {title}"))
        if star:
            mark: dict[str, Any] = {"color": "#222222", "marker": "*", "markersize": 10, "linestyle": "none"}
            found.append(Line2D([], [], label=star, **mark))
        return [*found, Line2D([], [], color="#999999", linestyle=":", label="best in the paper")]


def draw_mean(sweep: Sweep, axis: Axis, title: str, path: Path) -> None:
    """The AUCs averaged over cities, and below them their paired differences to the first value."""
    drawing = style.figure(12, 6.2)
    panels = drawing.subplots(2, len(PAIRS), squeeze=False, sharex=True)
    chosen = [at for city in sweep.cities if (at := sweep.chosen(city)) is not None]
    for column, pair in enumerate(PAIRS):
        for row, relative in enumerate((False, True)):
            panel = panels[row, column]
            _pair(panel, sweep, axis, pair, None, relative)
            axis.star(panel, chosen)
            axis.dress(panel)
        panels[0, column].set_title(OBSERVED[pair[0]], fontsize=11)
        panels[1, column].set_xlabel(axis.label)
    panels[0, 0].set_ylabel("AUC, mean of cities")
    panels[1, 0].set_ylabel(f"difference to {axis.base}")
    drawing.suptitle(title, fontsize=12)
    legend_below(drawing, axis.handles(_looks(sweep), f"{STAR} (number of cities)"))
    style.save(drawing, path)


def draw_cities(sweep: Sweep, axis: Axis, title: str, path: Path, relative: bool) -> None:
    """One row of panels per city: AUCs, each column over the same span; or differences, on one scale per column."""
    drawing = style.figure(11, 1.4 + 1.5 * len(sweep.cities))
    panels = drawing.subplots(
        len(sweep.cities), len(PAIRS), squeeze=False, sharex=True, sharey="col" if relative else False
    )
    for row, city in enumerate(sweep.cities):
        chosen = sweep.chosen(city)
        for column, pair in enumerate(PAIRS):
            panel = panels[row, column]
            _pair(panel, sweep, axis, pair, city, relative)
            axis.star(panel, [] if chosen is None else [chosen])
            axis.dress(panel)
        panels[row, 0].set_ylabel(style.city_title(city))
    for column, pair in enumerate(PAIRS):
        if not relative:
            _equal_span(panels[:, column])
        what = f"{OBSERVED[pair[0]]}, difference to {axis.base}" if relative else OBSERVED[pair[0]]
        panels[0, column].set_title(what, fontsize=10)
        panels[-1, column].set_xlabel(axis.label)
    drawing.suptitle(title, fontsize=12)
    legend_below(drawing, axis.handles(_looks(sweep), STAR), columns=5)
    style.save(drawing, path)


def as_estimates(contrasts: Mapping[float, Contrast]) -> dict[float, Estimate]:
    """As :func:`as_estimate`, by value of the knob."""
    return {at: as_estimate(contrast) for at, contrast in contrasts.items()}


def as_estimate(contrast: Contrast) -> Estimate:
    """A difference as a value to draw."""
    return Estimate(contrast.difference, contrast.lo, contrast.hi, contrast.se, contrast.n_seeds, contrast.dof)


def _pair(panel: Axes, sweep: Sweep, axis: Axis, pair: Sequence[str], city: str | None, relative: bool) -> None:
    """An AUC against labels and against the truth: of a city, or of the mean where it is None."""
    base = next(iter(sweep.entries))
    for measure, look in zip(pair, _looks(sweep), strict=False):
        cities = sweep.whole(measure) if city is None else [city]
        curve = as_estimates(sweep.changes(measure, cities, base)) if relative else sweep.curve(measure, cities)
        if curve:
            axis.draw(panel, curve, look)
        if axis.limit is not None and cities:
            beyond = sweep.contrast(measure, cities, axis.limit, sweep.entries[base])
            level = sweep.level(measure, cities, axis.limit)
            moved = None if beyond is None else as_estimate(beyond)
            axis.draw_limit(panel, moved if relative else level, look)
    if not panel.lines:
        panel.text(0.5, 0.5, "not stored, or withheld", transform=panel.transAxes, ha="center", color="#666666")
    elif relative:
        panel.axhline(0, color="#444444", linewidth=0.8, zorder=0.6)


def _equal_span(panels: Iterable[Axes]) -> None:
    """Give all panels as many units of height as the highest needs, so that slopes compare."""
    limits = [(panel, *panel.get_ylim()) for panel in panels]
    half = max(high - low for _, low, high in limits) / 2
    for panel, low, high in limits:
        panel.set_ylim((low + high) / 2 - half, (low + high) / 2 + half)


def _looks(sweep: Sweep) -> list[Look]:
    """Of an AUC against observed labels and, where there is a truth, against it."""
    model = style.look(next(iter(sweep.entries.values()))[0])
    truth = any(sweep.samples(city, measure) for city in sweep.cities for measure in TRUE)
    return [model._replace(title="against observed labels"), *([TRUTH_LOOK] if truth else [])]
