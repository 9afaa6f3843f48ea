"""AUCs of every stored cell with what their intervals and comparisons are made of, from stored predictions.

A cell's predictions are read once for all measures. Undefined or withheld samples are absent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from bench.core.errors import UserError
from bench.core.record import Record
from bench.data.tables import TRUTH
from bench.metrics._arrays import Array
from bench.metrics.compare import Sample, one
from bench.metrics.spaces import LABELS, TARGETS, mask
from reports.study import Study

#: Columns of a city's test rows: labels, users, and the truth of a simulated one.
Columns = Mapping[str, Array]

#: A model and the knobs that differ from the preset (empty: none).
Entry = tuple[str, str]

#: An AUC over fewer positives or negatives is withheld.
MIN_CLASS = 30

#: What is read of the test rows once per city.
ROWS = ("exposure", "user", *LABELS)
PROBABILITIES = tuple(TARGETS)


@dataclass(frozen=True)
class Measure:
    """An AUC of ``probability`` over the rows ``chosen`` [n]; ``label`` is in 0/1 or the true probability, [n]."""

    title: str
    probability: str
    chosen: Callable[[Columns], Array]
    label: Callable[[Columns], Array]
    needs_truth: bool = False


def _observed(probability: str) -> Measure:
    goal = TARGETS[probability]
    (space,) = goal.spaces
    return Measure(f"{probability.upper()}-AUC", probability, lambda rows: mask(space, rows), goal.label)


def _true(probability: str, space: str) -> Measure:
    title = f"{probability.upper()}-AUC against the truth, {space}"
    goal = TARGETS[probability]
    return Measure(title, probability, lambda rows: mask(space, rows), goal.true_probability, needs_truth=True)


def _case(title: str, cart: int) -> Measure:
    """Positives are the purchases of one case, negatives the clicked rows without purchase (ESMC Table VI)."""

    def chosen(rows: Columns) -> Array:
        return np.asarray((rows["click"] == 1) & ((rows["purchase"] == 0) | (rows["cart"] == cart)))

    return Measure(title, "cvr", chosen, TARGETS["cvr"].label)


#: By name. ``auc`` is taken against the observed labels, ``truth`` against the true probabilities: the AUC that
#: labels drawn from them give on average.
MEASURES: dict[str, Measure] = {
    "auc/ctr/exposed": _observed("ctr"),
    "auc/ctcvr/exposed": _observed("ctcvr"),
    "auc/cvr/clicked": _observed("cvr"),
    "auc/cvr/bad_case": _case("CVR-AUC, bad cases", cart=0),
    "auc/cvr/good_case": _case("CVR-AUC, good cases", cart=1),
    "truth/ctr/exposed": _true("ctr", "exposed"),
    "truth/ctcvr/exposed": _true("ctcvr", "exposed"),
    "truth/cvr/clicked": _true("cvr", "clicked"),
    "truth/cvr/unclicked": _true("cvr", "unclicked"),
    "truth/cvr/exposed": _true("cvr", "exposed"),
}


class _Rows(NamedTuple):
    """What a measure needs of a city, the same for all cells: ``user`` counts from 0 to ``n_users`` - 1."""

    chosen: Array
    label: Array
    user: Array
    n_users: int
    counts: tuple[int, int]


@dataclass(frozen=True)
class Measured:
    """The samples of one city by entry and measure, and (rows, positives) of each measure; a measure against the
    truth has no positives to count, and its second number is 0."""

    columns: Columns
    counts: dict[str, tuple[int, int]]
    samples: dict[Entry, dict[str, Sample]]

    def sample(self, measure: str, model: str, variant: str = "") -> Sample | None:
        """The sample of an entry, over all its seeds; None where it is not stored, or withheld."""
        return self.samples.get((model, variant), {}).get(measure)


_known: WeakKeyDictionary[Study, dict[str, Measured]] = WeakKeyDictionary()


def measured(study: Study, city: str) -> Measured:
    """All measures of a city's cells. They are kept as long as the study: several exhibits read them."""
    known = _known.setdefault(study, {})
    if city not in known:
        known[city] = _measure(study, city)
    return known[city]


def _measure(study: Study, city: str) -> Measured:
    records = iter(study.of_city(city))
    columns: dict[str, Array] = {}
    first: list[Record] = []
    for record in records:
        try:
            columns = study.store.predictions(record.key, ROWS, TRUTH)
        except UserError as error:
            study.note(f"{record.cell.title}: {error}")
            continue
        first.append(record)
        break
    if not columns:
        return Measured({}, {}, {})
    rows = dict(_rows_of(columns))
    found: dict[Entry, dict[str, dict[int, tuple[float, Array]]]] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        for record, areas in threads.map(lambda record: _of_cell(study, record, columns, rows), [*first, *records]):
            of_entry = found.setdefault((record.cell.model, study.variants[record.key]), {})
            for name, area in areas.items():
                of_entry.setdefault(name, {})[record.cell.seed] = area
    samples = {
        entry: {name: Sample.of(by_seed) for name, by_seed in of_entry.items()} for entry, of_entry in found.items()
    }
    return Measured(columns, {name: part.counts for name, part in rows.items()}, samples)


def _rows_of(columns: Columns) -> Iterator[tuple[str, _Rows]]:
    for name, measure in MEASURES.items():
        if measure.needs_truth and TRUTH[0] not in columns:
            continue
        chosen = measure.chosen(columns)
        label = measure.label(columns)[chosen]
        user, index = np.unique(columns["user"][chosen], return_inverse=True)
        n_pos = 0 if measure.needs_truth else int(label.sum())
        yield name, _Rows(chosen, label, index, user.size, (int(label.size), n_pos))


def _of_cell(
    study: Study, record: Record, columns: Columns, rows: Mapping[str, _Rows]
) -> tuple[Record, dict[str, tuple[float, Array]]]:
    """The AUC of each measure with the influences summed by user; measures that cannot be taken are left out."""
    try:
        found = study.store.predictions(record.key, ["exposure"], PROBABILITIES)
    except UserError as error:
        study.note(f"{record.cell.title}: {error}")
        return record, {}
    if not np.array_equal(found["exposure"], columns["exposure"]):
        study.note(f"{record.cell.title}: its test rows are not those of the other models; it is left out")
        return record, {}
    finite = {}
    for probability in PROBABILITIES:
        score = found.get(probability)
        if score is not None and np.isfinite(score).all():
            finite[probability] = score
        elif score is not None and not np.isnan(score).all():
            study.note(f"{record.cell.title}: some of its {probability} are not finite; they are left out")
    areas = {}
    for name, part in rows.items():
        measure = MEASURES[name]
        n, n_pos = part.counts
        enough = measure.needs_truth or min(n_pos, n - n_pos) >= MIN_CLASS
        if measure.probability in finite and enough:
            areas[name] = one(finite[measure.probability][part.chosen], part.label, part.user, part.n_users)
    return record, areas
