"""The dense features that a cell reads, for any rows: as normalised numbers, or in bins as more fields of ids."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.config import Config
from bench.data.encoded import DENSE_TABLES, DenseField, EncodedCity, Meta


class Numbers:
    """The ``numeric_top`` most important dense features of a city, those of users first, then those of items.

    Args:
        city: encoded arrays.
        top: how many features are read, at most.
        mode: ``tanh`` for tanh((x - mean) / std) (ESM² Eq. 17), ``bins`` for rows of the embedding table.
    """

    def __init__(self, city: EncodedCity, top: int, mode: Literal["tanh", "bins"] = "tanh") -> None:
        self.fields = chosen(city.meta, top)
        self.mode = mode
        arrays = {
            "users": (city.user, city.dense_users, city.bins_users),
            "items": (city.item, city.dense_items, city.bins_items),
            "exposures": (None, city.dense_exposures, city.bins_exposures),
        }
        #: By table, the owner of each row (None: the row itself), the values of the owners, and the columns read.
        self.parts: list[tuple[np.ndarray | None, np.ndarray, np.ndarray]] = []
        for table, (owner, numbers, bins) in arrays.items():
            if columns := [field.column for field in self.fields if field.table == table]:
                values = np.asarray(numbers if mode == "tanh" else bins)
                self.parts.append((None if owner is None else np.asarray(owner), values, np.array(columns)))
        sizes = [field.bins for field in self.fields]
        self.offsets = city.meta.vocabulary + np.cumsum([0, *sizes[:-1]], dtype=np.int64)

    def of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids [n, K] and numbers [n, D] of rows [n]: K = 0 for ``tanh``, D = 0 for ``bins``."""
        found = [
            values[(rows if owner is None else owner[rows])[:, None], columns] for owner, values, columns in self.parts
        ]
        if self.mode == "tanh":
            return np.zeros((len(rows), 0), dtype=np.int64), np.tanh(np.concatenate(found, axis=1))
        return np.concatenate(found, axis=1) + self.offsets, np.zeros((len(rows), 0), dtype=np.float32)


def chosen(meta: Meta, top: int) -> list[DenseField]:
    """The ``top`` most important dense features, those of users first, the most important of each first."""
    return [field for table in DENSE_TABLES for field in meta.dense[:top] if field.table == table]


def numbers_of(city: EncodedCity, config: Config) -> Numbers | None:
    """The dense features that a configuration reads; None where the city has none."""
    return Numbers(city, config.numeric_top, config.numeric) if city.meta.dense else None
