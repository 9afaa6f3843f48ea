"""A description of funnel tables: aggregated by DuckDB, out of core, and asked for what is suspicious."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from bench.core.errors import UserError
from bench.data.calibration import is_calibrated
from bench.data.checks import require_columns
from bench.data.describe.aggregates import aggregate_visits, events_by_kind, outcomes, prepare, split_counts
from bench.data.describe.carts import carts_of, gather
from bench.data.describe.clues import clues_of
from bench.data.describe.columns import columns_of
from bench.data.describe.results import Description
from bench.data.describe.spreads import spreads
from bench.data.describe.suspicions import findings
from bench.data.describe.times import local_seconds, times_of
from bench.data.sql import connect, open_tables
from bench.data.tables import Manifest, table_path


def describe(
    tables: Path,
    scratch: Path,
    report: Callable[[str], None] = lambda stage: None,
    *,
    memory_limit: str = "2GB",
    threads: int | None = None,
) -> Description:
    """What the funnel tables in ``tables`` hold. Equal tables give an equal description.

    Args:
        tables: a folder of funnel tables.
        scratch: an existing folder for what does not fit into ``memory_limit``.
        report: told of each stage, in a few words.

    Raises:
        UserError: a table is missing, cannot be read, lacks a column, or has no row.
    """
    manifest = require_columns(tables)
    try:
        with connect(scratch, memory_limit, threads) as connection:
            return _describe(connection, tables, manifest, report)
    except duckdb.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{tables} must be readable, but: {reason}; `bench data check` says what is wrong with it."
        ) from None


def _describe(
    connection: duckdb.DuckDBPyConnection, tables: Path, manifest: Manifest, report: Callable[[str], None]
) -> Description:
    # The files' statistics leave NaN out: with them, isnan would be taken for never true.
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    columns = open_tables(connection, tables)
    if not connection.execute("SELECT 1 FROM exposures LIMIT 1").fetchall():
        raise UserError(f"{table_path(tables, 'exposures')} must have rows, but has none; make the tables again.")
    has_events, timed = "events" in columns, "time" not in manifest.lacks
    report("days and splits")
    local = local_seconds(connection, manifest, [table for table in ("exposures", "events") if table in columns])
    prepare(connection, local("time"))
    report("visits")
    aggregate_visits(connection)
    for key in ("user", "item"):
        report(f"{key}s")
        outcomes(connection, f"per_{key}", key)
    report("carts and purchases")
    gather(connection, has_events, is_calibrated(manifest))
    report("duplicates and order")
    clues = clues_of(connection, has_events, timed, is_calibrated(manifest))
    found = Description(
        dataset=manifest.dataset,
        city=manifest.city,
        fingerprint=manifest.fingerprint,
        origin=manifest.origin,
        lacks=manifest.lacks,
        notes=manifest.notes,
        manifest_counts=manifest.counts,
        settings=manifest.settings,
        splits=split_counts(connection),
        events=events_by_kind(connection) if has_events else {},
        times=times_of(connection, manifest) if timed else None,
        spreads=spreads(connection),
        carts=carts_of(connection, "shown", local, timed),
        log_carts=carts_of(connection, "logged", local, timed) if has_events else None,
        columns=columns_of(connection, manifest, report),
        clues=clues,
    )
    return found.model_copy(update={"findings": tuple(findings(found))})
