"""An import: the files that a specification names, as raw relations, and these as funnel tables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from bench.core.cell import digest
from bench.core.publish import checksum
from bench.data.logs.columns import action_sql, feature_sql, id_sql, id_type, label_sql, split_sql, time_sql
from bench.data.logs.funnel import IMPORT_VERSION, Log, Report, write_funnel
from bench.data.logs.reading import Relation, explained, find
from bench.data.logs.spec import Actions, Columns, FeatureSpec, Files, Side, Spec, Times
from bench.data.logs.stage import RESERVED
from bench.data.sql import connect, name, text
from bench.data.tables import LABELS, TABLES_VERSION, Manifest

CITY = "all"


def fingerprint_of(spec: Spec, root: Path) -> str:
    """A hash of everything that decides the funnel tables of an import.

    Raises:
        UserError: a file is missing.
    """
    parts: list[Files] = [part for part in (spec, spec.users, spec.items, spec.behaviour) if part is not None]
    files = {os.path.relpath(path, root): checksum(path) for part in parts for path in find(part.files, root)}
    versions = {"import": IMPORT_VERSION, "tables": TABLES_VERSION}
    return digest({**versions, "spec": spec.model_dump(mode="json"), "files": files})


def import_log(
    spec: Spec,
    folder: Path,
    *,
    root: Path,
    city: str = CITY,
    fingerprint: str | None = None,
    lacks: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    memory_limit: str = "2GB",
    threads: int | None = None,
    report: Report = lambda stage, done, total: None,
) -> Manifest:
    """Write the funnel tables of a log into the existing empty ``folder``.

    Args:
        root: the folder that the specification's paths are relative to.
        lacks, notes: more of the manifest's.
        memory_limit: of DuckDB; the process needs about as much again for 4 M rows at once.

    Raises:
        UserError: a file is missing or broken, a column or value is not what the specification says, or the log lacks
            what funnel tables need.
    """
    scratch = folder / "scratch"
    scratch.mkdir()
    try:
        with connect(scratch, memory_limit, threads) as connection:
            connection.execute(f"SET TimeZone = {text(spec.time_zone or 'UTC')}")
            relations = _open(connection, spec, root)
            log = Log(
                dataset=spec.name,
                city=city,
                fingerprint=fingerprint or fingerprint_of(spec, root),
                features=spec.all_features(),
                rules=spec.rules(),
                lacks=lacks or {},
                notes=tuple(notes),
                settings={"spec": spec.model_dump(mode="json", exclude_defaults=True)},
            )
            with explained(*relations, connection=connection):
                return write_funnel(connection, log, folder, report)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _open(connection: duckdb.DuckDBPyConnection, spec: Spec, root: Path) -> list[Relation]:
    """Make the raw relations of a specification."""
    main = Relation(connection, spec, root, _lists(spec.features))
    relations = {f"raw_{spec.shape}": (main, spec.columns, spec.time, spec.actions)}
    if spec.behaviour is not None:
        beside = Relation(connection, spec.behaviour, root)
        relations["raw_events"] = (beside, spec.behaviour.columns, spec.behaviour.time, spec.behaviour.actions)
    sides = {
        table: (Relation(connection, side, root, _lists(side.features)), side)
        for table, side in (("users", spec.users), ("items", spec.items))
        if side is not None
    }
    ids = {
        key: id_type([
            *((relation, getattr(columns, key)) for relation, columns, _, _ in relations.values()),
            *((relation, side.key) for table, (relation, side) in sides.items() if table == f"{key}s"),
        ])
        for key in ("user", "item")
    }  # fmt: skip
    for view, (relation, columns, times, actions) in relations.items():
        with explained(relation, connection=connection):
            own = spec if relation is main else None
            selected = _selected(connection, relation, columns, times, actions, spec, own, ids)
            _view(connection, view, selected, relation)
    for table, (relation, side) in sides.items():
        _open_side(connection, table, relation, side, ids[table[:-1]])
    return [relation for relation, *_ in relations.values()] + [relation for relation, _ in sides.values()]


def _selected(
    connection: duckdb.DuckDBPyConnection,
    relation: Relation,
    columns: Columns,
    times: Times,
    actions: Actions | None,
    spec: Spec,
    own: Spec | None,
    ids: Mapping[str, str],
) -> dict[str, str]:
    """SQL by column of a raw relation; ``own``: the specification, where it is of the exposures or of the only log."""
    features = [f for f in (own.features if own else ()) if f.feature_name not in RESERVED]
    labels = own.labels.model_dump() if own is not None and own.labels is not None else {}
    named = [column for column in (*columns.model_dump().values(), *labels.values()) if column]
    relation.require([*named, *(feature.column for feature in features)])
    selected = {key: id_sql(relation, getattr(columns, key), ids[key]) for key in ("user", "item")}
    if columns.time is not None:
        selected["time"] = time_sql(connection, relation, columns.time, times, spec.time_zone)
    if columns.action is not None and actions is not None:
        selected["action"] = action_sql(relation, columns.action, actions)
    if spec.columns.visit is not None:
        selected["visit"] = name(columns.visit) if columns.visit is not None else "NULL"
    if columns.domain is not None:
        listed = ", ".join(text(value) for value in spec.search) or "NULL"
        column = f"CAST({name(columns.domain)} AS VARCHAR)"
        selected["domain"] = f"CASE WHEN {column} IN ({listed}) THEN 'search' ELSE 'recommendation' END"
    if columns.position is not None:
        selected["position"] = feature_sql(FeatureSpec(column=columns.position, kind="numeric"), relation)
    selected |= {label: label_sql(relation, labels[label]) for label in LABELS if labels.get(label)}
    if own is not None and own.splits.column is not None:
        relation.require([own.splits.column])
        selected["split"] = split_sql(relation, own.splits.column)
    return selected | {feature.feature_name: feature_sql(feature, relation) for feature in features}


def _open_side(connection: duckdb.DuckDBPyConnection, table: str, relation: Relation, side: Side, ids: str) -> None:
    relation.require([side.key, *(feature.column for feature in side.features)])
    selected = {table[:-1]: id_sql(relation, side.key, ids)}
    selected |= {feature.feature_name: feature_sql(feature, relation) for feature in side.features}
    _view(connection, f"raw_{table}", selected, relation)


def _view(connection: duckdb.DuckDBPyConnection, view: str, selected: Mapping[str, str], relation: Relation) -> None:
    columns = ", ".join(f"{sql} AS {name(column)}" for column, sql in selected.items())
    rows = f"SELECT {columns} FROM {relation.sql}"
    connection.execute(
        f"CREATE VIEW {view} AS {f'FROM ({rows}) WHERE action IS NOT NULL' if 'action' in selected else rows}"
    )


def _lists(features: Sequence[FeatureSpec]) -> list[str]:
    return [feature.column for feature in features if feature.kind == "multi" and feature.separator is None]
