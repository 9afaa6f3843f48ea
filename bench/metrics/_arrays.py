"""Checks that every metric makes on its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

NOT_LABELS = "labels must be 0 or 1, but others were found."
NOT_PROBABILITIES = "probabilities must lie in [0, 1], but others were found."


def positive(labels: Array, *columns: Array) -> Bool:
    """``labels`` [n] of 0 and 1 as booleans, once they and all ``columns`` are known to be [n].

    Raises:
        ValueError: a shape differs, or a label is neither 0 nor 1.
    """
    require_one_shape(labels, *columns)
    if labels.dtype == np.bool_:
        return labels
    found: Bool = np.equal(labels, 1)
    if not (found | (labels == 0)).all():
        raise ValueError(NOT_LABELS)
    return found


def soft(labels: Array, *columns: Array) -> Float:
    """``labels`` [n], 0/1 or true probabilities, as float64, once they and all ``columns`` are known to be [n].

    Raises:
        ValueError: a shape differs, or a label lies outside [0, 1] or is NaN.
    """
    require_one_shape(labels, *columns)
    values = np.asarray(labels, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("labels and true probabilities must lie in [0, 1], but others were found.")
    return values


def sum_by_user(values: Float, users: Array, n_users: int) -> Float:
    """Sums [n_users] of ``values`` [n] over the rows of each user; ``users`` [n] counts from 0 to ``n_users`` - 1.

    Raises:
        ValueError: shapes differ or a user lies outside.
    """
    if np.shape(users) != np.shape(values):
        raise ValueError(f"users and rows must have one shape [n], but got {np.shape(users)}, {np.shape(values)}.")
    sums = np.asarray(np.bincount(users, weights=values, minlength=n_users), dtype=np.float64)
    if sums.size != n_users:
        raise ValueError(f"users must be numbers from 0 to {n_users - 1}, but {sums.size - 1} was found.")
    return sums


def require_probabilities(values: Array) -> None:
    """Refuse values outside [0, 1]; NaN passes.

    Raises:
        ValueError: a value lies outside.
    """
    if np.fmin.reduce(values, initial=0) < 0 or np.fmax.reduce(values, initial=1) > 1:
        raise ValueError(NOT_PROBABILITIES)


def require_one_shape(*columns: Any) -> None:
    """Refuse columns, arrays or tensors, that are not all [n].

    Raises:
        ValueError: a shape differs.
    """
    shapes = [tuple(np.shape(column)) for column in columns]
    if len(shapes[0]) != 1 or any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"labels and all columns must have one shape [n], but got {shapes}.")
