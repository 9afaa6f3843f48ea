"""The arrays of rows: exposures in the order of their visits, with ids, labels, truth and numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.data.calibration import MARKS
from bench.data.encoded import DTYPES, LABEL_COLUMNS, ArrayFile, EncodedField
from bench.data.sql import fetch, name, stream
from bench.data.tables import LABELS, Feature
from bench.data.vocabulary import apply_cross, cross_keys, fit_cross

#: Rows whose ids are read at once, to change them and to count their combinations.
_CHUNK, _FIT_ROWS = 1 << 18, 1 << 22
_SQL_TYPES = {"int32": "INTEGER", "int64": "BIGINT", "uint8": "UTINYINT", "float32": "FLOAT"}


def write_rows(
    connection: duckdb.DuckDBPyConnection,
    out: Path,
    rows: int,
    columns: Mapping[str, str],
    joins: Sequence[str],
    sizes: Mapping[str, int],
) -> None:
    """Write the arrays of rows in their order: by visit, position, exposure.

    ``exposure``, ``visit``, ``user`` and ``labels`` are always written; the labels of Sample Calibration and intent
    come from the tables ``marked`` and ``intended``.

    Args:
        rows: number of exposures, whose ids are 0 … rows - 1.
        columns: ``array`` (1-d) or ``array/column`` (2-d, in this order) to SQL over ``exposures AS source``,
            ``visits`` and ``joins``.
        sizes: values 0 … size - 1 that a column takes, where that is known: so it is sorted in a smaller type.

    Raises:
        UserError: a value is missing, or the joins change the number of rows.
    """
    columns = {
        "exposure": "source.exposure",
        "visit": "visits.v",
        **{f"labels/{label}": f"source.{label}" for label in LABELS},
        **columns,
    }
    groups: dict[str, list[str]] = {}
    for column in columns:
        groups.setdefault(column.partition("/")[0], []).append(column)
    selected = ", ".join(
        f"CAST({columns[member]} AS {_sql_type(DTYPES[array], sizes.get(member))}) AS {name(member)}"
        for array, members in groups.items()
        for member in members
    )
    query = f"""SELECT {selected} FROM exposures AS source JOIN visits ON visits.visit = source.visit {" ".join(joins)}
                ORDER BY visits.v, source.position, source.exposure"""
    users = fetch(connection, "SELECT u FROM visits ORDER BY v")["u"]
    marks = _marks(connection, rows)
    shapes = {array: () if members == [array] else (len(members),) for array, members in groups.items()}
    shapes |= {"user": (), "labels": (len(LABEL_COLUMNS),)}
    stop = 0
    with ExitStack() as stack:
        files = {array: stack.enter_context(ArrayFile(out, array, (rows, *shape))) for array, shape in shapes.items()}
        for batch in stream(connection, query):
            stop += len(batch["exposure"])
            if stop > rows:
                break
            found = {
                array: np.stack([batch[member] for member in members], axis=1, dtype=DTYPES[array])
                if shapes[array]
                else batch[array]
                for array, members in groups.items()
            }
            found["user"] = users[batch["visit"]]
            found["labels"] = _labels(found["labels"], marks[batch["exposure"]])
            for array, values in found.items():
                files[array].append(values)
    if stop != rows:
        raise UserError(
            "visits, users, items and truth must have one row per id, but joining them changes the number of "
            "exposures; mend the source."
        )


def finish_ids(
    out: Path,
    features: Sequence[Feature],
    widths: Sequence[int],
    sizes: Mapping[str, int],
    train: int,
    min_count: int,
) -> list[EncodedField]:
    """Fit and fill the crosses in ``ids``, add the offsets of all fields; ``train``: number of training rows."""
    ids = np.load(out / "ids.npy", mmap_mode="r+")
    index = dict(zip((f.name for f in features), itertools.accumulate(widths, initial=0), strict=False))
    values, parts, starts = {}, {}, range(0, train, _FIT_ROWS)
    for cross in features:
        if cross.kind == "cross":
            columns, of = [index[part] for part in cross.of], [sizes[part] for part in cross.of]
            parts[cross.name] = columns, of
            keys = (cross_keys(ids[first : min(first + _FIT_ROWS, train), columns], of) for first in starts)
            values[cross.name] = fit_cross(keys, cross.min_count or min_count)
    all_sizes = [len(values[f.name]) + 1 if f.name in values else sizes[f.name] for f in features]
    offsets = [0, *itertools.accumulate(all_sizes)][:-1]
    added = np.repeat(np.array(offsets, dtype=np.int32), widths)
    for start in range(0, len(ids), _CHUNK):
        chunk = np.array(ids[start : start + _CHUNK])
        for name_of, (columns, of) in parts.items():
            chunk[:, index[name_of]] = apply_cross(cross_keys(chunk[:, columns], of), values[name_of])
        ids[start : start + _CHUNK] = chunk + added
    ids.flush()
    return [
        EncodedField(name=feature.name, size=size, offset=offset, ordered=feature.kind == "numeric", width=width)
        for feature, size, offset, width in zip(features, all_sizes, offsets, widths, strict=True)
    ]


def _sql_type(dtype: str, size: int | None) -> str:
    """The type of a column on its way into an array of that dtype."""
    if size is None or size > 1 << 16:
        return _SQL_TYPES[dtype]
    return "UTINYINT" if size <= 1 << 8 else "USMALLINT"


def _marks(connection: duckdb.DuckDBPyConnection, rows: int) -> NDArray[np.uint8]:
    """What is marked of every exposure [rows]: a bit for each of ``MARKS``, then one for intent."""
    marks = np.zeros(rows, dtype=np.uint8)
    bits = " + ".join(f"{1 << bit} * CAST({mark} AS UTINYINT)" for bit, mark in enumerate(MARKS))
    for batch in stream(connection, f"SELECT exposure, CAST({bits} AS UTINYINT) AS bits FROM marked"):
        marks[batch["exposure"]] = batch["bits"]
    for batch in stream(connection, "SELECT exposure FROM intended"):
        marks[batch["exposure"]] |= 1 << len(MARKS)
    return marks


def _labels(logged: NDArray[np.uint8], marks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The columns of ``labels`` [n, 10] from those of the log [n, 4] and the marks [n]."""
    cart = logged[:, LABELS.index("cart")] == 1
    return np.concatenate((logged, _DERIVED[cart + 2 * marks]), axis=1)


def _derived() -> NDArray[np.uint8]:
    """The other label columns for every value of cart + 2 * marks."""
    cart, *found, intent = (np.arange(2 ** (len(MARKS) + 2)) >> np.arange(len(MARKS) + 2)[:, None] & 1).astype(bool)
    mark = dict(zip(MARKS, found, strict=True))
    everywhere = cart | mark["elsewhere"]
    by_name = {
        "cart_copy": cart | mark["taken"],
        "cart_move": (cart | mark["taken"]) & ~mark["given"],
        "global_none": everywhere,
        "global_copy": everywhere | mark["global_taken"],
        "global_move": (everywhere | mark["global_taken"]) & ~mark["global_given"],
        "intent": intent,
    }
    return np.stack([by_name[label] for label in LABEL_COLUMNS[len(LABELS) :]], axis=1).astype(np.uint8)


_DERIVED = _derived()
