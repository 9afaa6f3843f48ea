"""Files of a log in a folder, and the tables that a reader makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tiny_tables import encoded

from bench.core.cell import Cell
from bench.core.config import Config
from bench.data.checks import check_tables
from bench.data.source import Source
from bench.data.tables import LABELS, table_path
from bench.training.train import train_cell


def delimited(*rows: Sequence[Any], delimiter: str = ",") -> str:
    """Rows as lines of a text file."""
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


def written(source: Source, folder: Path) -> Path:
    """The funnel tables of the source's one city in a new ``folder``."""
    folder.mkdir()
    source.write(*source.cities(), folder)
    return folder


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a funnel table."""
    rows: list[dict[str, Any]] = pq.read_table(table_path(folder, name)).to_pylist()
    return rows


def labels(rows: Sequence[dict[str, Any]], *keys: str) -> list[tuple[Any, ...]]:
    """These columns and the labels of every row."""
    return [tuple(row[key] for key in (*keys, *LABELS)) for row in rows]


def goes_the_whole_road(folder: Path, model: str = "esmm") -> bool:
    """Whether the tables pass the checks, can be encoded, and one tiny model learns from them."""
    assert check_tables(folder) == []
    config = Config(hidden=(4,), embedding_dim=4, batch_size=8, epochs=1)
    cell = Cell(dataset=folder.name, fingerprint="f", city="c", model=model, config=config, seed=0)
    (out := folder.with_name(f"{folder.name}-cell")).mkdir()
    return bool(train_cell(cell, encoded(folder), out).metrics)
