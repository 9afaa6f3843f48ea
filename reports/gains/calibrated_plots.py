"""The bars of ESMC Fig. 7: AUCs with and without Sample Calibration."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.metrics.compare import Estimate
from reports import style
from reports.draw import legend_below, tidy
from reports.gains.calibrated import MODELS, entry, title
from reports.gains.values import OBSERVED, Gains

#: The paper's colours: without and with.
BARS = {"none": "#56B4E9", "copy": "#E69F00"}
WIDTH = 0.38


def draw_bars(gains: Gains, heading: str, path: Path) -> None:
    """One row of panels per model, one column per AUC: bars by city and of their mean."""
    study = gains.study
    models = [model for model in MODELS if any(_bars(gains, model, measure) for measure in OBSERVED)]
    drawing = style.figure(13.5, 1.2 + 3.0 * len(models))
    panels = drawing.subplots(len(models), len(OBSERVED), squeeze=False)
    for row, model in zip(panels, models, strict=True):
        for panel, (measure, name) in zip(row, OBSERVED.items(), strict=True):
            _panel(panel, _bars(gains, model, measure))
            labels = [*map(style.city_title, study.cities), "Mean"]
            panel.set_xticks(range(len(labels)), [label.replace(" ", "\n") for label in labels], fontsize=8)
            panel.set_xlim(-0.6, len(labels) - 0.4)
            panel.axvline(len(labels) - 1.5, color="#BBBBBB", linewidth=1)
            panel.set_title(f"{name}: {title(model, 'none')} and {title(model, 'copy')}", fontsize=10)
    swatch: dict[str, Any] = {"marker": "s", "markersize": 9, "linestyle": "none"}
    names = {"none": "without Sample Calibration (⁻)", "copy": "with it"}
    handles = [Line2D([], [], color=BARS[mode], label=label, **swatch) for mode, label in names.items()]
    handles.append(Line2D([], [], color="#333333", label="95 % interval of one model"))
    legend_below(drawing, handles)
    drawing.suptitle(heading, fontsize=12)
    style.save(drawing, path)


def _bars(gains: Gains, model: str, measure: str) -> dict[tuple[int, str], Estimate]:
    """By place on the axis and mode; the last place is the mean over the cities that have both."""
    study = gains.study
    entries = {mode: entry(study, model, mode) for mode in BARS}
    shared = gains.shared(measure, entries.values())
    found: dict[tuple[int, str], Estimate] = {}
    for mode, of in entries.items():
        by_city = gains.estimates(measure, of)
        found |= {(x, mode): by_city[city] for x, city in enumerate(study.cities) if city in by_city}
        if (mean := gains.mean(measure, of, shared)) is not None:
            found[len(study.cities), mode] = mean
    return found


def _panel(panel: Axes, bars: dict[tuple[int, str], Estimate]) -> None:
    if not bars:
        panel.set_ylabel("AUC: nothing stored, or withheld", fontsize=8)
        return
    floor = _floor(bars.values())
    for (x, mode), found in bars.items():
        place = x + (WIDTH / 2 if mode == "copy" else -WIDTH / 2)
        panel.bar(place, found.mean - floor, WIDTH, bottom=floor, color=BARS[mode])
        reach = [[found.mean - found.lo], [found.hi - found.mean]]
        panel.errorbar(place, found.mean, yerr=reach, color="#333333", capsize=2, linewidth=1)
    panel.set_ylim(bottom=floor)
    panel.set_ylabel(f"AUC, cut off below {floor:g}", fontsize=9)
    stroke: dict[str, Any] = {"transform": panel.transAxes, "color": "black", "clip_on": False, "linewidth": 1}
    for height in (0.03, 0.055):  # the break of the axis
        panel.plot((-0.012, 0.012), (height - 0.01, height + 0.01), **stroke)
    tidy(panel, "y")


def _floor(found: Collection[Estimate]) -> float:
    """A round number below all intervals."""
    lowest, highest = min(e.lo for e in found), max(e.hi for e in found)
    return max(0.0, round(lowest - 0.25 * (highest - lowest) - 0.005, 2))
