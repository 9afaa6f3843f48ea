"""Funnel tables: the one on-disk format that every source writes and everything else reads.

A folder of Parquet files ``<table>.parquet``, published by one rename:

``exposures``
    one row per item shown: ``exposure`` (0 … N-1), ``user``, ``item``, ``visit``, ``time`` (seconds since the
    epoch), ``position``, ``split`` (train, valid, test: by time, a visit lies in one split), the labels
    ``click``, ``cart``, ``wish``, ``purchase`` (0/1, of this exposure within its visit), and context features.
    A log that mixes both domains adds ``domain`` (recommendation, search), which tells Sample Calibration whose
    carts they are. Without it, every exposure is a recommendation.
``events``
    the whole behaviour log: ``user``, ``item``, ``time``, ``visit``, ``action`` (click, cart, wish, purchase, browse),
    ``domain`` (recommendation, search); absent where a log has none. A visit has one id in both tables; an event
    outside of visits has none. It may begin before the first exposure: then the first day's histories are there,
    and the carts of the first bad-case purchases.
``users``, ``items``
    one row each: ``user`` or ``item`` and features; absent where a log has none.
``truth``
    simulated data only, never a feature: ``exposure``, ``p_click``, ``p_cart`` and ``p_purchase`` given a click.
``manifest.json``
    a :class:`Manifest`.

Times are seconds since the epoch. A log without times has 0 in every row, its splits are those of its files, and
``lacks`` of the manifest names ``time``; so it does for ``visit``, ``cart``, ``wish`` and ``search``.

A cart or wish or purchase without a click in its visit does not occur; a purchase without a cart in its visit
does: that is the bad case. Where ``settings`` of the manifest have a ``calibration``, the training rows' ``cart`` is
not the log's, but what Sample Calibration made of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.core.errors import UserError
from bench.core.publish import checksum

TABLES_VERSION = 1
MANIFEST = "manifest.json"
TABLES: tuple[str, ...] = ("exposures", "events", "users", "items", "truth")
LABELS: tuple[str, ...] = ("click", "cart", "wish", "purchase")
SPLITS: tuple[str, ...] = ("train", "valid", "test")
ACTIONS: tuple[str, ...] = ("click", "cart", "wish", "purchase", "browse")
DOMAINS: tuple[str, ...] = ("recommendation", "search")
TRUTH: tuple[str, ...] = ("p_click", "p_cart", "p_purchase")

#: What a log may lack: labels; when things happened; visits that a user comes back from; carts of the search domain.
FACTS: tuple[str, ...] = (*LABELS, "time", "visit", "search")

#: Columns that a table must have, features apart.
COLUMNS: dict[str, tuple[str, ...]] = {
    "exposures": ("exposure", "user", "item", "visit", "time", "position", "split", *LABELS),
    "events": ("user", "item", "time", "visit", "action", "domain"),
    "users": ("user",),
    "items": ("item",),
    "truth": ("exposure", *TRUTH),
}

#: Columns that may never be a feature: they are labels, the truth, or decide the split.
FORBIDDEN = frozenset((*LABELS, *TRUTH, "exposure", "visit", "time", "split"))


class Feature(BaseModel):
    """One input field: a column of a table, or a ``cross``.

    ``categorical`` takes any type, ``multi`` is a list column of categories, of which the first ``most`` are read,
    ``numeric`` is cut into quantile bins, ``cross`` combines the categories of the two or more other features named in
    ``of``. The feature ``item`` also gives the events their ids. ``dense`` is one of many numbers of an exposure, a
    user or an item: models read the most important ones, normalised or in bins.

    A category needs ``min_count`` training rows to get an id (None: as the encoding says); with ``buckets`` it has
    no id of its own, but shares one of that many by its hash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    table: Literal["exposures", "users", "items", "cross"]
    kind: Literal["categorical", "multi", "numeric", "dense", "cross"] = "categorical"
    of: tuple[str, ...] = ()
    most: int = Field(8, ge=1, le=64)
    min_count: int | None = Field(None, ge=1)
    buckets: int | None = Field(None, ge=1, le=2**30)


class Manifest(BaseModel):
    """What a folder of funnel tables holds.

    ``time_range`` (of exposures), ``split_range``: [first, last] seconds. ``lacks``: what a log cannot supply (of
    ``FACTS``), and why, in a few words that follow "the log". ``notes``: sentences that a report must print, such as
    what stands for an exposure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = TABLES_VERSION
    dataset: str
    city: str
    fingerprint: str
    origin: Literal["simulated", "log"]
    features: tuple[Feature, ...]
    counts: dict[str, int]
    time_range: tuple[int, int]
    split_range: dict[str, tuple[int, int]]
    settings: dict[str, Any]
    lacks: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    checksums: dict[str, str] = {}


def table_path(folder: Path, table: str) -> Path:
    """The Parquet file of a table."""
    return folder / f"{table}.parquet"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest`` with the checksums of the tables that lie in ``folder``.

    Raises:
        UserError: a label is among the features.
    """
    refuse_leaks(manifest.features)
    paths = [path for table in TABLES if (path := table_path(folder, table)).exists()]
    sums = {path.name: checksum(path) for path in paths}
    text = manifest.model_copy(update={"checksums": sums}).model_dump_json(indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of funnel tables.

    Raises:
        UserError: it is missing, truncated, of another version, or lists a label among the features.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{folder} must hold funnel tables, but it has no {MANIFEST}; delete it and run again."
        ) from None
    except (ValueError, ValidationError):
        raise UserError(
            f"{path} must be a manifest of funnel tables, but it is damaged; delete {folder} and run again."
        ) from None
    if manifest.version != TABLES_VERSION:
        raise UserError(
            f"{path} must have version {TABLES_VERSION}, but has {manifest.version}; delete {folder} and run again."
        )
    refuse_leaks(manifest.features)
    return manifest


def refuse_leaks(features: tuple[Feature, ...]) -> None:
    """Refuse features that tell the label.

    Raises:
        UserError: a feature is, or is made of, a label, a true probability or a column of the split.
    """
    for feature in features:
        leaked = sorted(FORBIDDEN.intersection((feature.name, *feature.of)))
        if leaked:
            raise UserError(
                f"features must not tell the label, but {feature.name!r} is or uses {leaked[0]!r}; "
                "remove it from the feature list."
            )
