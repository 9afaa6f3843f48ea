"""One city as memory-mapped arrays: what :func:`bench.data.encoding.encode` writes and training reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.calibration import CalibrationSummary
from bench.data.tables import LABELS, TRUTH

ENCODED_VERSION = 3
META = "meta.json"

#: Columns of ``labels.npy``. ``cart_…`` is ``cart`` after Sample Calibration, equal to it outside training.
#: ``global_none`` is a cart of any domain in the visit of a clicked row (of its own, or only in the behaviour log),
#: the other two are that after Sample Calibration with carts of both domains, equal to it outside training.
#: ``intent`` is a guess from the history (:mod:`bench.data.intent`), 0 outside training.
LABEL_COLUMNS: tuple[str, ...] = (
    *LABELS, "cart_copy", "cart_move", "global_none", "global_copy", "global_move", "intent",
)  # fmt: skip

DenseTable = Literal["users", "items", "exposures"]
DENSE_TABLES: tuple[DenseTable, ...] = ("users", "items", "exposures")

#: Dtype of each array file ``<name>.npy``; ``truth`` only where the truth is known, ``item``, ``dense_…`` and
#: ``bins_…`` only where there are dense features, those of exposures only where exposures have some.
DTYPES: dict[str, str] = {
    "ids": "int32",
    "labels": "uint8",
    "exposure": "int64",
    "user": "int32",
    "visit": "int32",
    "truth": "float32",
    "visit_start": "int64",
    "history_start": "int64",
    "history_stop": "int64",
    "event_item": "int32",
    "event_kind": "uint8",
    "event_time": "int64",
    "item": "int32",
    **{f"dense_{table}": "float32" for table in DENSE_TABLES},
    **{f"bins_{table}": "uint8" for table in DENSE_TABLES},
}


class EncodedField(BaseModel):
    """Rows ``offset`` … ``offset + size - 1`` of the embedding table; row ``offset`` is unknown or missing.

    ``ordered``: the others are bins of a number, from low to high. ``width``: columns of ``ids`` that the field takes;
    more than one are the values of a list, in their order, and ``offset`` where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int
    offset: int
    ordered: bool = False
    width: int = 1


