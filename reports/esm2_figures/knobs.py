"""ESM² over three knobs of its network, one at a time (ESM² Figure 6)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.metrics.compare import Contrast, Estimate
from reports.effects import sign
from reports.measures import MIN_CLASS
from reports.published import Curve
from reports.study import Study
from reports.sweep.values import MEAN, Contrasts, Key, Optimum, Sweep

MODEL = "esm2"

#: The AUCs of the paper's figure, against observed labels and against the true probabilities.
OBSERVED = {"auc/cvr/clicked": "CVR-AUC", "auc/ctcvr/exposed": "CTCVR-AUC"}
TRUE = {"truth/cvr/clicked": "CVR-AUC", "truth/ctcvr/exposed": "CTCVR-AUC"}
MEASURES = OBSERVED | TRUE

#: Hidden widths by the number of layers, of which the output is one: five are the paper's 512-256-128-32-2 (its
#: Table 2). It does not print the other shapes: below five these are its first widths, six has 256 twice.
SHAPES: dict[float, tuple[int, ...]] = {
    2: (512,),
    3: (512, 256),
    4: (512, 256, 128),
    5: (512, 256, 128, 32),
    6: (512, 256, 256, 128, 32),
}

#: How differences to the paper's choice bear on its statement.
Finding = Literal["shown", "partly", "open", "contradicted", "unknown"]


@dataclass(frozen=True)
class Knob:
    """One panel of the figure. ``changes`` of the preset are by value, rising; ``saturates`` tells a curve that the
    paper sees rise up to its choice and not beyond from one that it sees fall on both sides."""

    name: str
    title: str
    axis: str
    changes: Mapping[float, Mapping[str, Any]]
    saturates: bool

    def label(self, at: float) -> str:
        """What a table calls a value, e.g. ``3 (512-256)``."""
        shape = self.changes[at].get("hidden")
        return f"{at:g}" if shape is None else f"{at:g} ({'-'.join(map(str, shape))})"


KNOBS = (
    Knob(
        "dropout",
        "Dropout",
        "dropout ratio",
        {at: {"dropout": at} for at in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)},
        saturates=False,
    ),
    Knob(
        "layers",
        "Layers",
        "layers of every network, its output included",
        {at: {"hidden": shape} for at, shape in SHAPES.items()},
        saturates=True,
    ),
    Knob(
        "item_dim",
        "Item embedding",
        "dimension of the item embedding",
        {at: {"item_dim": at} for at in (16, 32, 64, 128, 256)},
        saturates=True,
    ),
)


@dataclass(frozen=True, eq=False)
class Panel:
    """A knob with what is stored of it."""

    knob: Knob
    paper: Curve
    sweep: Sweep

    @property
    def choice(self) -> float:
        """The paper's."""
        return self.paper.best

    def key(self, measure: str, at: float) -> Key:
        """The comparison of a value with the paper's choice."""
        return Key(MEAN, measure, self.sweep.entries[at], self.sweep.entries[self.choice])

    def contrasts(self) -> Contrasts:
        """Every other value against the paper's choice, averaged over cities, not adjusted."""
        found = {}
        for measure in MEASURES:
            for at, change in self.sweep.changes(measure, self.sweep.whole(measure), self.choice).items():
                if at != self.choice:
                    found[self.key(measure, at)] = change
        return found

    def changes(self, measure: str, tested: Contrasts) -> dict[float, Contrast]:
        """The tested differences to the paper's choice by value."""
        others = (at for at in self.sweep.entries if at != self.choice)
        return {at: tested[key] for at in others if (key := self.key(measure, at)) in tested}

    def curve(self, measure: str) -> dict[float, Estimate]:
        """The AUC on the test days by value, averaged over the cities with every value that any of them has."""
        sweep = self.sweep
        known = {city: sweep.samples(city, measure).keys() for city in sweep.cities}
        union = {at for values in known.values() for at in values}
        return sweep.curve(measure, [city for city, values in known.items() if values == union])

    def optimum(self, measure: str) -> Optimum | None:
        """The best value on the test days, and those that are not significantly worse."""
        return self.sweep.optimum(measure, self.sweep.whole(measure))

    def valid(self, measure: str) -> dict[float, float]:
        """An AUC of :data:`OBSERVED` on the validation days, by value: the mean over the seeds that all values have
        and the cities with every value; nothing where a city's is withheld, or below two values."""
        study, places = self.sweep.study, {entry: at for at, entry in self.sweep.entries.items()}
        by_city: dict[str, dict[float, float]] = {}
        for city in self.sweep.cities:
            found: dict[float, dict[int, float]] = {}
            for record in study.of_city(city):
                at = places.get((record.cell.model, study.variants[record.key]))
                metric = record.metrics.get("valid", {}).get(measure)
                if at is None or metric is None or metric.value is None:
                    continue
                if min(metric.n_pos, metric.n - metric.n_pos) < MIN_CLASS:
                    return {}
                found.setdefault(at, {})[record.cell.seed] = metric.value
            seeds = set.intersection(*map(set, found.values())) if found else set()
            by_city[city] = {at: _mean(found[at][seed] for seed in seeds) for at in sorted(found) if seeds}
        union: set[float] = set().union(*by_city.values())
        whole = [areas for areas in by_city.values() if areas.keys() == union]
        return {at: _mean(areas[at] for areas in whole) for at in sorted(union) if whole and len(union) > 1}

    def chosen(self, measure: str) -> float | None:
        """The value that validation chooses by this AUC."""
        found = self.valid(measure)
        return max(found, key=lambda at: found[at]) if found else None

    def parameters(self, at: float) -> float | None:
        """Trained parameters with this value, averaged over cells."""
        study, entry = self.sweep.study, self.sweep.entries[at]
        records = [r for r in study.records if (r.cell.model, study.variants[r.key]) == entry]
        return _mean(record.cost.parameters for record in records) if records else None

    def finding(self, measure: str, tested: Contrasts) -> Finding:
        """Whether the data show the paper's statement.

        A value that is significantly better than the paper's choice contradicts it. It is shown where every other
        value is significantly worse or, of a curve that saturates, where the lowest is. ``open`` is where no value
        can be told from the paper's choice.
        """
        signs = {at: sign(change) for at, change in self.changes(measure, tested).items()}
        if not signs:
            return "unknown"
        if 1 in signs.values():
            return "contradicted"
        others = [at for at in self.sweep.entries if at != self.choice]
        needed = [min(others)] if self.knob.saturates else others
        if all(signs.get(at) == -1 for at in needed):
            return "shown"
        return "partly" if -1 in signs.values() else "open"


def panels(study: Study) -> list[Panel]:
    """The three knobs."""
    found = []
    for knob in KNOBS:
        entries = {at: (MODEL, study.variant_of(change)) for at, change in knob.changes.items()}
        paper = study.published.esm2_figure_6.knobs[knob.name]
        found.append(Panel(knob, paper, Sweep(study, entries, tuple(study.cities))))
    return found


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)
