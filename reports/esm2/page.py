"""The page of a table whose lines are configurations: values, differences, and what they say of the paper's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from reports import style
from reports.esm2.paper import Pair
from reports.esm2.show import difference_table, reading, value_table
from reports.esm2.values import Contrasts, Table
from reports.esm2.words import seeds, told_apart, withheld
from reports.gains.values import TRUTH, lacking
from reports.measures import MEASURES, Entry

Pairs = Sequence[tuple[Entry, Entry]]


class Judged(NamedTuple):
    """A table and its comparisons, which are corrected together."""

    shown: Table
    tested: Contrasts


def judged(shown: Table, pairs: Iterable[tuple[Entry, Entry]]) -> Judged:
    """With these pairs of lines compared in every column and city."""
    of_lines = list(pairs)
    return Judged(shown, shown.compare([Pair(measure, *pair) for measure in shown.measures for pair in of_lines]))


def page(
    observed: Judged,
    pairs: Pairs,
    exhibit: str,
    first: str = "Model",
    listed: Pairs | None = None,
    more: Callable[[str], Iterable[str]] = lambda city: (),
    truth: Judged | None = None,
) -> Iterator[str]:
    """How to read it; by city the values, the differences of the pairs ``listed``, words on all ``pairs``, and more.

    Args:
        exhibit: its name, for the command that trains what is missing.
        first: heading of the lines.
        listed: those of ``pairs`` that stand in the table of differences; all when None.
        truth: the same against the true probabilities, corrected apart.
    """
    shown = observed.shown
    study, chosen = shown.study, pairs if listed is None else listed
    yield reading(shown, observed.tested)
    for city in study.cities:
        if len(study.cities) > 1:
            yield f"#### {style.city_title(city)}"
        yield counts(shown, city)
        yield value_table(shown, city, observed.tested, first)
        yield from _differences(observed, city, pairs, chosen)
        if truth is not None and any(of == city for of, _ in truth.tested):
            yield f"{TRUTH} Its {len(truth.tested)} comparisons are corrected apart."
            yield value_table(truth.shown, city, truth.tested, first)
            yield from _differences(truth, city, pairs, chosen)
        yield from more(city)
        yield from seeds(shown, city)
    yield from lacking(study, shown.titles, exhibit)
    yield from withheld(shown)


def counts(shown: Table, city: str) -> str:
    """How many test rows and positives each column is measured on."""
    columns, known = shown.measured(city).columns, shown.measured(city).counts
    of = {title: known[measure] for measure, title in shown.measures.items() if measure in known}
    parts = [f"{title} {positives:,} of {rows:,}" for title, (rows, positives) in of.items()]
    if not columns:
        return "No test rows are stored."
    if lacking_labels := sorted({name for m in shown.measures for name in MEASURES[m].needs} - columns.keys()):
        return f"Not measured: the test rows do not have {', '.join(lacking_labels)}."
    text = f"Purchases of test rows: {'; '.join(parts)}."
    both, users = gauc_users(shown, city)
    in_gauc = any(measure.startswith("gauc/ctcvr") for measure in shown.measures)
    return f"{text} CTCVR-GAUC is the mean over {both:,} of {users:,} users." if in_gauc else text


def gauc_users(shown: Table, city: str) -> tuple[int, int]:
    """Users with both classes of CTCVR, which have an AUC, and all users of the test rows."""
    columns = shown.measured(city).columns
    users, codes = np.unique(columns["user"], return_inverse=True)
    bought = np.bincount(codes, weights=(columns["click"] == 1) & (columns["purchase"] == 1), minlength=users.size)
    rows = np.bincount(codes, minlength=users.size)
    return int(((bought > 0) & (bought < rows)).sum()), int(users.size)


def _differences(part: Judged, city: str, pairs: Pairs, listed: Pairs) -> Iterator[str]:
    if any(of == city for of, _ in part.tested):
        yield difference_table(part.shown, city, part.tested, listed)
        yield told_apart(part.shown, city, part.tested, pairs)
