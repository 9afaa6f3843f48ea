"""Measures of stored cells, with what their intervals and comparisons are made of, from stored predictions.

A call reads the predictions of a cell once for all measures that it lacks, and never where it lacks none. Undefined or
withheld samples are absent.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from bench.core.errors import UserError
from bench.core.record import Record
from bench.data.tables import TRUTH
from bench.metrics._arrays import Array
from bench.metrics.compare import Sample
from bench.metrics.spaces import LABELS
from reports.measure_list import AUCS, MEASURES, MIN_CLASS, Columns, Measure
from reports.study import Study

__all__ = ["MEASURES", "MIN_CLASS", "Columns", "Entry", "Measured", "grouped", "measured"]

#: A model and the knobs that differ from the preset (empty: none).
Entry = tuple[str, str]

#: What is read of the test rows once per city, and what is read where it is there.
ROWS = ("exposure", "user", *LABELS)
OPTIONAL = ("wish", *TRUTH)


class _Rows(NamedTuple):
    """What a measure needs of a city, the same for all cells: ``user`` counts from 0 to ``n_users`` - 1."""

    chosen: Array
    label: Array
    user: Array
    n_users: int
    counts: tuple[int, int]


@dataclass(frozen=True)
class Measured:
    """The samples of one city by entry and measure, and (rows, positives) of each measure that was asked for.

    A measure against the truth has no positives to count, and its second number is 0. ``columns`` [n] are all test
    rows; empty where no cell of the city can be read.
    """

    columns: Columns = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    samples: dict[Entry, dict[str, Sample]] = field(default_factory=dict)

    def sample(self, measure: str, model: str, variant: str = "") -> Sample | None:
        """The sample of an entry, over all its seeds; None where it is not stored, not asked for, or withheld."""
        return self.samples.get((model, variant), {}).get(measure)


@dataclass(frozen=True)
class _City:
    """What is known of a city so far: ``rows`` of each measure, and which measure of which entry was ``tried``."""

    found: Measured
    rows: dict[str, _Rows] = field(default_factory=dict)
    tried: set[tuple[Entry, str]] = field(default_factory=set)


#: What a cell is asked for, by any key.
Key = TypeVar("Key", bound=Hashable)
_Asked = Mapping[Key, tuple[Measure, _Rows]]

_known: WeakKeyDictionary[Study, dict[str, _City]] = WeakKeyDictionary()


def measured(
    study: Study, city: str, names: Iterable[str] = tuple(AUCS), entries: Collection[Entry] | None = None
) -> Measured:
    """These measures of a city's cells, the standard AUCs unless others of MEASURES are asked for.

    What was measured is kept as long as the study: several exhibits read it. So the same object comes back from every
    call for a city, with what was ever asked for. Name the ``entries`` that an exhibit shows where it asks for others
    than the AUCs: each takes time, and memory for every user, in every cell.

    Raises:
        KeyError: there is no such measure.
    """
    known = _known.setdefault(study, {})
    if city not in known:
        known[city] = _City(Measured(_columns(study, city)))
    of_city = known[city]
    found, columns = of_city.found, of_city.found.columns
    wanted = _wanted(names, columns)
    of_city.rows.update(_rows_of(columns, {name: m for name, m in wanted.items() if name not in of_city.rows}))
    found.counts.update({name: of_city.rows[name].counts for name in wanted})
    work: list[tuple[Record, Entry, dict[str, tuple[Measure, _Rows]]]] = []
    for record, entry in _records(study, city, entries):
        lacking = {n: (m, of_city.rows[n]) for n, m in wanted.items() if (entry, n) not in of_city.tried}
        if lacking:
            work.append((record, entry, lacking))
    of_city.tried.update((entry, name) for _, entry, lacking in work for name in lacking)
    for entry, samples in _samples(study, columns, work).items():
        found.samples.setdefault(entry, {}).update(samples)
    return found


def grouped(
    study: Study,
    city: str,
    groups: Mapping[str, Array],
    names: Iterable[str],
    entries: Collection[Entry] | None = None,
) -> dict[str, Measured]:
    """By group, these measures over those of their rows that the group has, as for AUCs by the purchases of a user.

    Args:
        groups: by any name, a mask [n] in the order of the test rows, ``measured(study, city, ()).columns``; they may
            overlap.
        names: of MEASURES. ``result[group].sample("auc/cvr/clicked", "esm2")`` is the AUC over the clicked rows of the
            group, ``result[group].counts["auc/cvr/clicked"]`` its rows and positives.
        entries: those to measure; None for all.

    Every cell is read once for all groups. Nothing is kept.

    Raises:
        KeyError: there is no such measure.
        ValueError: a mask has another length than the test rows, or another type.
    """
    columns = measured(study, city, ()).columns
    found = {group: Measured(columns) for group in groups}
    asked: dict[tuple[str, str], tuple[Measure, _Rows]] = {}
    wanted = _wanted(names, columns)
    for group, within in groups.items():
        if columns and (within.shape != columns["user"].shape or within.dtype != np.bool_):
            found_mask = f"{within.shape} {within.dtype}"
            raise ValueError(f"group {group!r} must be a mask {columns['user'].shape} bool, but got {found_mask}.")
        for name, rows in _rows_of(columns, wanted, within).items():
            asked[group, name] = wanted[name], rows
            found[group].counts[name] = rows.counts
    work = [(record, entry, asked) for record, entry in _records(study, city, entries) if asked]
    for entry, samples in _samples(study, columns, work).items():
        for part in found.values():
            part.samples[entry] = {}
        for (group, name), sample in samples.items():
            found[group].samples[entry][name] = sample
    return found


def _wanted(names: Iterable[str], columns: Columns) -> dict[str, Measure]:
    """These measures, without those that the city lacks a column for."""
    measures = {name: MEASURES[name] for name in names}
    return {name: measure for name, measure in measures.items() if {"user", *measure.needs} <= columns.keys()}


def _records(study: Study, city: str, entries: Collection[Entry] | None) -> list[tuple[Record, Entry]]:
    """The cells of a city, or those of some entries."""
    all_of_them = [(record, (record.cell.model, study.variants[record.key])) for record in study.of_city(city)]
    return [(record, entry) for record, entry in all_of_them if entries is None or entry in entries]


def _columns(study: Study, city: str) -> Columns:
    """The test rows of a city, from its first cell that can be read."""
    for record in study.of_city(city):
        try:
            return study.store.predictions(record.key, ROWS, OPTIONAL)
        except UserError as error:
            study.note(f"{record.cell.title}: {error}")
    return {}


def _rows_of(columns: Columns, measures: Mapping[str, Measure], within: Array | None = None) -> dict[str, _Rows]:
    """The rows of each measure, once for those over the same rows and labels; ``within`` [n] leaves out others."""
    known: dict[tuple[object, object], _Rows] = {}
    found = {}
    for name, measure in measures.items():
        same = (measure.chosen, measure.label)
        if same not in known:
            chosen = measure.chosen(columns) if within is None else measure.chosen(columns) & within
            label = measure.label(columns)[chosen]
            user, index = np.unique(columns["user"][chosen], return_inverse=True)
            n_pos = 0 if set(TRUTH) & set(measure.needs) else int(label.sum())
            known[same] = _Rows(chosen, label, index, user.size, (int(label.size), n_pos))
        found[name] = known[same]
    return found


def _samples(
    study: Study, columns: Columns, work: Iterable[tuple[Record, Entry, _Asked[Key]]]
) -> dict[Entry, dict[Key, Sample]]:
    """The samples of each entry from what is asked of its cells; those that cannot be taken are absent."""

    def of_cell(task: tuple[Record, Entry, _Asked[Key]]) -> tuple[Record, Entry, dict[Key, tuple[float, Array]]]:
        record, entry, asked = task
        return record, entry, _of_cell(study, record, columns, asked)

    found: dict[Entry, dict[Key, dict[int, tuple[float, Array]]]] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        for record, entry, values in threads.map(of_cell, work):
            of_entry = found.setdefault(entry, {})
            for key, value in values.items():
                of_entry.setdefault(key, {})[record.cell.seed] = value
    return {entry: {key: Sample.of(seeds) for key, seeds in of_entry.items()} for entry, of_entry in found.items()}


def _of_cell(study: Study, record: Record, columns: Columns, asked: _Asked[Key]) -> dict[Key, tuple[float, Array]]:
    """The value of each measure with the influences summed by user; those that cannot be taken are left out."""
    wanted = sorted({measure.probability for measure, _ in asked.values()})
    try:
        found = study.store.predictions(record.key, ["exposure"], wanted)
    except UserError as error:
        study.note(f"{record.cell.title}: {error}")
        return {}
    if not np.array_equal(found["exposure"], columns["exposure"]):
        study.note(f"{record.cell.title}: its test rows are not those of the other models; it is left out")
        return {}
    finite = {}
    for probability in wanted:
        score = found.get(probability)
        if score is not None and np.isfinite(score).all():
            finite[probability] = score
        elif score is not None and not np.isnan(score).all():
            study.note(f"{record.cell.title}: some of its {probability} are not finite; they are left out")
    values = {}
    for key, (measure, rows) in asked.items():
        n, n_pos = rows.counts
        enough = n_pos >= measure.fewest[0] and n - n_pos >= measure.fewest[1]
        if measure.probability in finite and enough:
            score = finite[measure.probability][rows.chosen]
            value, sums = measure.statistic(score, rows.label, rows.user, rows.n_users)
            if not math.isnan(value):
                values[key] = value, sums
    return values
