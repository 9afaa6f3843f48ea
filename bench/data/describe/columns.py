"""Features one by one: missing and unknown values, and how much a value alone tells of the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import duckdb
import numpy as np

from bench.data.describe.aggregates import OUTCOMES, outcomes, outcomes_of_owners
from bench.data.describe.results import Column
from bench.data.sql import fetch, name
from bench.data.tables import Feature, Manifest

#: Rows with and without the label that an AUC needs in validation, and a comparison of values with a label in all: with
#: 30 of the rarer kind the standard error of an AUC of 0.9 is about 0.04.
LEAST: Final = 30
#: Quantile bins in which numbers are looked at: as many as tell a leak, few enough to have rows.
BINS: Final = 64
#: Values that a feature which repeats a label has at most.
MIRROR_VALUES: Final = 20
#: What each label is asked of: the rows it is a label of, and those that have it (of OUTCOMES).
ASKED: Final = {"click": ("shown", "clicked"), "purchase": ("clicked", "bought")}

#: Different numbers from which an exposure's feature is looked at with DIGITS significant digits: to group by 20
#: million different values takes a minute and tells no more.
MANY: Final = 1_000_000
DIGITS: Final = 6

_WIDTH = 40


def columns_of(
    connection: duckdb.DuckDBPyConnection, manifest: Manifest, report: Callable[[str], None]
) -> tuple[Column, ...]:
    """Every feature but the crosses, from ``rows``, ``per_user`` and ``per_item``."""
    features = [feature for feature in manifest.features if feature.kind != "cross"]
    report("numbers")
    many = _many(connection, features)
    found = []
    for index, feature in enumerate(features):
        report(f"feature {index + 1} of {len(features)}: {feature.name}")
        values = _values(connection, feature, rounded=feature.name in many)
        found.append(_column(connection, feature, values, many.get(feature.name)))
    return tuple(found)


def rank_auc(train: np.ndarray, train_pos: np.ndarray, pos: np.ndarray, neg: np.ndarray) -> float:
    """The AUC of groups of rows ranked by their training rate, with ``pos`` and ``neg`` rows each.

    The rate is that of ``train_pos`` in ``train`` rows and one row more at the rate of all.
    """
    base = train_pos.sum() / train.sum()
    rate = (train_pos + base) / (train + 1)
    order = np.argsort(rate, kind="stable")
    _, group = np.unique(rate[order], return_inverse=True)
    pos, neg = np.bincount(group, weights=pos[order]), np.bincount(group, weights=neg[order])
    below = np.cumsum(neg) - neg
    return float((pos * (below + 0.5 * neg)).sum() / (pos.sum() * neg.sum()))


def _many(connection: duckdb.DuckDBPyConnection, features: Sequence[Feature]) -> dict[str, int]:
    """The numbers of exposures with more than MANY different values, and about how many they have."""
    numbers = [f.name for f in features if f.table == "exposures" and f.kind in ("numeric", "dense")]
    if not numbers:
        return {}
    counts = ", ".join(f"approx_count_distinct({name(number)})" for number in numbers)
    found = connection.execute(f"SELECT {counts} FROM exposures").fetchall()[0]
    return {number: count for number, count in zip(numbers, found, strict=True) if count > MANY}


def _values(connection: duckdb.DuckDBPyConnection, feature: Feature, rounded: bool) -> str:
    """The table of the outcomes of a feature's values."""
    if feature.table == "exposures" and feature.name in ("user", "item"):
        return f"per_{feature.name}"
    column = name(feature.name)
    if feature.kind == "multi":
        column = f"unnest(CASE WHEN len({column}) > 0 THEN {column} ELSE [NULL] END)"
    elif feature.kind in ("numeric", "dense"):
        number = f"CAST({column} AS DOUBLE)"
        if rounded:
            places = f"{DIGITS - 1} - CAST(floor(log10(abs({number}))) AS INTEGER)"
            column = f"CASE WHEN isfinite({number}) AND {number} <> 0 THEN round({number}, {places}) ELSE {column} END"
        column = f"CASE WHEN NOT isnan({number}) THEN {column} END"
    if feature.table == "exposures":
        outcomes(connection, "of_value", column)
    else:
        outcomes_of_owners(connection, "of_value", column, feature.table)
    return "of_value"


