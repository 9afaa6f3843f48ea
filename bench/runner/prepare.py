"""Data on demand: funnel tables and encoded arrays are made once and reused."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.errors import UserError, unknown
from bench.core.publish import publishing
from bench.core.registry import SOURCES
from bench.data.checks import require_positives
from bench.data.encoded import EncodedCity
from bench.data.encoding import EncodingSettings, encode, encoding_key
from bench.data.source import Source, SourceOptions
from bench.data.tables import MANIFEST, read_manifest
from bench.runner.layout import Layout


def open_source(name: str, options: SourceOptions, out: Path | None = None) -> Source:
    """The dataset of that name: a registered one, a log imported into ``out``, or a folder of funnel tables.

    Raises:
        UserError: it is unknown, or cannot be imported.
    """
    if name not in SOURCES.names():
        imported = {} if out is None else imported_logs(Layout(out))
        folder = imported.get(name, Path(name))
        if not (folder / MANIFEST).is_file() and not any(folder.glob(f"[!.]*/{MANIFEST}")):
            raise unknown("dataset", name, [*SOURCES.names(), *imported])
        name, options = "tables", options.model_copy(update={"data_dir": folder.resolve()})
    source: Source = SOURCES.get(name)(options)
    return source


def imported_logs(layout: Layout) -> dict[str, Path]:
    """Folders of the logs that `bench data import` stored, by name."""
    return {path.parent.name: path.parent for path in sorted(layout.logs.glob(f"[!.]*/{MANIFEST}"))}


def is_prepared(layout: Layout, source: Source, city: str) -> bool:
    """Whether the encoded arrays of a city are there.

    Raises:
        UserError: the city's manifest is damaged or has a label among the features.
    """
    tables = layout.tables / source.fingerprint(city)
    return (tables / MANIFEST).exists() and _encoded(layout, tables, EncodingSettings()).exists()


def encoded_folder(layout: Layout, source: Source, city: str, threads: int | None = None) -> Path:
    """Encoded arrays of a city; funnel tables and arrays are made now where they are missing.

    Raises:
        UserError: raw files are missing or damaged, a stored table is truncated, or the city has no positives to learn
            from: then nothing is stored of it.
    """
    settings = EncodingSettings(threads=threads)
    with ExitStack() as stack:
        tables = _tables(layout, source, city, stack)
        folder = _encoded(layout, tables, settings)
        if folder.exists():
            require_positives(EncodedCity.load(folder).meta)
        else:
            staging = stack.enter_context(publishing(folder))
            encode(tables, staging, settings)
            require_positives(EncodedCity.load(staging).meta)
    return folder


def tables_folder(layout: Layout, source: Source, city: str) -> Path:
    """Funnel tables of a city; they are made now where they are missing.

    Raises:
        UserError: raw files are missing or damaged, or a stored table is truncated.
    """
    with ExitStack() as stack:
        _tables(layout, source, city, stack)
    return layout.tables / source.fingerprint(city)


def missing_shards(layout: Layout, source: Source, city: str) -> list[int]:
    """Shards to make before the funnel tables of a city: none where these are there, or made at once."""
    fingerprint = source.fingerprint(city)
    if (layout.tables / fingerprint / MANIFEST).exists() or (count := source.shards(city)) == 1:
        return []
    return [shard for shard in range(count) if not (layout.shards / fingerprint / str(shard)).exists()]


def make_shard(layout: Layout, source: Source, city: str, shard: int) -> None:
    """Make a shard of a city's users; it is kept until the city's tables are made."""
    fingerprint = source.fingerprint(city)
    try:
        with publishing(layout.shards / fingerprint / str(shard)) as folder:
            source.write_shard(city, shard, folder)
    except FileNotFoundError:
        if not (layout.tables / fingerprint / MANIFEST).exists():
            raise  # else another process has made the tables meanwhile, and removed all shards


def _tables(layout: Layout, source: Source, city: str, stack: ExitStack) -> Path:
    """Where the funnel tables are until ``stack`` ends, which publishes new ones and removes their shards."""
    fingerprint = source.fingerprint(city)
    final, shards = layout.tables / fingerprint, layout.shards / fingerprint
    if shards.exists():
        stack.callback(shutil.rmtree, shards, ignore_errors=True)
    tables = final
    if not (final / MANIFEST).exists():
        tables = stack.enter_context(publishing(final))
        parts = [shards / str(shard) for shard in range(source.shards(city))]
        try:
            if all(part.exists() for part in parts):
                source.join(city, parts, tables)
            else:
                source.write(city, tables)
        except FileNotFoundError:
            if not (final / MANIFEST).exists():
                raise
            tables = final  # another process was faster, and has removed the shards
    _refuse_truncated(tables)
    return tables


def _encoded(layout: Layout, tables: Path, settings: EncodingSettings) -> Path:
    return layout.encoded / encoding_key(read_manifest(tables), settings)


def _refuse_truncated(tables: Path) -> None:
    """Every table must be there and end as Parquet does; `bench check` looks at their contents."""
    for name in read_manifest(tables).checksums:
        try:
            pq.read_metadata(tables / name)
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{tables / name} must be Parquet, but is missing, truncated or damaged ({error}); "
                f"delete {tables} and run again."
            ) from None
