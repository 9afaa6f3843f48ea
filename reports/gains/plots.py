"""Pictures of gains by city, beside the paper's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.metrics.compare import Contrast
from reports import style
from reports.draw import legend_below, tidy
from reports.gains.values import MEAN, OBSERVED, TRUE, Contrasts, Gain, Gains, Place
from reports.measures import Entry
from reports.study import Study

#: How far apart the series of one city stand.
STEP = 0.17


class Series(NamedTuple):
    """A comparison in all AUCs, and how it looks."""

    label: str
    color: str
    marker: str
    gain: Gain


def draw_gains(
    study: Study,
    contrasts: Contrasts,
    series: Sequence[Series],
    published: Mapping[Place, float],
    title: str,
    path: Path,
) -> None:
    """One panel per AUC: the gains of every city, of their mean, and of the mean against the truth."""
    drawing = style.figure(13.5, 4.4)
    panels = drawing.subplots(1, len(OBSERVED))
    for panel, (measure, name) in zip(panels, OBSERVED.items(), strict=True):
        for place, one in enumerate(series):
            shift = STEP * (place - (len(series) - 1) / 2)
            _series(panel, study.cities, contrasts, one, one.gain.of(measure), published, shift)
        panel.axhline(0, color="#444444", linewidth=1)
        panel.axvline(len(study.cities) - 0.5, color="#BBBBBB", linewidth=1)
        labels = [*map(style.city_title, study.cities), "Mean", "Mean,\ntruth"]
        panel.set_xticks(range(len(labels)), [label.replace(" ", "\n") for label in labels], fontsize=8)
        panel.set_xlim(-0.5, len(labels) - 0.5)
        panel.set_title(name, fontsize=11)
        tidy(panel, "y")
    panels[0].set_ylabel("gain in percent of the AUC")
    drawing.suptitle(title, fontsize=12)
    legend_below(drawing, _legend(series, bool(published)), columns=3)
    style.save(drawing, path)


def _series(
    panel: Axes,
    cities: Sequence[str],
    contrasts: Contrasts,
    one: Series,
    gain: Gain,
    published: Mapping[Place, float],
    shift: float,
) -> None:
    places: list[Place] = [*((gain, city) for city in cities), (gain, MEAN), (gain.of(TRUE[gain.measure]), MEAN)]
    for x, place in enumerate(places):
        if (found := contrasts.get(place)) is not None:
            mark(panel, x + shift, found, color=one.color, marker=one.marker)
        if (printed := published.get(place)) is not None:
            hollow: dict[str, Any] = {"markerfacecolor": "none", "markersize": 7, "linestyle": "none"}
            panel.plot(x + shift + STEP / 3, printed, color=one.color, marker=one.marker, **hollow)


def mark(panel: Axes, x: float, found: Contrast, **look: Any) -> None:
    """A mean with its interval."""
    low, high = (0.0, 0.0) if math.isnan(found.lo) else (found.difference - found.lo, found.hi - found.difference)
    panel.errorbar(x, found.difference, yerr=[[low], [high]], markersize=5, capsize=2, linewidth=1.2, **look)


def _legend(series: Sequence[Series], with_paper: bool) -> list[Line2D]:
    handles = [Line2D([], [], color=one.color, marker=one.marker, label=one.label) for one in series]
    if with_paper:
        look: dict[str, Any] = {"markerfacecolor": "none", "markersize": 7, "linestyle": "none"}
        handles.append(Line2D([], [], color="#444444", marker="o", label="hollow: the paper's", **look))
    return handles


def draw_levels(
    gains: Gains,
    measures: Mapping[Any, str],
    entries: Sequence[Entry],
    published: Mapping[tuple[str, str, Entry], float],
    title: str,
    path: Path,
) -> None:
    """One panel per measure, on one scale: the mean over cities of every model, beside the paper's."""
    drawing = style.figure(11.0, 1.9 + 0.36 * len(entries))
    panels = drawing.subplots(1, len(measures), sharex=True, sharey=True)
    for panel, (name, measure) in zip(panels, measures.items(), strict=True):
        cities = gains.shared(measure, entries)
        for place, entry in enumerate(entries):
            look = style.look(entry[0])
            if (found := gains.mean(measure, entry, cities)) is not None:
                reach = [[found.mean - found.lo], [found.hi - found.mean]]
                panel.errorbar(
                    found.mean, place, xerr=reach, color=look.color, marker=look.marker, markersize=6, capsize=2.5
                )
            if (printed := published.get((measure, MEAN, entry))) is not None:
                hollow: dict[str, Any] = {"markerfacecolor": "white", "markersize": 7, "linestyle": "none"}
                panel.plot(printed, place, color=look.color, marker=look.marker, **hollow)
        panel.set_title(f"{str(name).capitalize()} cases (mean of {len(cities)} cities)", fontsize=10)
        panel.set_xlabel("CVR-AUC over clicked exposures")
        panel.set_yticks(range(len(entries)), [style.title(*entry) for entry in entries])
        panel.set_ylim(len(entries) - 0.5, -0.5)
        tidy(panel, "x")
    handles = [Line2D([], [], color="#444444", marker="o", label="ours, with 95 % interval")]
    if published:
        look_of: dict[str, Any] = {"markerfacecolor": "white", "linestyle": "none"}
        label = "paper's ESMM² and ESMS, mean of its cities"
        handles.append(Line2D([], [], color="#444444", marker="o", label=label, **look_of))
    legend_below(drawing, handles)
    drawing.suptitle(title, fontsize=12)
    style.save(drawing, path)
