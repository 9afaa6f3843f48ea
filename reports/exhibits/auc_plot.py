"""Dot plots of the three AUCs: models by city, with intervals and the published values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports import style
from reports.aucs import AUCS, metric_name, study_aucs
from reports.exhibit import Exhibit
from reports.markdown import picture
from reports.study import Study

READING = """\
Dots are means over seeds, bars 95 % intervals over test users and seeds, hollow marks the paper's values. Intervals
that overlap do not mean a tie: models are compared on the same users, see Table IV."""

SPACE = {"exposed": "all exposures", "clicked": "clicked exposures", "carted": "exposures with a cart"}
COLUMNS = 3


class AucPlot(Exhibit):
    name = "auc_plot"
    title = "AUC by model and city"
    needs = "stored predictions"
    order = 21

    def build(self, study: Study, folder: Path) -> str:
        table = study_aucs(study).table
        table = table[table.main & table["mean"].notna()]
        self.write_csv(table, folder)
        parts = [READING]
        for probability, paper_name in AUCS.items():
            frame = table[table.metric == metric_name(probability)]
            if frame.empty:
                parts.append(f"{paper_name}: nothing is stored yet, or it is withheld.")
                continue
            path = folder / f"{self.name}-{probability}-{study.slug}.png"
            _draw(study, frame, paper_name, path)
            parts.append(picture(path.name, f"{paper_name} of every model, one panel per city"))
        return "\n\n".join(parts)


def _draw(study: Study, frame: pd.DataFrame, paper_name: str, path: Path) -> None:
    cities = [city for city in study.cities if (frame.city == city).any()]
    models = style.in_order(frame.model)
    columns = min(COLUMNS, len(cities))
    rows = math.ceil(len(cities) / columns)
    drawing = style.figure(1.6 + 3.4 * columns, 1.5 + (0.55 + 0.3 * len(models)) * rows)
    panels = drawing.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
    for panel in panels.flat[len(cities) :]:
        panel.set_visible(False)
    space = SPACE[str(frame.metric.iloc[0]).rsplit("/", 1)[1]]
    for place, (city, panel) in enumerate(zip(cities, panels.flat, strict=False)):
        _panel(panel, frame[frame.city == city].to_dict("records"), models, style.city_title(city))
        if place + columns >= len(cities):  # nothing below it
            panel.tick_params(labelbottom=True)
            panel.set_xlabel(f"AUC over {space}")
    drawing.suptitle(f"{paper_name} on the test days: {study.title}", fontsize=12)
    handles = [
        Line2D([], [], color="#444444", marker="o", label="ours, with 95 % interval"),
        Line2D(
            [],
            [],
            color="#444444",
            marker="o",
            markerfacecolor="white",
            linestyle="none",
            label="paper (ESMC Table IV)",
        ),
    ]
    drawing.legend(
        handles=handles[: 1 + frame.published.notna().any()], loc="outside lower center", ncols=2, frameon=False
    )
    style.save(drawing, path)


def _panel(panel: Axes, rows: list[dict[Any, Any]], models: list[str], title: str) -> None:
    for row in rows:
        look, place = style.look(row["model"]), models.index(row["model"])
        panel.errorbar(
            row["mean"],
            place,
            xerr=[[row["mean"] - row["lo"]], [row["hi"] - row["mean"]]],
            color=look.color,
            marker=look.marker,
            markersize=6,
            capsize=2.5,
        )
        panel.plot(
            row["published"],
            place,
            color=look.color,
            marker=look.marker,
            markersize=7,
            markerfacecolor="white",
            linestyle="none",
        )
    ceiling = rows[0]["ceiling"]
    panel.set_title(title if math.isnan(ceiling) else f"{title} (ceiling {ceiling:.3f})", fontsize=10)
    panel.set_yticks(range(len(models)), [style.title(model) for model in models])
    panel.set_ylim(len(models) - 0.5, -0.5)
    panel.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
