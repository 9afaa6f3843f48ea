"""Tables and CSV rows of the ESM² exhibits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from reports.aucs import ALPHA
from reports.effects import effect, value
from reports.esm2.paper import Pair
from reports.esm2.values import Contrasts, Table
from reports.markdown import beside, table
from reports.measures import Entry

COLUMNS = [
    "dataset", "preset", "city", "model", "variant", "measure", "against_model", "against_variant", "value", "lo",
    "hi", "p_value", "p_adjusted", "n_seeds", "n", "n_pos", "published",
]  # fmt: skip


def reading(shown: Table, tested: Contrasts) -> str:
    """How to read values and differences."""
    text = "Values are means over seeds ± half of their 95 % interval over test users and seeds."
    if count := len(tested):
        text += (
            f" Differences are paired (same users, same seeds). **Bold** is significant: p < {ALPHA} after Holm's"
            f" correction over the {count} comparison{'' if count == 1 else 's'} of this table; a value is bold if it"
            " is so above every other."
        )
    return f"{text} The paper's figure stands below ours." if shown.published or shown.differences else text


def value_table(
    shown: Table, city: str, tested: Contrasts, first: str = "Model", measures: Mapping[str, str] | None = None
) -> str:
    """One row per line, one column per measure: those given in place of all."""
    columns = measures or shown.measures
    rows = []
    for entry, title in shown.titles.items():
        row = [title]
        for measure in columns:
            text = value(shown.level(city, measure, entry), shown.digits)
            if is_best(shown, city, tested, measure, entry):
                mean, space, rest = text.partition(" ")
                text = f"**{mean}**{space}{rest}"
            row.append(beside(text, _printed(shown.published.get((entry, measure), math.nan), f".{shown.printed}f")))
        rows.append(row)
    return table([first, *columns.values()], rows)


def difference_table(
    shown: Table,
    city: str,
    tested: Contrasts,
    pairs: Sequence[tuple[Entry, Entry]],
    measures: Mapping[str, str] | None = None,
) -> str:
    """One row per pair of lines, one column per measure: those given in place of all."""
    columns = measures or shown.measures
    rows = []
    for first, second in pairs:
        row = [f"{shown.titles[first]} − {shown.titles[second]}"]
        for measure in columns:
            pair = Pair(measure, first, second)
            paper = _printed(shown.paper(pair), f"+.{shown.printed}f")
            row.append(beside(effect(tested.get((city, pair)), shown.digits), paper))
        rows.append(row)
    return table(["Difference", *columns.values()], rows)


def is_best(shown: Table, city: str, tested: Contrasts, measure: str, entry: Entry) -> bool:
    """Whether a line is significantly above all others that have a value, and compared with each of them."""
    others = [e for e in shown.titles if e != entry and shown.level(city, measure, e) is not None]
    return bool(others) and all(
        any(
            (found := tested.get((city, Pair(measure, *pair)))) is not None
            and sign * found.difference > 0
            and found.p_adjusted < ALPHA
            for pair, sign in (((entry, other), 1), ((other, entry), -1))
        )
        for other in others
    )


def frame(*parts: tuple[Table, Contrasts]) -> pd.DataFrame:
    """Every value and comparison: COLUMNS, in the unit that is shown."""
    rows = [row for shown, tested in parts for row in (*_levels(shown), *_differences(shown, tested))]
    return pd.DataFrame(rows, columns=COLUMNS).drop_duplicates(ignore_index=True)


def _levels(shown: Table) -> Iterator[list[object]]:
    study, nan = shown.study, math.nan
    for city in study.cities:
        for entry in shown.titles:
            for measure in shown.measures:
                if (e := shown.level(city, measure, entry)) is not None:
                    of = [study.dataset, study.preset, city, *entry, measure, "", ""]
                    counts = shown.measured(city).counts[measure]
                    printed = shown.published.get((entry, measure), nan)
                    yield [*of, e.mean, e.lo, e.hi, nan, nan, e.n_seeds, *counts, printed]


def _differences(shown: Table, tested: Contrasts) -> Iterator[list[object]]:
    study = shown.study
    for (city, pair), c in tested.items():
        of = [study.dataset, study.preset, city, *pair.first, pair.measure, *pair.second]
        counts = shown.measured(city).counts.get(pair.measure, (math.nan, math.nan))
        tests = [c.difference, c.lo, c.hi, c.p_value, c.p_adjusted, c.n_seeds]
        yield [*of, *tests, *counts, shown.paper(pair)]


def _printed(figure: float, digits: str) -> str | None:
    return None if math.isnan(figure) else f"{figure:{digits}}"
