"""From logs of blocks to funnel tables: one row group per block, so that memory does not grow with the shop.

Of the warm-up only events are written. Its visits are numbered after those of all blocks' days.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.ecommerce.behaviour import Columns, Intercepts
from bench.data.ecommerce.settings import FIRST_WEEKDAY, START, Settings
from bench.data.ecommerce.shop import Block, Shop
from bench.data.simulation.behaviour import exposure_time
from bench.data.simulation.settings import DAY, Ints
from bench.data.simulation.shards import Made
from bench.data.simulation.write import TableWriters, named, narrow, numbered, split_of
from bench.data.tables import ACTIONS, DOMAINS, LABELS, SPLITS, TRUTH, Feature

#: Seconds from being seen to each event, and the action under which the log has it.
EVENTS: dict[str, tuple[int, str]] = {
    "click": (2, "click"),
    "browse": (6, "browse"),
    "wish": (12, "wish"),
    "cart": (20, "cart"),
    "repeat": (40, "click"),
    "purchase": (60, "purchase"),
}


def features(shop: Shop) -> tuple[Feature, ...]:
    """The feature list of the shop's manifest."""
    return (
        *(Feature(name=name, table="exposures") for name in ("user", "item")),
        *(Feature(name=name, table="users") for name in shop.world.user_tables),
        *(Feature(name=name, table="items") for name in shop.world.item_features),
        *(Feature(name=name, table="exposures") for name in ("hour", "weekday", "position")),
        *(
            Feature(name=name, table="exposures", kind="numeric")
            for name in ("preference", "clicks_before", "browses_before")
        ),
        Feature(name="power_price", table="cross", kind="cross", of=("purchasing_power", "price_level")),
        Feature(name="age_category", table="cross", kind="cross", of=("age", "category")),
        Feature(name="purchases_90d", table="users", kind="dense"),
        *(Feature(name=column.name, table="users", kind="dense") for column in shop.user_columns),
        *(Feature(name=column.name, table="items", kind="dense") for column in shop.item_columns),
    )


def made(shop: Shop, intercepts: Intercepts, blocks: Iterable[int]) -> Iterator[Made]:
    """Simulate these blocks."""
    share = shop.quota
    first_user, first_visit, first_exposure, first_warmup = (
        np.cumsum(each) - each for each in (share.users, share.visits, share.exposures, share.warmup_visits)
    )
    first_warmup += share.visits.sum()
    for index in blocks:
        counts: Counter[str] = Counter()
        block = shop.block(index)
        log = shop.log(block, index, intercepts)
        is_main = block.visits.main[log["visit"]]
        main = {name: column[is_main] for name, column in log.items()}
        _count(counts, shop.settings, block, main)
        user = int(first_user[index])
        visit = numbered(block.visits.main, int(first_visit[index]), int(first_warmup[index]))
        exposures = exposure_columns(shop.settings, block, main, user, visit, int(first_exposure[index]))
        truth = {"exposure": exposures["exposure"]} | {name: main[name] for name in TRUTH}
        events = event_columns(block, log, user, visit)
        counts["warmup_events"] += int((events["time"] < START).sum())
        users = user_columns(shop, block, index, user)
        yield Made({"exposures": exposures, "truth": truth, "events": events, "users": users}, counts)


def write_tables(shop: Shop, blocks: Iterable[Made], folder: Path) -> dict[str, int]:
    """Write the tables of the shop into ``folder`` and return what they hold, as ``Manifest.counts``.

    The counts leave out the warm-up, apart from ``warmup_events``, the rows of ``events`` before the first day.
    """
    counts: Counter[str] = Counter(users=shop.size.users, items=shop.size.items)
    with TableWriters(folder) as writers:
        for start in range(0, shop.size.items, shop.settings.block_items):
            writers.write("items", item_columns(shop, start, min(start + shop.settings.block_items, shop.size.items)))
        writers.write_blocks(blocks, counts)
    return dict(counts)


