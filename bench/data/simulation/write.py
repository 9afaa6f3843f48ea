"""From logs of blocks to funnel tables: one row group per block, so that memory does not grow with the city.

Of the warm-up only events are written. Its visits are numbered after those of all blocks' days.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.data.simulation import behaviour
from bench.data.simulation.behaviour import Columns, Log
from bench.data.simulation.blocks import Block, Simulation
from bench.data.simulation.settings import DAY, FIRST_WEEKDAY, START, Ints, Settings
from bench.data.simulation.shards import Made
from bench.data.tables import ACTIONS, DOMAINS, LABELS, SPLITS, TRUTH, Feature, table_path

FEATURES: tuple[Feature, ...] = (
    *(Feature(name=name, table="exposures") for name in ("user", "item")),
    *(Feature(name=name, table="users") for name in ("gender", "age", "consumption", "activity", "user_district")),
    *(Feature(name=name, table="items") for name in ("brand", "category", "price_level", "item_district")),
    *(Feature(name=name, table="exposures") for name in ("hour", "weekday", "position")),
    *(Feature(name=name, table="exposures", kind="numeric") for name in ("orders_in_shop", "clicks_in_shop")),
    Feature(name="age_brand", table="cross", kind="cross", of=("age", "brand")),
)


def made(simulation: Simulation, intercepts: behaviour.Intercepts, blocks: Iterable[int]) -> Iterator[Made]:
    """Simulate these blocks."""
    share = simulation.quota
    first_user, first_visit, first_exposure, first_warmup = (
        np.cumsum(each) - each for each in (share.users, share.visits, share.exposures, share.warmup_visits)
    )
    first_warmup += share.visits.sum()
    for index in blocks:
        counts: Counter[str] = Counter()
        block = simulation.block(index)
        log = simulation.log(block, index, intercepts)
        main = log.of(block.visits.main)
        _count(counts, simulation.settings, block, main)
        user = int(first_user[index])
        visit = numbered(block.visits.main, int(first_visit[index]), int(first_warmup[index]))
        exposures = exposure_columns(simulation.settings, block, main, user, visit, int(first_exposure[index]))
        truth = {"exposure": exposures["exposure"]} | {name: main.exposures[name] for name in TRUTH}
        events = event_columns(block, log, user, visit)
        counts["warmup_events"] += int((events["time"] < START).sum())
        users = {"user": user + np.arange(len(block.users.location))} | block.users.features
        yield Made({"exposures": exposures, "truth": truth, "events": events, "users": narrow(users)}, counts)


def write_tables(simulation: Simulation, blocks: Iterable[Made], folder: Path) -> dict[str, int]:
    """Write the tables of a city into ``folder`` and return what they hold, as ``Manifest.counts``.

    The counts leave out the warm-up, apart from ``warmup_events``, the rows of ``events`` before the first day.
    """
    counts: Counter[str] = Counter(users=simulation.city.users, items=simulation.city.items)
    world = simulation.world
    items = narrow({"item": np.arange(simulation.city.items)} | world.item_features) | {"price": world.price}
    with TableWriters(folder) as writers:
        writers.write("items", items)
        writers.write_blocks(blocks, counts)
    return dict(counts)


class SplitSettings(Protocol):
    """The knobs that decide which days are training, validation and test days."""

    @property
    def days(self) -> int: ...
    @property
    def train_days(self) -> int: ...
    @property
    def valid_days(self) -> int: ...


def splits(settings: SplitSettings, first_second: int = START) -> dict[str, tuple[int, int]]:
    """First and last second of every split: whole days, and no visit goes beyond its day."""
    stops = (settings.train_days, settings.train_days + settings.valid_days, settings.days)
    starts = (0, *stops[:-1])
    return {
        split: (first_second + start * DAY, first_second + stop * DAY - 1)
        for split, start, stop in zip(SPLITS, starts, stops, strict=True)
    }


def exposure_columns(
    settings: Settings, block: Block, log: Log, first_user: int, visit_id: Ints, first_exposure: int
) -> Columns:
    """The ``exposures`` table of a block: users and exposures numbered from the given ids, visits by theirs [V]."""
    rows, visits = log.exposures, block.visits
    start = visits.start[rows["visit"]]
    return {
        "exposure": first_exposure + np.arange(len(start)),
        "user": first_user + visits.user[rows["visit"]],
        "item": block.pool.item.ravel()[rows["cell"]],
        "visit": visit_id[rows["visit"]],
        "time": START + behaviour.exposure_time(visits, rows["visit"], rows["position"]),
        "position": rows["position"],
        "split": named(split_of(settings, start), SPLITS),
        **{label: rows[label].astype(np.uint8) for label in LABELS},
        "hour": (start % DAY // 3600).astype(np.int16),
        "weekday": ((start // DAY + FIRST_WEEKDAY) % 7).astype(np.int16),
        "orders_in_shop": rows["orders_in_shop"],
        "clicks_in_shop": rows["clicks_in_shop"],
    }


def event_columns(block: Block, log: Log, first_user: int, visit_id: Ints) -> Columns:
    """The ``events`` table of a block, ordered by user and time; a search belongs to the visit that it ends."""
    times = (
        behaviour.exposure_time(block.visits, log.exposures["visit"], log.exposures["position"]),
        behaviour.search_time(block.visits, log.searches["visit"]),
    )
    parts: list[tuple[NDArray[Any], ...]] = []
    for domain, (rows, time) in enumerate(zip((log.exposures, log.searches), times, strict=True)):
        for action, name in enumerate(ACTIONS):
            if name in rows:
                happened = np.flatnonzero(rows[name])
                codes = (np.full(len(happened), code, dtype=np.int8) for code in (action, domain))
                seconds = time[happened] + behaviour.DELAY[name]
                parts.append((rows["visit"][happened], rows["cell"][happened], seconds, *codes))
    visit, cell, seconds, action_code, domain_code = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((seconds, block.visits.user[visit]))
    visit = visit[order]
    return {
        "user": first_user + block.visits.user[visit],
        "item": block.pool.item.ravel()[cell[order]],
        "time": START + seconds[order],
        "visit": visit_id[visit],
        "action": named(action_code[order], ACTIONS),
        "domain": named(domain_code[order], DOMAINS),
    }


def numbered(main: NDArray[np.bool_], first_visit: int, first_warmup: int) -> Ints:
    """Ids of a block's visits [V]: of the ``main`` ones from ``first_visit``, of its warm-up from ``first_warmup``."""
    return np.where(main, first_visit + np.cumsum(main), first_warmup + np.cumsum(~main)) - 1


