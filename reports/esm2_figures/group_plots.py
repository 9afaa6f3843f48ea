"""The picture of ESM² Figure 7."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.metrics.compare import Estimate
from reports import style
from reports.draw import legend_below, tidy
from reports.esm2_figures.group_words import paper_gains
from reports.esm2_figures.groups import GAIN, MODELS, Groups, Key
from reports.esm2_figures.knobs import MEASURES, OBSERVED
from reports.esm2_figures.purchases import GROUPS
from reports.style import Look

GAIN_LOOK = Look("gain of ESM² over ESMM", "#444444", "o")
PAPER_COLOR = "#D55E00"
BARS = """\
bars: 95 % intervals over test users and seeds; along the axis: purchases of the last three months,
and what the test days have of the group"""
#: How far the two models of one group stand apart.
APART = 0.08


def draw(found: Groups, title: str, path: Path) -> None:
    """Above, the AUCs of both models by group; below, the gain in percent beside the paper's. One column per AUC,
    against observed labels and, where it is known, against the truth; each row has one scale."""
    measures = [measure for measure in MEASURES if measure in OBSERVED or found.known(measure)]
    drawing = style.figure(3.1 + 2.75 * len(measures), 7.2)
    panels = drawing.subplots(2, len(measures), squeeze=False, sharex=True, sharey="row")
    for column, measure in enumerate(measures):
        above, below = panels[:, column]
        for place, model in enumerate(MODELS):
            _line(above, found, measure, model, style.look(model), APART * (2 * place - 1))
        _line(below, found, measure, GAIN, GAIN_LOOK, 0.0)
        below.plot(
            range(len(GROUPS)), list(paper_gains(found).values()), marker="D", color=PAPER_COLOR, linestyle=":",
            markerfacecolor="white",
        )  # fmt: skip
        below.axhline(0, color="#444444", linewidth=0.8, zorder=0.6)
        against = "observed labels" if measure in OBSERVED else "truth"
        above.set_title(f"{MEASURES[measure]}\nagainst {'the truth' if against == 'truth' else against}", fontsize=10)
        below.set_xticks(range(len(GROUPS)), [_tick(found, group) for group in GROUPS], fontsize=7.5)
        for panel in (above, below):
            panel.set_xlim(-0.5, len(GROUPS) - 0.5)
            tidy(panel, "y")
    panels[0, 0].set_ylabel("AUC")
    panels[1, 0].set_ylabel("gain of ESM² over ESMM,\npercent of the AUC of ESMM")
    handles = [Line2D([], [], color=look.color, marker=look.marker, label=look.title) for look in _looks()]
    paper = Line2D(
        [], [], color=PAPER_COLOR, marker="D", markerfacecolor="white", linestyle=":", label="gain in the paper"
    )
    legend_below(drawing, [*handles, paper])
    drawing.suptitle(f"{title}\n{BARS}", fontsize=12)
    style.save(drawing, path)


def _line(panel: Axes, found: Groups, measure: str, quantity: str, look: Look, shift: float) -> None:
    """A quantity by group with its intervals; the line breaks where a group has none."""
    nothing = Estimate(math.nan, math.nan, math.nan, math.nan, 0)
    levels = [found.estimate(Key(measure, group, quantity)) or nothing for group in GROUPS]
    x = [place + shift for place in range(len(GROUPS))]
    reach = [[e.mean - e.lo for e in levels], [e.hi - e.mean for e in levels]]
    panel.errorbar(
        x, [e.mean for e in levels], yerr=reach, color=look.color, marker=look.marker, markersize=5, linewidth=1.2,
        elinewidth=1.1, capsize=2.5,
    )  # fmt: skip
    for place, group in enumerate(GROUPS):
        if group not in found.known(measure) and quantity in (MODELS[0], GAIN):
            where = panel.get_xaxis_transform()
            look_of = {"rotation": 90, "ha": "center", "va": "center", "color": "#999999"}
            panel.text(place, 0.5, "not known, or withheld", transform=where, **look_of)  # type: ignore[arg-type]


def _tick(found: Groups, group: str) -> str:
    """The group, its share of the users, and its clicks and purchases."""
    share = found.share(group, "users")
    users = "" if math.isnan(share) else f"\n{share:.0%} of users"
    return f"{group}{users}\n{found.size(group, 'clicks'):,} clicks\n{found.size(group, 'purchases'):,} bought"


def _looks() -> Sequence[Look]:
    return [*(style.look(model) for model in MODELS), GAIN_LOOK]
