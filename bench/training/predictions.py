"""Predictions per test row: what all later analysis is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.data.encoded import EncodedCity
from bench.data.tables import LABELS, TRUTH

#: Rows that are copied and written at once, as a row group.
GROUP_ROWS = 1 << 20


def write_predictions(path: Path, city: EncodedCity, probabilities: Mapping[str, NDArray[np.floating]]) -> None:
    """One row per test exposure: exposure id, user, labels as observed, probabilities, and the truth if known.

    Args:
        probabilities: by name, of the test rows in their order; stored as float32.
    """
    test = city.rows("test")
    with pq.ParquetWriter(path, _group(city, probabilities, 0, 0).schema, compression="zstd") as writer:
        for start in range(0, test.stop - test.start, GROUP_ROWS):
            writer.write_table(_group(city, probabilities, start, start + GROUP_ROWS), row_group_size=GROUP_ROWS)


def truth_of(city: EncodedCity, split: str) -> dict[str, NDArray[np.generic]] | None:
    """True probabilities of a split's rows by name; None for a log."""
    return None if city.truth is None else _truth(city.truth, city.rows(split))


def _group(city: EncodedCity, probabilities: Mapping[str, NDArray[np.floating]], start: int, stop: int) -> pa.Table:
    """The test rows from ``start`` on, before ``stop`` and the end."""
    test = city.rows("test")
    rows = slice(test.start + start, min(test.start + stop, test.stop))
    columns: dict[str, NDArray[np.generic]] = {"exposure": city.exposure[rows], "user": city.user[rows]}
    columns |= {name: city.labels[rows, index] for index, name in enumerate(LABELS)}
    columns |= {name: values[start:stop].astype(np.float32) for name, values in probabilities.items()}
    columns |= {} if city.truth is None else _truth(city.truth, rows)
    return pa.table(columns)


def _truth(truth: NDArray[np.float32], rows: slice) -> dict[str, NDArray[np.generic]]:
    return {name: np.asarray(truth[rows, index]) for index, name in enumerate(TRUTH)}
