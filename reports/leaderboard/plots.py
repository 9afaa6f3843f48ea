"""Pictures of the leaderboard: the critical-difference diagram and the matrix of wins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports import style
from reports.leaderboard.board import Board

#: Purple wins, orange loses, white is even; safe for colour-blind readers.
COLORS = colormaps["PuOr"]

#: With more models than this the cells of the matrix hold percentages, and their number of blocks is not printed.
ROOM = 12
#: Inches that the heading and the words below the matrix need, however few models there are.
WORDS = 6.0

INK = "#222222"


def draw_ranks(board: Board, heading: str, path: Path) -> None:
    """The critical-difference diagram (Demšar, JMLR 2006): mean ranks, and bars over what cannot be told apart."""
    from scikit_posthocs import critical_difference_diagram  # takes a second to import

    models = board.models
    apart = pd.DataFrame([[float(not _apart(board, a, b)) for b in models] for a in models], models, models)
    drawing = style.figure(9.5, 4.0)
    panel = drawing.subplots()
    spread = float(np.ptp(board.mean_ranks.to_numpy())) or 1.0
    drawn = critical_difference_diagram(
        board.mean_ranks.rename(style.title),
        apart.rename(index=style.title, columns=style.title),
        ax=panel,
        label_fmt_left="{label}  {rank:.2f} ",
        label_fmt_right=" {rank:.2f}  {label}",
        label_props={"fontsize": 9},
        marker_props={"s": 36},
        elbow_props={"linewidth": 1.2},
        crossbar_props={"color": "#555555", "linewidth": 3, "marker": "o", "markersize": 4, "solid_capstyle": "round"},
        color_palette={style.title(model): style.look(model).color for model in models},
        text_h_margin=0.03 * spread,
    )
    for label in drawn["labels"]:
        label.set_color(INK)
    lowest = panel.dataLim.y0
    panel.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    panel.tick_params(axis="x", labelsize=9, colors=INK)
    top = 2.2
    if board.test == "nemenyi":
        _scale(panel, board, top)
        top += 1.0
    panel.set_ylim(lowest - 0.6, top)
    drawing.set_size_inches(9.5, 0.8 + 0.27 * (top - lowest))
    drawing.suptitle(f"{heading}\nmean rank, 1 is best; a bar joins models that cannot be told apart", fontsize=11)
    style.save(drawing, path)


def _apart(board: Board, first: str, second: str) -> bool:
    return board.better(first, second) or board.better(second, first)


def _scale(panel: Axes, board: Board, height: float) -> None:
    """How long the critical difference is, from the left end of the axis."""
    start, length = float(board.mean_ranks.min()), board.critical_difference
    panel.plot([start, start + length], [height, height], color=INK, linewidth=1.5, marker="|", markersize=8)
    panel.text(
        start + length / 2, height + 0.3, f"critical difference {length:.2f}", ha="center", fontsize=9, color=INK
    )


def draw_wins(wins: pd.DataFrame, shared: pd.DataFrame, models: list[str], heading: str, path: Path) -> None:
    """Blocks in which the row's model beats the column's: [models, models], in this order of ``models``."""
    won = wins.loc[models, models].to_numpy(dtype=float)
    of = shared.loc[models, models].to_numpy(dtype=float)
    share = won / np.where(of > 0, of, np.nan)
    size = len(models)
    roomy = size <= ROOM
    width = max(WORDS, 2.6 + (0.62 if roomy else 0.44) * size)
    drawing = style.figure(width, 2.2 + (0.42 if roomy else 0.34) * size)
    panel = drawing.subplots()
    panel.set_facecolor("#EEEEEE")
    shade = 0.5 + 0.77 * (share - 0.5)  # without the darkest colours
    panel.imshow(shade, cmap=COLORS, vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(of > 0):
        text = f"{won[row, column]:g}/{of[row, column]:g}" if roomy else f"{100 * share[row, column]:.0f}"
        color = _ink(COLORS(float(shade[row, column])))
        panel.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    titles = [style.title(model) for model in models]
    panel.set_xticks(range(size), titles, rotation=40, ha="left", rotation_mode="anchor", fontsize=9)
    panel.set_yticks(range(size), titles, fontsize=9)
    panel.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    panel.spines[:].set_visible(False)
    unit = "blocks won / blocks that have both" if roomy else "percent of the blocks that have both"
    drawing.supxlabel(f"purple: the row's model wins more often; {unit}", fontsize=9)
    drawing.suptitle(heading, fontsize=11)
    style.save(drawing, path)


def _ink(background: tuple[float, float, float, float]) -> str:
    """White on dark, dark on light."""
    red, green, blue, _ = background
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else INK