class DenseField(BaseModel):
    """A dense feature: column ``column`` of the arrays of its table.

    ``bins``: values that its bin takes, 0 for missing; ``importance``: share of that of all dense features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    table: DenseTable
    column: int
    bins: int
    importance: float


class Meta(BaseModel):
    """What the arrays hold.

    ``vocabulary``: rows of the one embedding table; ``event_kinds``: number of values of ``event_kind``;
    ``splits``: [start, stop) rows; ``counts``: rows and positive labels per split; ``calibration``: what Sample
    Calibration does with carts of ``recommendation``, and of both domains (``global``); ``has_cart``: the training
    rows have a cart; ``lacks``: as in the manifest; ``dense``: the dense features, the most important first;
    ``items``: rows of the arrays of items; ``checksums``: sha256 of every array file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = ENCODED_VERSION
    dataset: str
    city: str
    fingerprint: str
    fields: tuple[EncodedField, ...]
    vocabulary: int
    event_kinds: int
    splits: dict[str, tuple[int, int]]
    users: int
    visits: int
    events: int
    counts: dict[str, dict[str, int]]
    calibration: dict[str, CalibrationSummary]
    has_truth: bool
    has_cart: bool
    lacks: dict[str, str] = {}
    dense: tuple[DenseField, ...] = ()
    items: int = 0
    checksums: dict[str, str]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array."""
        rows = max(stop for _, stop in self.splits.values())
        shapes: dict[str, tuple[int, ...]] = {
            "ids": (rows, sum(field.width for field in self.fields)),
            "labels": (rows, len(LABEL_COLUMNS)),
            **dict.fromkeys(("exposure", "user", "visit"), (rows,)),
            **dict.fromkeys(("visit_start", "history_start", "history_stop"), (self.visits,)),
            **dict.fromkeys(("event_item", "event_kind", "event_time"), (self.events,)),
        }
        if self.has_truth:
            shapes["truth"] = (rows, len(TRUTH))
        if self.dense:
            shapes["item"] = (rows,)
            for table, owners in (("users", self.users), ("items", self.items), ("exposures", rows)):
                columns = sum(field.table == table for field in self.dense)
                if columns or table != "exposures":
                    shapes |= {f"dense_{table}": (owners, columns), f"bins_{table}": (owners, columns)}
        return shapes


@dataclass(frozen=True)
class EncodedCity:
    """A city's rows: train, valid, test, each sorted by user, visit and position; a visit's rows are contiguous.

    N rows, F fields, V visits, E events, U users and I items with D dense features. The history of a visit is
    ``event_*[history_start[v]:history_stop[v]]``: this user's events before the visit, oldest first, so the recent
    ones are the tail.
    """

    folder: Path
    meta: Meta
    ids: np.ndarray  # [N, F] rows of the embedding table
    labels: np.ndarray  # [N, 10] in the order of LABEL_COLUMNS
    exposure: np.ndarray  # [N] exposure id
    user: np.ndarray  # [N] 0 … users - 1
    visit: np.ndarray  # [N] 0 … V - 1
    truth: np.ndarray | None  # [N, 3] p_click, p_cart and p_purchase given a click
    visit_start: np.ndarray  # [V] seconds
    history_start: np.ndarray  # [V]
    history_stop: np.ndarray  # [V]
    event_item: np.ndarray  # [E] row of the embedding table, as in the field "item"
    event_kind: np.ndarray  # [E] index in ACTIONS * len(DOMAINS) + index in DOMAINS
    event_time: np.ndarray  # [E] seconds
    item: np.ndarray | None = None  # [N] 0 … items - 1, the row of the arrays of items
    dense_users: np.ndarray | None = None  # [U, D] (x - mean) / std, 0 where missing
    dense_items: np.ndarray | None = None  # [I, D]
    bins_users: np.ndarray | None = None  # [U, D] quantile bins, 0 where missing
    bins_items: np.ndarray | None = None  # [I, D]
    dense_exposures: np.ndarray | None = None  # [N, D]
    bins_exposures: np.ndarray | None = None  # [N, D]

    @classmethod
    def load(cls, folder: Path) -> EncodedCity:
        """Open the arrays without reading them.

        Raises:
            UserError: a file is missing, truncated, or of another version or shape.
        """
        meta = _read_meta(folder)
        arrays: dict[str, np.ndarray | None] = {"truth": None}
        for name, shape in meta.shapes().items():
            path = folder / f"{name}.npy"
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except FileNotFoundError:
                raise _damaged(path, "is missing") from None
            except (ValueError, OSError, EOFError):
                raise _damaged(path, "is truncated or damaged") from None
            if array.shape != shape or array.dtype != DTYPES[name]:
                raise _damaged(path, f"has {array.dtype} {array.shape} in place of {DTYPES[name]} {shape}")
            arrays[name] = array
        return cls(folder=folder, meta=meta, **arrays)  # type: ignore[arg-type]

    def rows(self, split: str) -> slice:
        """The rows of a split."""
        return slice(*self.meta.splits[split])

    def verify(self) -> list[str]:
        """One line for every file whose checksum differs; reads all files."""
        return [
            f"{self.folder / name} must have the checksum in {META}, but differs; delete {self.folder} and run again."
            for name, expected in self.meta.checksums.items()
            if not (self.folder / name).exists() or checksum(self.folder / name) != expected
        ]


class ArrayFile:
    """A new array file of that name, written from front to back: a context manager.

    Unlike a mapped array its pages are not this process's memory, and a full disk is an ``OSError``.
    """

    def __init__(self, folder: Path, array: str, shape: tuple[int, ...]) -> None:
        self._dtype = np.dtype(DTYPES[array])
        self._file = (folder / f"{array}.npy").open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: np.ndarray) -> None:
        """Write the next rows."""
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def create(folder: Path, array: str, shape: tuple[int, ...]) -> np.ndarray:
    """A new array file of that name to fill."""
    return np.lib.format.open_memmap(folder / f"{array}.npy", mode="w+", dtype=DTYPES[array], shape=shape)


def _read_meta(folder: Path) -> Meta:
    path = folder / META
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _damaged(path, "is missing") from None
    except (ValueError, OSError):
        raise _damaged(path, "is truncated or damaged") from None
    if isinstance(values, dict) and values.get("version") != ENCODED_VERSION:
        raise _damaged(path, f"has version {values.get('version')} in place of {ENCODED_VERSION}")
    try:
        return Meta.model_validate(values)
    except ValidationError:
        raise _damaged(path, "is damaged") from None


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path.parent} must hold an encoded city, but {path.name} {what}; delete it and run again.")
