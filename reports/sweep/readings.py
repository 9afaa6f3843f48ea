"""The readings of ESMC's constraint on parameters: how far apart they leave the towers, and how far from ESMS."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from bench.metrics.compare import Contrast
from reports import style
from reports.draw import legend_below
from reports.effects import effect
from reports.markdown import MISSING, table
from reports.measures import Entry
from reports.style import Look
from reports.sweep.plots import PAIRS, Axis, as_estimate, as_estimates
from reports.sweep.show import WORDS, present
from reports.sweep.values import MEASURES, OBSERVED, Contrasts, Key, Sweep

ESMS: Entry = ("esms", "")

#: A reading's limit is Siamese where at most NEAR of the distance without constraint is left at the largest
#: coefficient; it responds visibly where more than that is left at the smallest, and falls by this factor.
VISIBLE, NEAR = 2.0, 0.1

LOOKS = {
    "gaussian": Look("gaussian", "#D55E00", "h"),
    "softmax": Look("softmax", "#0072B2", "s"),
    "softmax_unit": Look("softmax_unit", "#009E73", "^"),
}

TEXT = f"""\
What D_KL of two sets of parameters is, the paper does not say. Three readings: `gaussian` takes half the squared
distance of the parameters; `softmax` and `softmax_unit` take the Kullback-Leibler divergence of weights made a
distribution by layer or by output unit, which leaves biases free. *Distance* is the Euclidean distance of the two
towers' parameters after training (geometric mean over cities and seeds; the picture's band: lowest to highest). ESMS
is one tower: distance 0. We call the limit *Siamese* where at most {NEAR:.0%} of the distance without constraint is
left at the largest coefficient of the paper, and a response *visible* where more than that is left at its smallest,
and the distance falls at least {VISIBLE:g}-fold in between."""


class Spread(NamedTuple):
    """Distances of several cells."""

    mean: float
    lowest: float
    highest: float


class Response(NamedTuple):
    """Shares of the distance without constraint that are left at the smallest and the largest coefficient."""

    smallest: float
    largest: float

    @property
    def visible(self) -> bool:
        return self.smallest > NEAR and self.smallest >= VISIBLE * self.largest

    @property
    def siamese(self) -> bool:
        return self.largest <= NEAR


def distances(sweep: Sweep) -> dict[float, dict[tuple[str, int], float]]:
    """The towers' distance after training by coefficient, city and seed."""
    places = {entry: at for at, entry in sweep.entries.items()}
    found: dict[float, dict[tuple[str, int], float]] = {at: {} for at in sweep.entries}
    for city in sweep.cities:
        for record in sweep.study.of_city(city):
            at = places.get((record.cell.model, sweep.study.variants[record.key]))
            distance = record.notes.get("tower_distance")
            if at is not None and isinstance(distance, float | int):
                found[at][city, record.cell.seed] = float(distance)
    return {at: of_cells for at, of_cells in found.items() if of_cells}


def spread(of_cells: Mapping[tuple[str, int], float]) -> Spread:
    values = list(of_cells.values())
    return Spread(_geometric(values), min(values), max(values))


def ratio(sweep: Sweep, first: float, second: float) -> float:
    """Distance at ``first`` over that at ``second``: geometric mean over the cells that have both; NaN without."""
    found = distances(sweep)
    ours, other = found.get(first, {}), found.get(second, {})
    both = [cell for cell in ours if other.get(cell, 0.0) > 0]
    return _geometric([ours[cell] / other[cell] for cell in both]) if both else math.nan


def response(sweep: Sweep) -> Response | None:
    """None where the coefficients that it is read off are not stored."""
    none, smallest, *_, largest = sweep.entries
    found = Response(ratio(sweep, smallest, none), ratio(sweep, largest, none))
    return None if any(map(math.isnan, found)) else found


def comparisons(sweeps: Mapping[str, Sweep], place: str) -> Contrasts:
    """Every reading at the largest coefficient, and no constraint, against ESMS; readings against each other."""
    found: dict[Key, Contrast | None] = {}
    ends = {reading: end(sweep) for reading, sweep in sweeps.items()}
    for measure in MEASURES:
        for reading, sweep in sweeps.items():
            for entry in (next(iter(sweep.entries.values())), ends[reading]):
                found[Key(place, measure, entry, ESMS)] = sweep.contrast(measure, sweep.cities, entry, ESMS)
        for a, b in itertools.combinations(sweeps, 2):
            found[Key(place, measure, ends[a], ends[b])] = sweeps[a].contrast(
                measure, sweeps[a].cities, ends[a], ends[b]
            )
    return present(found)


