"""A simulated city written and read back, for the tests of its tables and of its behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.data.source import SourceOptions
from bench.data.sources.six_cities import SixCities
from bench.data.tables import TABLES, Manifest, read_manifest, table_path

Columns = dict[str, np.ndarray]
START, DAY = 1_682_035_200, 86_400


@dataclass(frozen=True)
class Tables:
    manifest: Manifest
    exposures: Columns
    events: Columns
    users: Columns
    items: Columns
    truth: Columns

    @property
    def main_events(self) -> Columns:
        """The events from the first day on."""
        main = self.events["time"] >= START
        return {name: column[main] for name, column in self.events.items()}


def read(folder: Path) -> Tables:
    tables = {}
    for name in TABLES:
        table = pq.read_table(table_path(folder, name))
        tables[name] = {column: table[column].to_numpy() for column in table.column_names}
    return Tables(read_manifest(folder), **tables)


def make(folder: Path, city: str = "6", scale: float = 0.001, seed: int = 0, **knobs: Any) -> Tables:
    folder.mkdir(parents=True)
    SixCities(SourceOptions(scale=scale, seed=seed, knobs=knobs)).write(city, folder)
    return read(folder)