def item_columns(shop: Shop, start: int, stop: int) -> Columns:
    """The ``items`` table from item ``start`` to ``stop``."""
    world = shop.world
    codes = {name: values[start:stop] for name, values in world.item_features.items()}
    return (
        narrow({"item": np.arange(start, stop)} | codes)
        | {"price": world.price[start:stop]}
        | shop.item_values(start, stop)
    )


def user_columns(shop: Shop, block: Block, index: int, first_user: int) -> Columns:
    """The ``users`` table of block ``index``, its users numbered from ``first_user``."""
    ids = {"user": first_user + np.arange(len(block.users.visit_rate))}
    purchases = {"purchases_90d": block.users.purchases_90d.astype(np.int32)}
    return narrow(ids | block.users.features) | purchases | shop.user_values(block, index)


def exposure_columns(
    settings: Settings, block: Block, rows: Columns, first_user: int, visit_id: Ints, first_exposure: int
) -> Columns:
    """The ``exposures`` table of a block's ``rows``: users and exposures numbered from the given ids, visits by
    theirs [V]."""
    visits = block.visits
    start = visits.start[rows["visit"]]
    return {
        "exposure": first_exposure + np.arange(len(start)),
        "user": first_user + visits.user[rows["visit"]],
        "item": block.pool.item.ravel()[rows["cell"]],
        "visit": visit_id[rows["visit"]],
        "time": START + exposure_time(visits, rows["visit"], rows["position"]),
        "position": rows["position"],
        "split": named(split_of(settings, start), SPLITS),
        **{label: rows[label].astype(np.uint8) for label in LABELS},
        "hour": (start % DAY // 3600).astype(np.int16),
        "weekday": ((start // DAY + FIRST_WEEKDAY) % 7).astype(np.int16),
        "preference": block.pool.preference.ravel()[rows["cell"]],
        "clicks_before": rows["clicks_before"],
        "browses_before": rows["browses_before"],
    }


def event_columns(block: Block, rows: Columns, first_user: int, visit_id: Ints) -> Columns:
    """The ``events`` table of a block, ordered by user and time."""
    seen = exposure_time(block.visits, rows["visit"], rows["position"])
    parts: list[tuple[NDArray[Any], ...]] = []
    for outcome, (delay, action) in EVENTS.items():
        row = np.flatnonzero(rows[outcome])
        parts.append((row, seen[row] + delay, np.full(len(row), ACTIONS.index(action), dtype=np.int8)))
    row, seconds, code = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((seconds, block.visits.user[rows["visit"][row]]))
    row = row[order]
    visit = rows["visit"][row]
    return {
        "user": first_user + block.visits.user[visit],
        "item": block.pool.item.ravel()[rows["cell"][row]],
        "time": START + seconds[order],
        "visit": visit_id[visit],
        "action": named(code[order], ACTIONS),
        "domain": named(np.zeros(len(row), dtype=np.int8), DOMAINS),
    }


def _count(counts: Counter[str], settings: Settings, block: Block, rows: Columns) -> None:
    """Add a block's ``rows``, without those of its warm-up, to the counts, in all and per split."""
    visit_split = split_of(settings, block.visits.start)
    row_split = visit_split[rows["visit"]]
    action = rows["cart"] | rows["wish"]
    counted = {
        "visits": visit_split[block.visits.main],
        "exposures": row_split,
        "clicks": row_split[rows["click"]],
        "browses": row_split[rows["browse"]],
        "repeated_clicks": row_split[rows["repeat"]],
        "carts": row_split[rows["cart"]],
        "wishes": row_split[rows["wish"]],
        "actions": row_split[action],
        "purchases": row_split[rows["purchase"]],
        "oaction_purchases": row_split[rows["purchase"] & ~action],
    }
    for name, codes in counted.items():
        counts[name] += len(codes)
        for code, split in enumerate(SPLITS):
            counts[f"{split}_{name}"] += int((codes == code).sum())
