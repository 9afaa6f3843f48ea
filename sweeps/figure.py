"""The picture of a study: value over each knob, and the best value over trials."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any, NamedTuple

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from optuna.trial import FrozenTrial, TrialState

from sweeps.space import Knob
from sweeps.study import VALUES, Subject

PAPER, SEARCHED = "s", "o"
COLOURS, BEST, FAILED, QUIET = "viridis", "#D55E00", "#CC3311", "#999999"


class _Point(NamedTuple):
    """A trial with a value; ``paper``: whether it is of the paper's grid."""

    number: int
    params: dict[str, float]
    value: float
    spread: float | None
    paper: bool


def file_name(study_name: str) -> str:
    """A file name that can be read, e.g. ``six_cities-6-esmc-constraint_weight-1a2b3c4d.png``."""
    return re.sub(r"[^\w.+-]+", "-", study_name)[-150:].strip("-.") + ".png"


def spread(trial: FrozenTrial) -> float | None:
    """Standard deviation of a finished trial's value over its seeds; None with one seed."""
    values = trial.user_attrs.get(VALUES, ())
    return stdev(values) if len(values) > 1 and trial.state == TrialState.COMPLETE else None


def draw(study: optuna.Study, subject: Subject, title: str, path: Path) -> None:
    """Draw the finished trials of a study, of which one at least has a value.

    Args:
        title: model and city as people call them.
        path: the PNG; its folder must exist.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
    points = [_point(trial, subject.knobs) for trial in trials if trial.state == TrialState.COMPLETE]
    lost = [trial for trial in trials if trial.state == TrialState.FAIL]
    colours = Normalize(0, max(1, trials[-1].number))
    drawing = Figure(figsize=(1.2 + 4.0 * (len(subject.knobs) + 1), 4.6), layout="constrained")
    panels = drawing.subplots(1, len(subject.knobs) + 1, sharey=True, squeeze=False)[0]
    for knob, panel in zip(subject.knobs, panels, strict=False):
        _scatter(panel, points, [point.params[knob.name] for point in points], colours)
        _lost(panel, [trial.params[knob.name] for trial in lost])
        _mark(panel, study.best_params[knob.name], study.best_value)
        _log_axis(panel, knob)
    _progress(panels[-1], points, trials[-1].number, colours)
    _lost(panels[-1], [trial.number for trial in lost])
    _mark(panels[-1], study.best_trial.number, study.best_value)
    for panel in panels:
        panel.grid(color="#DDDDDD", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    seeds = f" (mean of {subject.seeds} seeds)" if subject.seeds > 1 else ""
    panels[0].set_ylabel(f"validation CTCVR-AUC{seeds}")
    bar = drawing.colorbar(ScalarMappable(colours, COLOURS), ax=panels, label="trial", pad=0.01, aspect=30)
    bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    drawing.legend(handles=_legend(subject, bool(lost)), loc="outside lower center", ncols=6, frameon=False)
    best = ", ".join(f"{name} = {value:.3g}" for name, value in study.best_params.items())
    drawing.suptitle(f"{title}: best of {len(points)} trial{'s' * (len(points) > 1)} at {best}", fontsize=12)
    drawing.savefig(path, dpi=130, facecolor="white")


def _point(trial: FrozenTrial, knobs: Sequence[Knob]) -> _Point:
    assert trial.value is not None
    paper = all(np.isclose(trial.params[knob.name], knob.grid, rtol=1e-9).any() for knob in knobs)
    return _Point(trial.number, trial.params, trial.value, spread(trial), paper)


def _scatter(panel: Axes, points: Sequence[_Point], x: Sequence[float], colours: Normalize) -> None:
    """The value of each trial, the paper's in another shape, with the spread over seeds."""
    for point, place in zip(points, x, strict=True):
        if point.spread is not None:
            panel.errorbar(place, point.value, point.spread, color=QUIET, linewidth=1, capsize=2.5, zorder=2)
        panel.scatter(
            place,
            point.value,
            c=point.number,
            cmap=COLOURS,
            norm=colours,
            marker=PAPER if point.paper else SEARCHED,
            s=46,
            edgecolors="black",
            linewidths=0.7,
            zorder=3,
        )


def _progress(panel: Axes, points: Sequence[_Point], last: int, colours: Normalize) -> None:
    """The value of each trial, and the best so far as a stair."""
    numbers = [point.number for point in points]
    best = list(itertools.accumulate((point.value for point in points), max))
    panel.step(numbers, best, where="post", color=BEST, linewidth=1.6, zorder=1)
    _scatter(panel, points, numbers, colours)
    panel.set_xlabel("trial")
    panel.set_xlim(-0.7, last + 0.7)
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def _lost(panel: Axes, x: Sequence[float]) -> None:
    """Trials without a value, at the foot."""
    panel.plot(x, [0.025] * len(x), "x", color=FAILED, transform=panel.get_xaxis_transform(), zorder=3)


def _mark(panel: Axes, x: float, y: float) -> None:
    panel.plot(x, y, "o", markersize=15, markerfacecolor="none", markeredgecolor=BEST, markeredgewidth=2.2, zorder=4)


def _log_axis(panel: Axes, knob: Knob) -> None:
    """A logarithmic axis whose ticks are the paper's values."""
    panel.set_xscale("log")
    panel.set_xlim(knob.low / 1.2, knob.high * 1.2)
    panel.xaxis.set_major_locator(FixedLocator(knob.grid))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel(f"{knob.name} (log scale)")


def _legend(subject: Subject, lost: bool) -> list[Line2D]:
    point: dict[str, Any] = {"linestyle": "none", "color": "#BBBBBB", "markeredgecolor": "black", "markersize": 7}
    handles = [
        Line2D([], [], marker=PAPER, label="of the paper's grid", **point),
        Line2D([], [], marker=SEARCHED, label="searched", **point),
        Line2D(
            [], [], **point | {"marker": "o", "markersize": 12, "color": "none", "markeredgecolor": BEST}, label="best"
        ),
        Line2D([], [], color=BEST, label="best so far"),
    ]
    if subject.seeds > 1:
        handles.append(
            Line2D([], [], color=QUIET, marker="_", label=f"± standard deviation over {subject.seeds} seeds")
        )
    if lost:
        handles.append(Line2D([], [], linestyle="none", marker="x", color=FAILED, label="failed"))
    return handles
