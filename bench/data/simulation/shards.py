"""Blocks of users as tables: made in one process, or read from shards that several processes made apart.

A shard is a folder with the blocks of some users in a row: one Arrow file per table with a record batch for each
block, and what the blocks count. Tables joined from shards have the bytes of tables made in one process.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

#: Blocks of a shard, 11 million exposures of the six cities: each is preceded by solving for the intercepts again.
BLOCKS = 32
_COUNTS = "counts.json"


class Made(NamedTuple):
    """What a block adds to each table, and to the counts of the manifest."""

    tables: Mapping[str, Mapping[str, Any] | pa.Table]
    counts: Counter[str]


def shards_of(blocks: int) -> int:
    """How many shards so many blocks are."""
    return -(-blocks // BLOCKS)


def blocks_of(shard: int, blocks: int) -> range:
    """The blocks of a shard, of so many in all."""
    return range(shard * BLOCKS, min((shard + 1) * BLOCKS, blocks))


def write_shard(made: Iterable[Made], folder: Path) -> None:
    """Write blocks into the existing empty ``folder``."""
    counts: Counter[str] = Counter()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        files: dict[str, pa.ipc.RecordBatchFileWriter] = {}
        for tables, new in made:
            counts.update(new)
            for table, columns in tables.items():
                batch = pa.record_batch(dict(columns))
                if table not in files:
                    path = folder / f"{table}.arrow"
                    files[table] = stack.enter_context(pa.ipc.new_file(path, batch.schema, options=options))
                files[table].write_batch(batch)
    (folder / _COUNTS).write_text(json.dumps(counts), encoding="utf-8")


def read_shards(folders: Sequence[Path]) -> Iterator[Made]:
    """The blocks of all shards, in their order; what a shard counts comes with its first block."""
    for folder in folders:
        counts: Counter[str] = Counter(json.loads((folder / _COUNTS).read_text(encoding="utf-8")))
        with ExitStack() as stack:
            files = {
                path.stem: pa.ipc.open_file(stack.enter_context(pa.memory_map(str(path))))
                for path in sorted(folder.glob("*.arrow"))
            }
            (blocks,) = {file.num_record_batches for file in files.values()}
            for index in range(blocks):
                tables = {name: pa.Table.from_batches([file.get_batch(index)]) for name, file in files.items()}
                yield Made(tables, counts if index == 0 else Counter())
