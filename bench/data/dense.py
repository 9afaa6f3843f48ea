"""Dense features: hundreds of numbers, kept per user, item and exposure, ranked by their importance.

Each is normalised by mean and standard deviation, and cut into quantile bins, both over the training exposures
(ESM² sections 4.3.2 and 4.3.3). Trees tell which matter: a feature's importance is its share of the gain in trees
of clicks (over exposures) and in trees of purchases (over clicked rows), the mean of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench.core.config import Config
from bench.core.seeding import derive
from bench.data.encoded import DENSE_TABLES, LABEL_COLUMNS, DenseField, DenseTable, create
from bench.data.sql import name, stream
from bench.data.tables import Feature
from bench.data.trees import boost
from bench.data.vocabulary import quantile_edges

#: Training rows from which the importance is taken: all positives, and others drawn at random up to this number, or
#: up to as many as there are positives.
IMPORTANCE_ROWS = 100_000
#: Fewer and smaller trees than the baseline's: they find as many of the features that matter in half the time.
TREES = Config(trees=50, tree_depth=6)
#: Numbers that are normalised at once, in no more columns than this.
_NUMBERS_AT_ONCE = 1 << 25
_COLUMNS_AT_ONCE = 16

#: By table, SQL for the rows of its arrays in their order; their columns are those of the table. Numbers of exposures
#: are written with the other columns of exposures.
_ROWS: dict[DenseTable, str] = {
    "users": "members LEFT JOIN users USING (user) ORDER BY members.u",
    "items": "item_rows LEFT JOIN items USING (item) ORDER BY item_rows.i",
}


def write_dense(
    connection: duckdb.DuckDBPyConnection,
    out: Path,
    features: Sequence[Feature],
    users: int,
    items: int,
    train: int,
    bins: int,
) -> list[DenseField]:
    """Write ``dense_…`` and ``bins_…`` of all tables, from the arrays of rows in ``out``.

    ``dense_exposures`` is there already, with the numbers as they are in the table.

    Args:
        train: number of training rows.
        bins: most bins of a feature.

    Returns:
        the dense features, the most important first.
    """
    labels = np.load(out / "labels.npy", mmap_mode="r")[:train]
    columns = {table: of_table(features, table) for table in DENSE_TABLES}
    owners: dict[DenseTable, np.ndarray | None] = {
        "users": np.load(out / "user.npy", mmap_mode="r")[:train],
        "items": np.load(out / "item.npy", mmap_mode="r")[:train],
        "exposures": None,
    }
    rows_of: dict[DenseTable, int] = {"users": users, "items": items}
    values: dict[DenseTable, np.ndarray] = {}
    sizes: list[int] = []
    for table, owner in owners.items():
        if owner is not None:
            shape = (rows_of[table], len(columns[table]))
            values[table], weights = create(out, f"dense_{table}", shape), np.bincount(owner, minlength=shape[0])
            if columns[table]:
                read_numbers(connection, columns[table], table, values[table])
        elif columns[table]:
            values[table] = np.load(out / f"dense_{table}.npy", mmap_mode="r+")
            weights = (np.arange(len(values[table])) < train).astype(np.uint8)
        else:
            continue
        codes = create(out, f"bins_{table}", values[table].shape)
        sizes += normalise(values[table], codes, weights, bins)
    named = {name: np.asarray(labels[:, LABEL_COLUMNS.index(name)]) for name in ("click", "purchase")}
    return ranked(columns, sizes, importance(values, owners, named))


def of_table(features: Sequence[Feature], table: DenseTable) -> list[str]:
    """Names of the dense features of a table, in their order."""
    return [feature.name for feature in features if feature.kind == "dense" and feature.table == table]


def read_numbers(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[str], table: DenseTable, into: np.ndarray
) -> None:
    """Fill ``into`` [n, f] with the numbers of ``columns`` of a table in the order of its rows; NULL becomes NaN."""
    numbers = ", ".join(f"{number(f'{table}.{name(column)}')} AS {name(column)}" for column in columns)
    stop = 0
    for batch in stream(connection, f"SELECT {numbers} FROM {_ROWS[table]}"):
        start, stop = stop, stop + len(batch[columns[0]])
        for index, column in enumerate(columns):
            into[start:stop, index] = batch[column]


def number(column: str) -> str:
    """SQL: a column (SQL) as FLOAT, NaN where it is NULL."""
    return f"coalesce(CAST({column} AS FLOAT), 'nan'::FLOAT)"


def normalise(values: np.ndarray, bins: np.ndarray, weights: NDArray[Any], most: int) -> list[int]:
    """Turn ``values`` [n, f] into (x - mean) / std in place (missing: 0) and fill ``bins`` [n, f] with bin numbers.

    Bin 0 is missing, the others 1, 2, … from low to high, ``most`` of them at most.

    Args:
        weights: training exposures of each row [n]; rows without any are not fitted on.

    Returns:
        the number of values that a bin takes, 0 included, per column.
    """
    seen = weights > 0
    sizes: list[int] = []
    width = min(max(1, _NUMBERS_AT_ONCE // max(1, len(values))), _COLUMNS_AT_ONCE)
    for first in range(0, values.shape[1], width):
        block = np.array(values[:, first : first + width], dtype=np.float64)
        codes = np.zeros(block.shape, dtype=np.uint8)
        for column, codes_of in zip(block.T, codes.T, strict=True):
            known = np.isfinite(column)
            fitted, weight = column[known & seen], weights[known & seen]
            if not len(fitted):
                sizes.append(1)
                column[:] = 0.0
                continue
            distinct, index = np.unique(fitted, return_inverse=True)
            edges = quantile_edges(distinct, np.bincount(index, weights=weight), most)
            codes_of[known] = 1 + np.searchsorted(edges, column[known])
            sizes.append(len(edges) + 2)
            mean = np.average(fitted, weights=weight)
            spread = float(np.sqrt(np.average((fitted - mean) ** 2, weights=weight)))
            column[:] = np.where(known, (column - mean) / (spread or 1.0), 0.0)
        values[:, first : first + width] = block
        bins[:, first : first + width] = codes
    return sizes


def importance(
    values: Mapping[DenseTable, np.ndarray],
    owners: Mapping[DenseTable, np.ndarray | None],
    labels: Mapping[str, np.ndarray],
) -> NDArray[np.float64]:
    """The importance of the columns of all tables, in the order of ``DENSE_TABLES``: shares that sum to 1.

    Args:
        values: by table, normalised numbers [n, f].
        owners: by table, the row of ``values`` of every training exposure [N]; None where it is the exposure's own.
        labels: click and purchase of every training exposure [N].
    """
    clicked = np.flatnonzero(labels["click"])
    found = [
        _gain(values, owners, rows, label, task)
        for task, rows, label in (
            ("click", np.arange(len(labels["click"])), labels["click"]),
            ("purchase", clicked, labels["purchase"]),
        )
    ]
    total = np.sum(found, axis=0)
    return np.asarray(total / (total.sum() or 1.0))


def ranked(
    columns: Mapping[DenseTable, Sequence[str]], sizes: Sequence[int], shares: NDArray[np.float64]
) -> list[DenseField]:
    """The dense features, the most important first; equal ones in the order of their tables and columns."""
    fields = [
        DenseField(name=column, table=table, column=index, bins=size, importance=float(f"{share:.6g}"))
        for (table, index, column), size, share in zip(_places(columns), sizes, shares, strict=True)
    ]
    return sorted(fields, key=lambda field: -field.importance)


def _places(columns: Mapping[DenseTable, Sequence[str]]) -> Iterator[tuple[DenseTable, int, str]]:
    return ((table, index, column) for table in DENSE_TABLES for index, column in enumerate(columns[table]))


def _gain(
    values: Mapping[DenseTable, np.ndarray],
    owners: Mapping[DenseTable, np.ndarray | None],
    rows: NDArray[np.int64],
    label: np.ndarray,
    task: str,
) -> NDArray[np.float64]:
    """Shares of the gain of every column, in trees of ``label`` over some of ``rows``."""
    if len(np.unique(label[rows])) < 2:
        return np.zeros(sum(each.shape[1] for each in values.values()))
    rng = np.random.default_rng(derive(0, "importance", task))
    positive = rows[label[rows] == 1]
    negative = rows[label[rows] == 0]
    room = max(IMPORTANCE_ROWS - len(positive), len(positive), 1)
    if len(negative) > room:
        negative = rng.choice(negative, room, replace=False)
    chosen = np.sort(np.concatenate((positive, negative)))
    parts = []
    for table in DENSE_TABLES:
        if table in values:
            owner = owners[table]
            parts.append(values[table][chosen if owner is None else owner[chosen]])
    features = np.concatenate(parts, axis=1)
    # One thread: the sums of several are not the same on every machine.
    trees = boost(features, label[chosen], TREES, seed=derive(0, "trees", task) % 2**31, threads=1)
    gain = trees.feature_importance("gain")
    return np.asarray(gain / (gain.sum() or 1.0), dtype=np.float64)