def _count(counts: Counter[str], settings: Settings, block: Block, log: Log) -> None:
    """Add a block, without its warm-up, to the counts, in all and per split."""
    rows = log.exposures
    visit_split = split_of(settings, block.visits.start)
    row_split = visit_split[rows["visit"]]
    counted = {
        "visits": visit_split[block.visits.main],
        "exposures": row_split,
        "clicks": row_split[rows["click"]],
        "carts": row_split[rows["cart"]],
        "wishes": row_split[rows["wish"]],
        "purchases": row_split[rows["purchase"]],
        "bad_case_purchases": row_split[rows["purchase"] & rows["waiting"]],
        "search_carts": visit_split[log.searches["visit"]][log.searches["cart"]],
    }
    for name, codes in counted.items():
        counts[name] += len(codes)
        for code, split in enumerate(SPLITS):
            counts[f"{split}_{name}"] += int((codes == code).sum())


def split_of(settings: SplitSettings, start: Ints) -> Ints:
    """Index into SPLITS by the day of ``start``, in seconds since the first day."""
    return np.searchsorted((settings.train_days, settings.train_days + settings.valid_days), start // DAY, side="right")


def named(codes: NDArray[Any], names: tuple[str, ...]) -> pa.Array:
    """The ``names`` with these ``codes`` as strings."""
    return pa.DictionaryArray.from_arrays(codes.astype(np.int8), list(names)).cast(pa.string())


def narrow(columns: Mapping[str, Ints]) -> Columns:
    """Features as int16; the first column, the id, as it is."""
    key, *features = columns
    return {key: columns[key]} | {name: columns[name].astype(np.int16) for name in features}


#: Types of columns that take many values: no dictionary pays for them.
_WIDE = (pa.int64(), pa.float32())


class TableWriters(ExitStack):
    """One Parquet file per table, opened with its first block."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._open: dict[str, pq.ParquetWriter] = {}

    def write_blocks(self, blocks: Iterable[Made], counts: Counter[str]) -> None:
        """Append what each block adds, and add it to ``counts``."""
        for tables, new in blocks:
            for table, columns in tables.items():
                self.write(table, columns)
            counts.update(new)

    def write(self, table: str, columns: Mapping[str, Any] | pa.Table) -> None:
        """Append ``columns`` to ``table`` as one row group."""
        rows = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
        if table not in self._open:
            path = table_path(self._folder, table)
            narrow = [field.name for field in rows.schema if field.type not in _WIDE]
            writer = pq.ParquetWriter(path, rows.schema, compression="zstd", use_dictionary=narrow)
            self._open[table] = self.enter_context(writer)
        self._open[table].write_table(rows, row_group_size=max(1, rows.num_rows))
