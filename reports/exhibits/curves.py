"""Training curves: loss by task against training rows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.results.queries import curve_frame
from reports import style
from reports.exhibit import Exhibit
from reports.markdown import picture
from reports.study import Study

READING = """\
Mean training loss since the point before, by task and as weighted in training, against the rows seen so far; lines are
means over cities and seeds, bands reach from the lowest to the highest. Cities differ in size, so the axis is the
share of a cell's run. A CVR loss runs over clicked rows, the others over all exposures: panels are not to be compared
with each other."""

TASKS = {"ctr": "CTR", "cvr": "CVR", "ctcvr": "CTCVR", "car": "CAR", "ctcar": "CTCAR", "constraint": "Constraint"}

#: Losses before this share of the run may lie above the picture: the start would squeeze the rest.
SETTLED = 0.06
GRID = np.linspace(0.0, 1.0, 51)[1:]


class Curves(Exhibit):
    name = "curves"
    title = "Training curves"
    needs = "records"
    order = 75

    def build(self, study: Study, folder: Path) -> str:
        frame = curve_frame(record for record in study.records if record.key in study.main)
        if frame.empty:
            return "No stored cell has a training curve."
        bands = curve_bands(frame)
        self.write_csv(bands, folder)
        path = self.picture_path(study, folder)
        ends = frame.groupby("key").rows.max()
        _draw(bands, f"Training loss by task: {study.title}", _axis(int(ends.min()), int(ends.max())), path)
        return "\n\n".join([READING, picture(path.name, "training loss by task and model")])


def curve_bands(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean, lowest and highest loss over cells at common shares of the run, by model and task.

    A cell's curve is interpolated linearly between its points; before its first point it has no value.
    """
    columns = ["dataset", "preset", "model", "task"]
    found = []
    ends = frame.groupby("key").rows.max()
    for names, cells in frame.groupby(columns):
        lines = np.array(
            [
                np.interp(GRID, cell.rows / ends[key], cell.loss, left=math.nan)
                for key, cell in cells.sort_values("rows").groupby("key")
            ]
        )
        kept = ~np.isnan(lines).any(axis=0)
        values = {"share": GRID, "mean": lines.mean(0), "lowest": lines.min(0), "highest": lines.max(0)}
        part = pd.DataFrame(values)[kept]
        found.append(part.assign(n_cells=len(lines), **dict(zip(columns, names, strict=True))))
    ordered = [*columns, "share", "mean", "lowest", "highest", "n_cells"]
    bands: pd.DataFrame = pd.concat(found, ignore_index=True)[ordered]
    return bands


def _axis(shortest: int, longest: int) -> str:
    whole = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}, by city"
    return f"training rows seen\n(100 % = {whole})"


def _draw(bands: pd.DataFrame, title: str, axis: str, path: Path) -> None:
    tasks = sorted(set(bands.task), key=lambda task: (list(TASKS).index(task) if task in TASKS else len(TASKS), task))
    columns = 2 if len(tasks) == 4 else min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    drawing = style.figure(1.0 + 3.8 * columns, 1.4 + 2.8 * rows)
    panels = drawing.subplots(rows, columns, squeeze=False)
    for panel in panels.flat[len(tasks) :]:
        panel.set_visible(False)
    handles: dict[str, Line2D] = {}
    for place, (task, panel) in enumerate(zip(tasks, panels.flat, strict=False)):
        handles |= _panel(panel, bands[bands.task == task])
        panel.set_title(TASKS.get(task, task), fontsize=10)
        if place % columns == 0:
            panel.set_ylabel("training loss")
        if place + columns >= len(tasks):  # nothing below it
            panel.set_xlabel(axis)
    models = style.in_order(handles)
    drawing.legend(
        [handles[model] for model in models],
        [style.title(model) for model in models],
        loc="outside lower center",
        ncols=min(7, len(models)),
        frameon=False,
    )
    drawing.suptitle(title, fontsize=12)
    style.save(drawing, path)


def _panel(panel: Axes, bands: pd.DataFrame) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    for model in style.in_order(bands.model):
        line, look = bands[bands.model == model], style.look(model)
        panel.fill_between(100 * line.share, line.lowest, line.highest, color=look.color, alpha=0.12, linewidth=0)
        (handles[model],) = panel.plot(
            100 * line.share,
            line["mean"],
            color=look.color,
            marker=look.marker,
            markevery=10,
            markersize=4,
            linewidth=1.4,
        )
    panel.set_ylim(top=1.05 * float(bands.highest[bands.share >= SETTLED].max()))
    panel.grid(color="#DDDDDD", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.xaxis.set_major_formatter("{x:.0f} %")
    panel.spines[["top", "right"]].set_visible(False)
    return handles