def distance_rows(sweep: Sweep) -> Iterator[list[object]]:
    """CSV rows of the distance in every city: mean, lowest and highest over seeds."""
    for at, of_cells in distances(sweep).items():
        for city in sweep.cities:
            if cells := {cell: distance for cell, distance in of_cells.items() if cell[0] == city}:
                identity = [sweep.study.dataset, sweep.study.preset, city, *sweep.entries[at], "tower_distance", ""]
                yield [*identity, *spread(cells), math.nan, math.nan, len(cells), math.nan]


def distance_table(sweeps: Mapping[str, Sweep]) -> str:
    """Distance by reading and coefficient, with the share of what it is without constraint."""
    values = list(next(iter(sweeps.values())).entries)
    rows = []
    for reading, sweep in sweeps.items():
        found = distances(sweep)
        row = [f"`{reading}`"]
        for at in values:
            share = ratio(sweep, at, values[0])
            text = f"{spread(found[at]).mean:.3g}" if at in found else MISSING
            row.append(text if at == values[0] or math.isnan(share) else f"{text} ({percent(share)})")
        rows.append(row)
    return table(["Distance of the towers", *(f"{at:g}" for at in values)], rows)


def limit_table(sweeps: Mapping[str, Sweep], tested: Contrasts, place: str) -> str:
    """ESMC minus ESMS, without constraint and at the largest coefficient of each reading."""
    first = next(iter(sweeps.values()))
    entries = {"no constraint": next(iter(first.entries.values()))}
    entries |= {f"`{reading}`, {max(sweep.entries):g}": end(sweep) for reading, sweep in sweeps.items()}
    rows = [
        [label, *(effect(tested.get(Key(place, measure, entry, ESMS))) for measure in MEASURES)]
        for label, entry in entries.items()
    ]
    return table(["ESMC minus ESMS", *WORDS.values()], rows)


def draw(sweeps: Mapping[str, Sweep], axis: Axis, title: str, path: Path) -> None:
    """Differences to no constraint by reading, and the distance of the towers."""
    drawing = style.figure(14, 6.2)
    panels = drawing.subplot_mosaic([["0 0", "0 1", "0 2", "d"], ["1 0", "1 1", "1 2", "d"]])
    first = next(iter(sweeps.values()))
    base = next(iter(first.entries.values()))
    for column, pair in enumerate(PAIRS):
        for row, measure in enumerate(pair):
            panel = panels[f"{row} {column}"]
            for reading, sweep in sweeps.items():
                changes = as_estimates(sweep.changes(measure, sweep.whole(measure), next(iter(sweep.entries))))
                if changes:
                    axis.draw(panel, changes, _look(reading))
            if (limit := first.contrast(measure, first.cities, ESMS, base)) is not None:
                axis.draw_limit(panel, as_estimate(limit), style.look("esms"))
            panel.axhline(0, color="#444444", linewidth=0.8, zorder=0.6)
            axis.dress(panel)
        panels[f"0 {column}"].set_title(OBSERVED[pair[0]], fontsize=11)
        panels[f"0 {column}"].sharex(panels[f"1 {column}"])
        panels[f"1 {column}"].set_xlabel(axis.label)
    panels["0 0"].set_ylabel(f"observed labels:\ndifference to {axis.base}")
    panels["1 0"].set_ylabel(f"truth:\ndifference to {axis.base}")
    _draw_distance(panels["d"], sweeps, replace(axis, limit=None))
    drawing.suptitle(title, fontsize=12)
    legend_below(drawing, axis.handles([_look(reading) for reading in sweeps]))
    style.save(drawing, path)


def _draw_distance(panel: Axes, sweeps: Mapping[str, Sweep], axis: Axis) -> None:
    for reading, sweep in sweeps.items():
        found = {at: spread(cells) for at, cells in distances(sweep).items() if min(cells.values()) > 0}
        x, look = [axis.places[at] for at in found], _look(reading)
        panel.fill_between(
            x, [d.lowest for d in found.values()], [d.highest for d in found.values()], color=look.color, alpha=0.15
        )
        panel.plot(x, [d.mean for d in found.values()], color=look.color, marker=look.marker, markersize=5)
    axis.dress(panel)
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_locator(NullLocator())
    panel.set_title("Distance of the towers", fontsize=11)
    panel.set_xlabel(axis.label)
    panel.set_ylabel("Euclidean distance (ESMS: 0)")


def end(sweep: Sweep) -> Entry:
    return sweep.entries[max(sweep.entries)]


def _look(reading: str) -> Look:
    return LOOKS.get(reading, style.look(reading))


def percent(share: float) -> str:
    """Two digits, however small."""
    return f"{100 * share:.2g} %"


def _geometric(values: Sequence[float]) -> float:
    """Geometric mean; 0 where a value is."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0
