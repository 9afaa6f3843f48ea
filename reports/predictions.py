"""Predicted CVR and CAR of stored cells beside the truth. A cell is read once for all exhibits that need it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from bench.core.errors import UserError
from bench.core.record import Record
from bench.data.tables import TRUTH
from bench.metrics._arrays import Array
from reports import style
from reports.measures import Columns, Entry, measured
from reports.study import Study

#: What is kept of a cell; a model without carts has no ``car``.
PROBABILITIES = ("cvr", "car")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The test rows of a city, with its users [n] as numbers from 0 to ``n_users`` - 1, and by entry and seed the
    predicted ``cvr`` and ``car`` [n] of its cells, as far as they are stored and finite."""

    columns: Columns
    user: Array
    n_users: int
    cells: Mapping[Entry, Mapping[int, Mapping[str, Array]]]


_known: WeakKeyDictionary[Study, dict[str, dict[str, dict[str, Array]]]] = WeakKeyDictionary()


def predictions(study: Study, city: str, entries: Collection[Entry]) -> Predictions | None:
    """The predictions of these entries; None where nothing is stored, or the true probabilities are not known.

    They are kept as long as the study.
    """
    columns = measured(study, city).columns
    if not set(TRUTH) <= columns.keys():
        return None
    wanted = [r for r in study.of_city(city) if (r.cell.model, study.variants[r.key]) in entries]
    known = _known.setdefault(study, {}).setdefault(city, {})
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        missing = [record for record in wanted if record.key not in known]
        read = threads.map(lambda record: _read(study, record, columns["exposure"]), missing)
        known |= dict(zip((record.key for record in missing), read, strict=True))
    cells: dict[Entry, dict[int, dict[str, Array]]] = {}
    for record in wanted:
        if known[record.key]:
            cells.setdefault((record.cell.model, study.variants[record.key]), {})[record.cell.seed] = known[record.key]
    user, codes = np.unique(columns["user"], return_inverse=True)
    return Predictions(columns, codes, user.size, cells)


def main_entries(study: Study) -> list[Entry]:
    """The entries that models are compared by, in the papers' order; those of the global domain are left out."""
    found = {(r.cell.model, study.variants[r.key]) for r in study.records if r.key in study.main}
    return [(m, v) for m in study.models if m not in style.GLOBAL for v in sorted(v for name, v in found if name == m)]


def finite(study: Study, record: Record, exposure: Array, names: Collection[str]) -> dict[str, Array]:
    """The probabilities ``names`` of a cell, those that it has and that are finite, by name.

    Nothing where the cell cannot be used: it is unreadable, or its rows are not ``exposure`` [n]. A note tells so. What
    :func:`measured` told of already is not told again: notes are kept once.
    """
    try:
        found = study.store.predictions(record.key, ("exposure",), tuple(names))
    except UserError as error:
        study.note(f"{record.cell.title}: {error}")
        return {}
    if not np.array_equal(found["exposure"], exposure):
        study.note(f"{record.cell.title}: its test rows are not those of the other models; it is left out")
        return {}
    kept = {}
    for name in names:
        column = found.get(name)
        if column is not None and np.isfinite(column).all():
            kept[name] = column
        elif column is not None and not np.isnan(column).all():
            study.note(f"{record.cell.title}: some of its {name} are not finite; they are left out")
    return kept


def _read(study: Study, record: Record, exposure: Array) -> dict[str, Array]:
    """What is kept of a cell's predictions; nothing without a CVR."""
    kept = finite(study, record, exposure, PROBABILITIES)
    return kept if "cvr" in kept else {}