def _column(connection: duckdb.DuckDBPyConnection, feature: Feature, values: str, about: int | None) -> Column:
    numeric = feature.kind in ("numeric", "dense")
    listed = ", ".join(
        f"coalesce(sum({split}_shown) FILTER (train_shown = 0 AND value IS NOT NULL), 0) AS {split}_unknown, "
        f"sum({split}_shown) AS {split}_rows"
        for split in ("valid", "test")
    )
    row = fetch(
        connection,
        f"""SELECT sum(n) AS n, coalesce(sum(n) FILTER (value IS NULL), 0) AS missing, count(value) AS distinct_values,
                   coalesce(max(n) FILTER (value IS NOT NULL), 0) AS most, {listed} FROM {values}""",
    )
    numbers = {column: int(found[0]) for column, found in row.items()}
    most = f"n = {numbers['most']} AND value IS NOT NULL"
    top = connection.execute(f"SELECT min(CAST(value AS VARCHAR)) FROM {values} WHERE {most}").fetchall()
    shown = "-" if top[0][0] is None else str(top[0][0])
    unknown: dict[str, float | None] = {
        split: numbers[f"{split}_unknown"] / rows if (rows := numbers[f"{split}_rows"]) and not numeric else None
        for split in ("valid", "test")
    }
    mirrors = _mirrors(connection, values, numbers["distinct_values"])
    if numeric and numbers["distinct_values"] > BINS:
        _bin(connection, values)
        values = "binned"
    return Column(
        name=feature.name,
        table=feature.table,
        kind=feature.kind,
        missing=numbers["missing"] / numbers["n"],
        distinct=about or numbers["distinct_values"],
        rounded=about is not None,
        top=shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 1]}…",
        top_share=numbers["most"] / numbers["n"],
        unknown=unknown,
        auc={label: _auc(connection, values, *asked) for label, asked in ASKED.items()},
        mirrors=mirrors,
    )


def _bin(connection: duckdb.DuckDBPyConnection, values: str) -> None:
    """Make the table ``binned``: the outcomes of numbers in quantile bins of the training rows, and of missing ones."""
    sums = ", ".join(f"CAST(sum({outcome}) AS BIGINT) AS {outcome}" for outcome in OUTCOMES)
    before = "sum(train_shown) OVER (ORDER BY value) - train_shown"
    place = f"{BINS} * ({before}) // greatest(1, sum(train_shown) FILTER (value IS NOT NULL) OVER ())"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE binned AS
            SELECT {sums} FROM (SELECT *, CASE WHEN value IS NOT NULL THEN {place} END AS bin FROM {values})
            GROUP BY bin"""
    )


def _auc(connection: duckdb.DuckDBPyConnection, values: str, of: str, having: str) -> float | None:
    """How well the rates of the training rows rank the validation rows; None with fewer than LEAST of a kind."""
    found = fetch(
        connection,
        f"""SELECT train_{of} AS train, train_{having} AS train_pos, CAST(sum(valid_{having}) AS BIGINT) AS pos,
                   CAST(sum(valid_{of}) AS BIGINT) AS valid
            FROM {values} GROUP BY 1, 2 ORDER BY 1, 2""",
    )
    train, train_pos, pos = found["train"], found["train_pos"], found["pos"]
    neg = found["valid"] - pos
    if min(pos.sum(), neg.sum(), train_pos.sum(), (train - train_pos).sum()) < LEAST:
        return None
    return rank_auc(train, train_pos, pos, neg)


def _mirrors(connection: duckdb.DuckDBPyConnection, values: str, distinct: int) -> tuple[str, ...]:
    """Labels that a feature with few values repeats (no value has both kinds of rows), or whose absence it is."""
    found = []
    for label, asked in ASKED.items():
        of, having = (" + ".join(f"{split}_{what}" for split in ("train", "valid", "test")) for what in asked)
        rows, positive, mixed, known, known_positive = connection.execute(
            f"""SELECT sum({of}), sum({having}), count(*) FILTER ({having} BETWEEN 1 AND {of} - 1),
                       coalesce(sum({of}) FILTER (value IS NOT NULL), 0),
                       coalesce(sum({having}) FILTER (value IS NOT NULL), 0) FROM {values}"""
        ).fetchall()[0]
        if min(positive, rows - positive) < LEAST:
            continue
        repeats = not mixed and distinct <= MIRROR_VALUES
        only_known = known == known_positive == positive
        only_missing = known_positive == 0 and known == rows - positive
        if repeats or only_known or only_missing:
            found.append(label)
    return tuple(found)
