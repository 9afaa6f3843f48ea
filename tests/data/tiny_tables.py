"""Tiny funnel tables written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.data.encoded import EncodedCity
from bench.data.encoding import EncodingSettings, encode
from bench.data.tables import LABELS, Feature, Manifest, table_path, write_manifest

USER = Feature(name="user", table="exposures")
ITEM = Feature(name="item", table="exposures")

Columns = dict[str, Any]


def rows(names: str, *values: Sequence[Any]) -> Columns:
    """Columns from rows: ``rows("user item", (1, 7), (2, 8))``."""
    return {name: [row[i] for row in values] for i, name in enumerate(names.split())}


def write_tables(folder: Path, features: Sequence[Feature] = (USER, ITEM), **tables: Mapping[str, Any]) -> Path:
    """Funnel tables in ``folder``. Of the exposures, columns that are not given get a default.

    Defaults: ``exposure`` 0 …, ``visit`` = user, ``time`` = 100 * exposure, ``position`` 0, split train, labels 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = dict(tables.pop("exposures"))
    n = len(given["user"])
    exposures = {
        "exposure": list(range(n)),
        "visit": given["user"],
        "time": [100 * i for i in given.get("exposure", range(n))],
        "position": [0] * n,
        "split": ["train"] * n,
        **{label: [0] * n for label in LABELS},
        **given,
    }
    for table, columns in {"exposures": exposures, **tables}.items():
        pq.write_table(pa.table(dict(columns)), table_path(folder, table))
    manifest = Manifest(
        dataset="tiny",
        city="1",
        fingerprint="f",
        origin="log",
        features=tuple(features),
        counts={},
        time_range=(int(min(exposures["time"], default=0)), int(max(exposures["time"], default=0))),
        split_range={},
        settings={},
    )
    write_manifest(folder, manifest)
    return folder


def encoded(tables: Path, settings: EncodingSettings | None = None) -> EncodedCity:
    """The tables, encoded in a new folder beside them."""
    out = tables.with_name(f"{tables.name}-encoded")
    out.mkdir()
    encode(tables, out, settings)
    return EncodedCity.load(out)


def local_ids(city: EncodedCity, field: str) -> list[int]:
    """Local ids of a field in the order of the exposure ids."""
    index = [f.name for f in city.meta.fields].index(field)
    ids = city.ids[:, index] - city.meta.fields[index].offset
    return ids[np.argsort(city.exposure)].tolist()
